"""The quick way to pick from a large pool picks what `choose` picks, whatever happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.ranking import Ranking
from kmi.selection import Policy, choose
from kmi.settings import STRATEGIES
from tests.test_selection import LABELS, NOW, key, key_states, some_keys

if TYPE_CHECKING:
    from kmi.model import KeyState

#: What happens between two picks: time passes, or a key's state becomes another one.
steps = st.lists(
    st.sampled_from([0.0, 1.0, 59.0, 60.0, 61.0, 3600.0, 86400.0])
    | st.tuples(st.sampled_from(LABELS), key_states),
    max_size=12,
)
policies = st.builds(
    Policy,
    strategy=st.sampled_from(STRATEGIES),
    allowed=st.none() | st.frozensets(st.sampled_from(LABELS)),
    unavailable=st.dictionaries(st.sampled_from(LABELS), st.just("no command"), max_size=1),
    include_warn=st.booleans(),
    require_usage=st.booleans(),
    fail_open=st.booleans(),
)


@given(
    keys=some_keys,
    states=st.dictionaries(st.sampled_from(LABELS), key_states),
    policy=policies,
    changes=steps,
    active=st.none() | st.sampled_from([*LABELS, "z"]),
    excluded=st.frozensets(st.sampled_from(LABELS), max_size=2),
)
def test_it_picks_what_choose_picks(
    keys: list[Any],
    states: dict[str, KeyState],
    policy: Policy,
    changes: list[Any],
    active: str | None,
    excluded: frozenset[str],
) -> None:
    now, current = NOW, dict(states)
    ranking = Ranking(keys, current, policy)
    for change in [0.0, *changes]:
        if isinstance(change, tuple):
            current[change[0]] = change[1]
            ranking.update(change[0])
        else:
            now += change
        for without in (frozenset[str](), excluded):
            rest = [key for key in keys if key.key_id not in without]
            wanted = choose(rest, current, policy, now=now, active=active)
            found = ranking.pick(now, active=active, excluded=without)
            assert (found.key, found.back_at) == (wanted.key, wanted.back_at), change
            assert found.probe == (wanted.code == "probe")


@pytest.mark.parametrize(
    "active, excluded, picked",
    [
        ("a", "", "b"),
        ("a", "b", "c"),
        ("a", "bc", "a"),
        ("c", "a", "b"),
        (None, "ab", "c"),
        ("a", "abc", None),
    ],
)
def test_a_round_goes_past_the_excluded(
    active: str | None, excluded: str, picked: str | None
) -> None:
    keys = [key(label) for label in "abc"]
    ranking = Ranking(keys, {}, Policy(strategy="round-robin"))
    by_label = {item.label: item.key_id for item in keys}
    found = ranking.pick(
        NOW,
        active=None if active is None else by_label[active],
        excluded=[by_label[label] for label in excluded],
    )
    assert (found.key.label if found.key else None) == picked
