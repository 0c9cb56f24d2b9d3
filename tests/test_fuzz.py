"""Any bytes in the place of any file: a value or a clean error. `make fuzz` searches for longer."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmi.auth_formats import parse_auth_file
from kmi.kimi_config import apply_edits, parse_config
from kmi.kimi_edits import Credential, adopt_edits
from tests.conftest import CLI, config_text, write_private
from tests.fuzz import search
from tests.fuzz_targets import TARGETS, URL, Target

if TYPE_CHECKING:
    from tests.conftest import World

#: Of each target, besides its seeds; `make fuzz` tries millions.
ROUNDS = 40


@pytest.mark.parametrize("name", TARGETS)
def test_no_mutated_file_is_more_than_a_clean_error(name: str) -> None:
    report = search(TARGETS[name], seed=1, rounds=ROUNDS)
    assert report.find is None, report.find
    assert 0 < report.taken < report.runs, "it would take anything, or nothing"


@settings(max_examples=25)
@given(
    data=st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode("utf-8", "replace"))
)
def test_any_bytes_are_a_value_or_a_clean_error(data: bytes) -> None:
    for target in TARGETS.values():
        assert target.check(data) in {True, False}


#: What the search has found.
FOUND = {
    "a lone surrogate in kimi-cli's index": (
        "index", b'{"work_dirs":[{"path":"","\xed\xa0\x80":""},{"path":"","":""}]}'),
    "a label of which only the name is there": (
        "auth-env", b"KMI_API_KEY=s88856e1\nexport KMI_KEY_LABEL"),
    "half of a surrogate pair in a file that is renamed": (
        "auth-json", b'{"api_key":"k-i-56e1","email":"\\ud80c"}'),
}  # fmt: skip


@pytest.mark.parametrize("what", FOUND)
def test_what_was_found_stays_mended(what: str) -> None:
    name, data = FOUND[what]
    TARGETS[name].check(data)


# The control: a search that finds nothing anywhere proves nothing.


def careless(data: bytes) -> bool:
    """Believes that whatever is an object has a list of names in it."""
    try:
        table = json.loads(data)
    except ValueError:
        return False
    return isinstance(table, dict) and all(len(name) < 100 for name in table.get("names", []))


def test_a_careless_parser_is_found_out() -> None:
    report = search(Target("careless", careless, (b'{"names": ["a", "b"]}',)), rounds=5000)
    assert report.find is not None
    assert len(report.find.data) < 30, "it was made small"


# A text over which a pattern goes back and forth: what is linear takes milliseconds, what is
# quadratic takes minutes.

LONG = 32 * 1024
REPEATED = ("e", "sk-", "esk-", "c2st", "ec2st", "zay", "%41", "\n", "token=", "org-a", "[", '"',
            "token", "token-", "token ", 'token="', 'token="\\', 'token="""\\', "\\")  # fmt: skip
READERS = """
from kmi.auth_formats import line_of
from kmi.masking import mask_data, mask_keys, mask_text
from kmi.redaction import Redactor
hidden = Redactor(lambda: ["sk-kimi-0123456789abcdef"]).data
for part in {parts!r}:
    text = part * ({long} // len(part))
    for read in (mask_data, mask_keys, mask_text, hidden, lambda text: line_of(text, "api_key")):
        for whole in (text, f"x{{text}} sk-x c2st zay"):
            read(whole)
"""


def test_no_text_takes_a_pattern_for_ever(world: World) -> None:
    program = READERS.format(parts=REPEATED, long=LONG)
    assert world.command([sys.executable, "-c", program]).returncode == 0


def test_a_file_of_another_kind_is_told_in_few_words() -> None:
    table = {f"name{number}": 1 for number in range(20_000)}
    found = parse_auth_file("/a/x.json", json.dumps(table).encode(), URL)
    assert len(found.problems) < 30
    assert "19980 more names" in " ".join(problem.what for problem in found.problems)
    text = "".join(f"NAME{number}=1\n" for number in range(20_000))
    assert len(parse_auth_file("/a/x.env", text.encode(), URL).problems) < 30


def test_a_config_of_empty_lines_is_edited() -> None:
    """As the proof that no other line changed took minutes for it."""
    raw = config_text("").replace("\n[models]", "\n" * 20_000 + "[models]").encode()
    config = parse_config(raw, name="config.toml", client=CLI)
    after = apply_edits(config, adopt_edits(config, Credential("sk-kimi-new-0123456789", URL)))
    assert after.count(b"\n" * 20_000) == 1


@pytest.mark.parametrize("depth", [900, 5000])
def test_a_damaged_record_that_is_nested_deeply_is_left_out(world: World, depth: int) -> None:
    world.state.mkdir(mode=0o700)
    deep = '{"a":' * depth + "1" + "}" * depth
    lines = "".join(
        f'{{"schema":1,"ts":"2026-11-20T10:00:00.000Z","command":"{name}","after":{after}}}\n'
        for name, after in (("use", '"x"'), ("odd", deep))
    )
    write_private(world.state / "audit.jsonl", lines)
    found = world.document("audit", "--key", "x")["records"]
    assert [record["command"] for record in found] == ["use"]
    assert len(world.document("audit")["records"]) == 1
