"""The JSON form of the state: nothing is lost, and no JSON is more than a ValueError."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kmi.model import Hold, KeyState, Window
from kmi.state import SCHEMA, Active, SchemaError, State, Undo, decode, encode

#: Times as they are stored: milliseconds, of the years that Python's datetime knows well.
times = st.integers(0, 7_000_000_000_000).map(lambda ms: ms / 1000)
maybe_times = st.none() | times
words = st.text(max_size=8)
holds = st.builds(
    Hold,
    kind=st.sampled_from(["cooldown", "exhausted", "blocked"]),
    verdict=words,
    since=times,
    until=maybe_times,
    probe_at=maybe_times,
    source=words,
    window=st.none() | words,
    status=st.none() | st.integers(100, 599),
    text=words,
    strikes=st.integers(1, 30),
)
key_states = st.builds(
    KeyState,
    label=words,
    disabled=st.booleans(),
    hold=st.none() | holds,
    windows=st.dictionaries(words, st.builds(Window, st.floats(0.0, 1.0), maybe_times), max_size=3),
    usage_at=maybe_times,
    usage_tried_at=maybe_times,
    usage_error=words,
    usage_wait_until=maybe_times,
    last_used=maybe_times,
    traffic=st.lists(
        st.tuples(st.integers(0, 2**40), st.integers(0, 999), st.integers(0, 999)), max_size=3
    ).map(tuple),
    group=st.none() | words,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
KNOWN = {"schema", "active", "keys", "undo", "aliases", "adopt_declined"}
KNOWN |= {"auto_rotate", "refresh_at", "chosen_at"}
states = st.builds(
    State,
    keys=st.dictionaries(words, key_states, max_size=3),
    active=st.dictionaries(words, st.builds(Active, words, words, times), max_size=2),
    undo=st.dictionaries(
        words,
        st.lists(st.builds(Undo, words, times, words, words, st.none() | words, words), max_size=3),
        max_size=2,
    ),
    aliases=st.dictionaries(words, words, max_size=2),
    adopt_declined=st.lists(words, max_size=2),
    auto_rotate=maybe_times,
    refresh_at=maybe_times,
    chosen_at=maybe_times,
    unknown=st.dictionaries(words.filter(lambda w: w not in KNOWN), json_values, max_size=2),
)


def through_json(table: Any) -> Any:
    return json.loads(json.dumps(table))


@given(states)
def test_what_is_written_is_read(state: State) -> None:
    assert decode(through_json(encode(state))) == state


def test_no_field_is_forgotten() -> None:
    """A field that is added to the model has to be added to the strategies above, too."""
    filled = KeyState(
        label="a",
        disabled=True,
        hold=Hold("blocked", "banned", 1.0, 2.0, 3.0, "header", "5h", 403, "words", 4),
        windows={"5h": Window(0.5, 9.0)},
        usage_at=5.0,
        usage_tried_at=6.0,
        usage_error="timed out",
        usage_wait_until=8.0,
        last_used=7.0,
        traffic=((1, 2, 3),),
        group="abc",
    )
    for field in dataclasses.fields(KeyState):
        assert getattr(filled, field.name) != getattr(KeyState(), field.name), field.name
    assert decode(through_json(encode(State(keys={"k": filled})))).keys["k"] == filled


def test_the_form_on_disk() -> None:
    state = State(
        keys={
            "0123456789ab": KeyState(
                label="work",
                hold=Hold("exhausted", "quota-5h", 1.5, 3601.5, 301.5, "text", "5h", 403, "Spent"),
                windows={"5h": Window(1.0, 3601.5)},
                usage_at=1.0,
            )
        },
        active={"kimi-cli": Active("0123456789ab", "work", 1.0)},
        undo={"kimi-cli": [Undo("swap", 1.0, "b.toml", "ff", None, "0123456789ab")]},
        aliases={"aa": "bb"},
        adopt_declined=["kimi-code"],
    )
    assert encode(state) == {
        "schema": 1,
        "active": {
            "kimi-cli": {
                "key": "0123456789ab",
                "label": "work",
                "since": "1970-01-01T00:00:01.000Z",
            }
        },
        "keys": {
            "0123456789ab": {
                "label": "work",
                "hold": {
                    "kind": "exhausted",
                    "verdict": "quota-5h",
                    "since": "1970-01-01T00:00:01.500Z",
                    "until": "1970-01-01T01:00:01.500Z",
                    "probe_at": "1970-01-01T00:05:01.500Z",
                    "source": "text",
                    "window": "5h",
                    "status": 403,
                    "text": "Spent",
                    "strikes": 1,
                },
                "windows": {"5h": {"used": 1.0, "resets_at": "1970-01-01T01:00:01.500Z"}},
                "usage_at": "1970-01-01T00:00:01.000Z",
            }
        },
        "undo": {
            "kimi-cli": [
                {
                    "kind": "swap",
                    "at": "1970-01-01T00:00:01.000Z",
                    "backup": "b.toml",
                    "written": "ff",
                    "from": None,
                    "to": "0123456789ab",
                }
            ]
        },
        "aliases": {"aa": "bb"},
        "adopt_declined": ["kimi-code"],
    }


FULL = encode(
    State(
        keys={
            "k": KeyState(hold=Hold("blocked", "banned", 1.0, None), windows={"5h": Window(0.5)})
        },
        active={"c": Active("k", "l", 1.0)},
        undo={"c": [Undo("swap", 1.0, "b", "f", None, "k")]},
    )
)
PLACES: list[tuple[Any, ...]] = [(), ("keys", "k")]


def at(table: Any, place: tuple[Any, ...]) -> Any:
    for part in place:
        table = table[part]
    return table


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)) or "top")
def test_unknown_fields_are_kept(place: tuple[Any, ...]) -> None:
    table = copy.deepcopy(FULL)
    at(table, place)["from_the_future"] = {"x": [1, None]}
    state = decode(through_json(table))
    state.adopt_declined.append("c")
    assert at(encode(state), place)["from_the_future"] == {"x": [1, None]}


@pytest.mark.parametrize("found", [SCHEMA + 1, 99, 10**30])
def test_a_newer_schema_is_told_apart(found: int) -> None:
    with pytest.raises(SchemaError) as error:
        decode({"schema": found, "keys": "of another kind"})
    assert error.value.found == found


@pytest.mark.parametrize(
    "table",
    [None, [], 5, "x", {}, {"schema": 0}, {"schema": "1"}, {"schema": True}, {"schema": 1.0}],
)
def test_what_is_no_state_is_a_value_error(table: Any) -> None:
    with pytest.raises(ValueError) as error:
        decode(table)
    assert not isinstance(error.value, SchemaError)


@pytest.mark.parametrize("used", ["0.5", True, None, float("nan"), float("inf"), []])
def test_a_share_that_is_none_is_a_value_error(used: object) -> None:
    windows = {"5h": {"used": used, "resets_at": None}}
    table = {"schema": SCHEMA, "keys": {"k": {"windows": windows}}}
    with pytest.raises(ValueError):
        decode(table)


def test_a_hold_of_an_unknown_kind_is_a_value_error() -> None:
    table = encode(State({"id": KeyState(hold=Hold("cooldown", "rate", 1.0, 2.0))}))
    assert decode(table).keys["id"].hold is not None
    table["keys"]["id"]["hold"]["kind"] = "paused"
    with pytest.raises(ValueError):
        decode(table)


def paths(table: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    found = [here] if here else []
    if isinstance(table, dict):
        for name, value in table.items():
            found += paths(value, (*here, name))
    if isinstance(table, list):
        for index, value in enumerate(table):
            found += paths(value, (*here, index))
    return found


odd: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, -1, 10**400, 1.5, 1e308, float("inf"), float("nan"), "", "x"),
        *("2024-13-01T00:00:00Z", "2024-12-01T00:00:00Z", [], [[]], [1], {}, {"a": {}}),
    ]
)


@given(place=st.sampled_from(paths(FULL)), value=odd | json_values)
def test_any_change_of_a_state_is_a_state_or_a_value_error(
    place: tuple[Any, ...], value: Any
) -> None:
    table = copy.deepcopy(FULL)
    at(table, place[:-1])[place[-1]] = value
    try:
        state = decode(table)
    except ValueError:
        return
    again = through_json(encode(state))
    assert encode(decode(again)) == again


@given(json_values | st.dictionaries(st.sampled_from(sorted(KNOWN)), json_values))
@example({"schema": 1, "keys": {"k": {"traffic": [[1, 2]]}}})
@example({"schema": 1, "keys": {"k": {"windows": {"5h": {"used": 10**400}}}}})
def test_any_json_is_a_state_or_a_value_error(table: Any) -> None:
    if isinstance(table, dict):
        table = {"schema": 1, **table}
    try:
        state = decode(table)
    except ValueError:
        return
    json.dumps(encode(state))
