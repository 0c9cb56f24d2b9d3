"""`.kmi.toml` as text, the decisions about it, and how both become one answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kmi.binding import (
    LIMIT_BYTES,
    REPORTED_KEPT,
    Binding,
    Found,
    Project,
    Record,
    Trust,
    decode,
    encode,
    own_work,
    parse,
    render,
    settle,
    with_record,
    with_reported,
)
from kmi.digest import sha256_hex
from kmi.model import ApiKey, Hold, KeyState
from kmi.selection import Policy, choose
from kmi.settings import STRATEGIES
from kmi.state import SchemaError
from kmi.urls import parse_base_url
from tests.conftest import secret_of

if TYPE_CHECKING:
    from kmi.model import Problem

PATH = "/p/.kmi.toml"
OUTER = "/.kmi.toml"
TEAM = b'keys = ["team", "alpha"]\n'
STRICT = TEAM + b"strict = true\n"


def read(text: str | bytes) -> tuple[Binding | None, tuple[Problem, ...]]:
    return parse(PATH, text.encode() if isinstance(text, str) else text)


# What a file says.


@pytest.mark.parametrize(
    "text, keys, strict",
    [
        ('keys = ["team"]', ("team",), False),
        ('keys = ["b", "a"]\nstrict = true\nschema = 1\n', ("b", "a"), True),
        ('# why\nstrict=false\nkeys=[ # order\n "x/y@z.1_-",\n]\n', ("x/y@z.1_-",), False),
        ('\ufeffkeys = ["team"]', ("team",), False),
        ('keys = ["team"]\r\nstrict = true\r\n', ("team",), True),
        (f'keys = ["{"a" * 64}"]', ("a" * 64,), False),
        # A short word after "sk-", and one within a word, are no secrets.
        ('keys = ["sk-work"] # the desk-reservation team', ("sk-work",), False),
    ],
)
def test_what_a_file_says(text: str, keys: tuple[str, ...], strict: bool) -> None:
    binding, problems = read(text)
    assert problems == ()
    assert binding == Binding(PATH, sha256_hex(text.encode()), keys, strict)


SECRET = secret_of("alpha")


@pytest.mark.parametrize(
    "text, where, words",
    [
        ("", PATH, "has no keys"),
        ("strict = true", PATH, "has no keys"),
        ("keys = []", f"{PATH}:1", "not a list of labels"),
        ('\nkeys = "team"', f"{PATH}:2", "not a list of labels"),
        ('keys = {a = "team"}', f"{PATH}:1", "not a list of labels"),
        ('keys = ["team", 7]', f"{PATH}:1", "entry 2 of keys is not a label"),
        ('keys = ["-x"]', f"{PATH}:1", "entry 1 of keys is not a label"),
        ('keys = ["a b"]', f"{PATH}:1", "entry 1"),
        ('keys = [["team"]]', f"{PATH}:1", "entry 1"),
        (f'keys = ["{"a" * 65}"]', f"{PATH}:1", "entry 1"),
        ('keys = ["team\\n"]', f"{PATH}:1", "entry 1"),
        ('keys = ["team", "x", "team"]', f"{PATH}:1", "names 'team' twice"),
        ('keys = ["team"]\nstrict = "true"', f"{PATH}:2", "strict is not a truth value"),
        ('keys = ["team"]\nstrict = 1', f"{PATH}:2", "strict is not a truth value"),
        ('keys = ["team"]\n\nsrtict = true', f"{PATH}:3", "did you mean strict?"),
        ('keys = ["team"]\n[tool]\nx = 1', f"{PATH}:2", "'tool' is not a field"),
        ('keys = ["team"]\nschema = 2', f"{PATH}:2", "has schema 2, this kmi knows up to 1"),
        ('keys = ["team"]\nschema = true', f"{PATH}:2", "not a number from 1"),
        ('keys = ["team"]\nschema = 0', f"{PATH}:2", "not a number from 1"),
        ('keys = ["team"]\napi_key = "x"', f"{PATH}:2", "never for secrets"),
        ('keys = ["team"]\ntoken = ""', f"{PATH}:2", "never for secrets"),
        (f'keys = ["team"]\n# mine: {SECRET}', f"{PATH}:2", "looks like a secret"),
        (f'keys = ["{SECRET}"]', f"{PATH}:1", "looks like a secret"),
        (f'keys = ["\\u0073{SECRET[1:]}"]', f"{PATH}:1", "entry 1 of keys is not a label"),
        ('keys = ["team"', f"{PATH}:1", "not valid TOML"),
        ('keys = ["team"]\nkeys = ["x"]', f"{PATH}:2", "not valid TOML"),
        ("a\x00b", f"{PATH}:1", "not valid TOML"),
        ("a = {b = 1, b = 2}", PATH, "not valid TOML"),
        (b"keys = ['\xff']", PATH, "not UTF-8"),
        ("#" * (LIMIT_BYTES + 1), PATH, "larger than 16 KiB"),
        ("a = " + "[" * 5000, f"{PATH}:1", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_named_and_never_shown(text: str | bytes, where: str, words: str) -> None:
    binding, problems = read(text)
    assert binding is None
    assert any(words in str(problem) for problem in problems), problems
    found = next(problem for problem in problems if words in str(problem))
    assert found.where in {where, PATH} if "not valid TOML" in words else found.where == where
    assert SECRET[4:] not in repr(problems)


def test_every_problem_is_told() -> None:
    _, problems = read('keys = ["a b"]\nstrict = 0\nother = 1\nschema = "1"')
    assert len(problems) == 4


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode()))
@example(b"keys=[1979-05-27]")
@example(b"keys=['a']\n[schema]\n")
@example(b"keys.a = 1\nstrict.b = 2")
@example(b"[[keys]]\na = 1")
@example(b"''=1\nkeys=['a']")
def test_any_bytes_give_an_answer(data: bytes) -> None:
    binding, problems = parse(PATH, data)
    assert (binding is None) is bool(problems)
    assert all(problem.where.startswith(PATH) for problem in problems)


some_toml = st.builds(
    lambda lines: "\n".join(lines).encode(),
    st.lists(
        st.builds(
            "{} = {}".format,
            st.sampled_from(["keys", "strict", "schema", "other", '"a b"', "keys.x"]),
            st.sampled_from(['["a"]', '["a", "b"]', "true", "1", '"a"', "{}", "[]", "nan", "[[]]"]),
        ),
        max_size=4,
    ),
)


@given(some_toml)
def test_what_is_taken_is_well_formed(data: bytes) -> None:
    binding, problems = parse(PATH, data)
    assert (binding is None) is bool(problems)
    if binding is not None:
        assert binding.keys
        assert set(binding.keys) <= {"a", "b"}
        assert binding.strict in {True, False}


labels = st.from_regex(r"(?!-)[A-Za-z0-9._@/-]{1,64}", fullmatch=True).filter(
    lambda label: "sk-" not in label
)


@given(st.lists(labels, min_size=1, max_size=5, unique=True), st.booleans())
def test_what_bind_writes_is_read_back(keys: list[str], strict: bool) -> None:
    data = render(keys, strict=strict)
    binding, problems = parse(PATH, data)
    assert problems == ()
    assert binding == Binding(PATH, sha256_hex(data), tuple(keys), strict)
    assert own_work(PATH, data)
    assert not own_work(PATH, data + b"# mine\n")


# Whether it counts.


def record(data: bytes, *, decision: str = "allow") -> Record:
    """The decision about a content, as `kmi allow` records it."""
    if decision == "deny":
        return Record("deny", at="2026-01-01T00:00:00.000Z")
    binding, _ = parse(PATH, data)
    assert binding is not None
    at = "2026-01-01T00:00:00.000Z"
    return Record("allow", binding.sha256, binding.keys, binding.strict, at)


LINK = Found(PATH, None, "is a symbolic link", "put the file itself there")
BROKEN = b"keys = ["


@pytest.mark.parametrize(
    "found, decided, expected",
    [
        (Found(PATH, TEAM), None, "new"),
        (Found(PATH, BROKEN), None, "new"),
        (LINK, None, "unusable"),
        (Found(PATH, TEAM), record(TEAM), "counts"),
        (Found(PATH, STRICT), record(STRICT), "counts"),
        (Found(PATH, TEAM + b"#"), record(TEAM), "changed"),
        (Found(PATH, STRICT), record(TEAM), "changed"),
        (Found(PATH, BROKEN), record(TEAM), "changed"),
        (LINK, record(TEAM), "unusable"),
        # What was allowed is strict: no key rather than a wrong one.
        (Found(PATH, STRICT + b"#"), record(STRICT), "closed"),
        (Found(PATH, TEAM), record(STRICT), "closed"),
        (Found(PATH, BROKEN), record(STRICT), "closed"),
        (Found(PATH, b""), record(STRICT), "closed"),
        (LINK, record(STRICT), "closed"),
        # A denial is for whatever the file says.
        (Found(PATH, STRICT), record(STRICT, decision="deny"), "denied"),
        (Found(PATH, BROKEN), record(STRICT, decision="deny"), "denied"),
        (LINK, record(STRICT, decision="deny"), "denied"),
    ],
)
def test_what_counts(found: Found, decided: Record | None, expected: str) -> None:
    trust = Trust({} if decided is None else {PATH: decided})
    assert answer(settle([found], trust)) == expected


def answer(project: Project) -> str:
    if project.binding is not None:
        assert not project.closed
        return "counts"
    if project.closed:
        assert project.closed_by == PATH
        return "closed"
    (ignored,) = project.ignored
    assert ignored.told is (ignored.state == "denied")
    return ignored.state


@pytest.mark.parametrize("strict, expected", [(True, "closed"), (False, "unusable")])
def test_a_file_that_only_another_kmi_could_read(strict: bool, expected: str) -> None:
    data = b'keys = ["team"]\nschema = 2\n'
    trust = Trust({PATH: Record("allow", sha256_hex(data), ("team",), strict, "")})
    assert answer(settle([Found(PATH, data)], trust)) == expected


def test_the_nearest_that_counts_wins() -> None:
    inner, outer = Found(PATH, TEAM), Found(OUTER, STRICT)
    both = Trust({PATH: record(TEAM), OUTER: record(STRICT)})
    assert settle([inner, outer], both).binding == parse(PATH, TEAM)[0]
    # What does not count can't switch off the one around it.
    for decided in ({}, {PATH: record(TEAM, decision="deny")}, {PATH: record(b'keys=["x"]')}):
        project = settle([inner, outer], Trust({OUTER: record(STRICT), **decided}))
        assert project.binding == parse(OUTER, STRICT)[0]
        assert [item.path for item in project.ignored] == [PATH]


def test_what_closes_ends_the_search() -> None:
    trust = Trust({PATH: record(STRICT), OUTER: record(TEAM)})
    project = settle([Found(PATH, TEAM), Found(OUTER, TEAM)], trust)
    assert (project.binding, project.closed_by) == (None, PATH)
    assert "what was allowed is strict (team, alpha)" in project.closed


def test_a_file_is_reported_once_for_each_content() -> None:
    (first,) = settle([Found(PATH, BROKEN)], Trust()).ignored
    assert not first.told
    assert "not valid TOML" in str(first.problems[0])
    trust = with_reported(Trust(), {PATH: first.content})
    (again,) = settle([Found(PATH, BROKEN)], trust).ignored
    assert (again.told, again.problems) == (True, ())
    (other,) = settle([Found(PATH, TEAM)], trust).ignored
    assert not other.told
    (link,) = settle([LINK], with_reported(trust, {PATH: LINK.content})).ignored
    assert link.told


def test_what_was_reported_is_forgotten_with_a_decision_and_with_time() -> None:
    trust = with_reported(Trust(), {f"/{n}": "x" for n in range(REPORTED_KEPT)})
    trust = with_reported(trust, {"/5": "y"})
    assert trust.reported["/5"] == "y"
    trust = with_reported(trust, {"/new": "z"})
    assert len(trust.reported) == REPORTED_KEPT
    assert "/0" not in trust.reported
    trust = with_record(trust, "/5", record(TEAM))
    assert "/5" not in trust.reported
    assert with_record(trust, "/5", None).records == {}


def test_commands_to_copy_are_quoted() -> None:
    (ignored,) = settle([Found("/a b/$(x)/.kmi.toml", TEAM)], Trust()).ignored
    assert "`kmi allow '/a b/$(x)/.kmi.toml'`" in ignored.fix


# The decisions on disk.

records = st.builds(Record, st.just("deny"), at=st.text(max_size=5)) | st.builds(
    Record,
    st.just("allow"),
    st.text(max_size=5),
    st.lists(st.text(max_size=5), max_size=3).map(tuple),
    st.booleans(),
    st.text(max_size=5),
)
# A path may hold any byte; those that are no text come as lone surrogates.
paths = st.text(st.characters(codec=None), max_size=5)


@given(
    st.builds(
        Trust,
        st.dictionaries(paths, records, max_size=3),
        st.dictionaries(paths, st.text(max_size=5), max_size=3),
    )
)
def test_decisions_are_read_back(trust: Trust) -> None:
    assert decode(encode(trust)) == trust


@given(st.binary(max_size=200))
def test_damaged_decisions_are_an_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data)


GOOD: dict[str, Any] = {
    "schema": 1,
    "paths": {PATH: {"decision": "allow", "sha256": "x", "keys": ["a"], "strict": True, "at": ""}},
    "reported": {},
}


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 0},
        {"schema": True},
        {"schema": "1"},
        {"paths": []},
        {"paths": None},
        {"reported": {"/x": 1}},
        {"reported": []},
        *(
            {"paths": {PATH: {**GOOD["paths"][PATH], name: value}}}
            for name, value in [
                ("decision", "maybe"),
                ("sha256", None),
                ("keys", "a"),
                ("keys", [1]),
                ("strict", "true"),
                ("strict", 1),
                ("at", 7),
            ]
        ),
        *(
            {"paths": {PATH: {k: v for k, v in GOOD["paths"][PATH].items() if k != name}}}
            for name in ("decision", "sha256", "keys", "strict", "at")
        ),
    ],
)
def test_decisions_of_the_wrong_form_are_an_error(change: dict[str, Any]) -> None:
    assert decode(json.dumps(GOOD).encode()).records[PATH].strict
    with pytest.raises(ValueError):
        decode(json.dumps({**GOOD, **change}).encode())


def test_decisions_of_a_newer_kmi() -> None:
    with pytest.raises(SchemaError):
        decode(b'{"schema": 2}')


def test_deeply_nested_decisions() -> None:
    with pytest.raises(ValueError):
        decode(b"[" * 100_000)


# What a binding does to the choice.

NOW = 1_800_000_000.0
BASE = parse_base_url("https://api.kimi.com/coding/v1")
KEYS = [ApiKey(label, label, f"secret-{label}", BASE) for label in ("alpha", "beta", "team")]
OUT = KeyState(hold=Hold("exhausted", "quota", NOW - 10, NOW + 100))


def pick(
    states: dict[str, KeyState],
    keys: tuple[str, ...],
    *,
    strict: bool,
    strategy: str = "sticky",
    active: str | None = None,
    named: str | None = None,
) -> tuple[str | None, str, dict[str, str]]:
    policy = Policy(
        strategy=strategy,
        named=named,
        allowed=frozenset(keys) if strict else None,
        preferred=keys,
        bound_by=PATH,
    )
    decision = choose(KEYS, states, policy, now=NOW, active=active)
    label = None if decision.key is None else decision.key.label
    return label, decision.reason, dict(decision.rejected)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("active", [None, "alpha", "beta", "team"])
@pytest.mark.parametrize("strict", [True, False])
def test_the_first_usable_key_of_the_list(strategy: str, active: str | None, strict: bool) -> None:
    def label(states: dict[str, KeyState]) -> str | None:
        order = ("gone", "team", "alpha")
        return pick(states, order, strict=strict, strategy=strategy, active=active)[0]

    assert label({}) == "team"
    assert label({"team": OUT}) == "alpha"
    assert label({"team": OUT, "alpha": OUT}) == (None if strict else "beta")


def test_the_reasons_name_the_file() -> None:
    label, reason, rejected = pick({}, ("team", "alpha"), strict=True)
    assert (label, reason) == ("team", f"it is the first usable key of {PATH}")
    assert rejected == {
        "alpha": f"usable, but team comes first in {PATH}",
        "beta": f"not allowed by {PATH}",
    }
    out = {"team": OUT, "alpha": OUT}
    label, reason, rejected = pick(out, ("team", "alpha"), strict=False)
    assert label == "beta"
    assert reason.startswith(f"no key of {PATH} can be used; ")
    label, reason, rejected = pick({}, ("team",), strict=True, named="beta")
    assert (label, reason) == (None, f"beta was named, but: not allowed by {PATH}")


@given(
    st.lists(st.sampled_from(["alpha", "beta", "team", "gone"]), min_size=1, unique=True),
    st.dictionaries(st.sampled_from(["alpha", "beta", "team"]), st.sampled_from([OUT, KeyState()])),
    st.sampled_from(STRATEGIES),
    st.none() | st.sampled_from(["alpha", "beta", "team"]),
    st.none() | st.sampled_from(["alpha", "beta", "team", "gone"]),
    st.booleans(),
)
def test_strict_is_never_another_key(
    keys: list[str],
    states: dict[str, KeyState],
    strategy: str,
    active: str | None,
    named: str | None,
    rotate: bool,
) -> None:
    policy = Policy(
        strategy=strategy,
        named=named,
        allowed=frozenset(keys),
        preferred=tuple(keys),
        bound_by=PATH,
    )
    # Also when the hold is half open: a probe never goes to a key of others.
    half = KeyState(hold=Hold("cooldown", "rate", NOW - 100, NOW + 100, probe_at=NOW - 1))
    for changed in (states, dict.fromkeys(("alpha", "beta", "team"), half)):
        decision = choose(KEYS, changed, policy, now=NOW, active=active, rotate=rotate)
        assert decision.key is None or decision.key.label in keys


def test_nesting_without_end_is_a_clean_answer() -> None:
    binding, problems = parse(PATH, b"keys = " + b"[" * 4000)
    assert binding is None
    assert "not valid TOML" in problems[0].what
