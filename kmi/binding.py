"""The project binding `.kmi.toml`: what it says, and whether it counts (pure).

A binding is committed to a project, so nothing in it is believed because it is there: it counts
when the person allowed exactly these bytes at exactly this path (`kmi allow`, as direnv does).

How the files above the working directory become one answer, from the nearest outwards:

1. A file that was allowed as it is now counts, and ends the search.
2. A file whose allowed content was strict, and which is another one now or unusable, *closes*:
   no key at all rather than a wrong one, until the person allows or denies it.
3. Every other file (new, changed, denied, unusable) is as if it were not there; the search goes on,
   so that a nested checkout can't switch off the binding around it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kmi.auth_formats import LABEL, line_of
from kmi.digest import sha256_hex
from kmi.model import Problem
from kmi.settings import nearest
from kmi.state import SchemaError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: A thousand labels of 64 characters do not fit, and nobody orders so many by hand.
LIMIT_BYTES = 16 * 1024
#: Of `.kmi.toml`, and of ``bindings.json``.
SCHEMA = 1
FIELDS = ("schema", "keys", "strict")
#: How many files are remembered as reported; an older one would be reported once more.
REPORTED_KEPT = 200

# What every key of the platform begins with. A short word after it may be a label.
_SECRET = re.compile(r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{8,}")
_SECRET_FIELD = re.compile(r"(api[-_]?)?(key|token|secret|password)(_command)?", re.IGNORECASE)
_TAKE_IT_OUT = "take it out; it was in a file that is meant to be shared, so revoke it too"


@dataclass(frozen=True)
class Binding:
    """What a usable `.kmi.toml` says.

    Attributes:
        path: where it is.
        sha256: of its bytes.
        keys: labels in their order of preference.
        strict: never another key.
    """

    path: str
    sha256: str
    keys: tuple[str, ...]
    strict: bool

    def table(self) -> dict[str, Any]:
        """The form for ``--json``."""
        keys = list(self.keys)
        return {"path": self.path, "sha256": self.sha256, "keys": keys, "strict": self.strict}

    def __str__(self) -> str:
        """The labels, and what they mean."""
        how = "strict: never another key" if self.strict else "preferred in this order"
        return f"{', '.join(self.keys)} ({how})"


@dataclass(frozen=True)
class Record:
    """What the person decided about a path.

    Attributes:
        decision: "allow" or "deny".
        sha256: the content that was allowed; "" for a denial, which is for any content.
        keys, strict: what that content said.
        at: when.
    """

    decision: str
    sha256: str = ""
    keys: tuple[str, ...] = ()
    strict: bool = False
    at: str = ""


@dataclass(frozen=True)
class Trust:
    """Everything that was decided: ``bindings.json``.

    Attributes:
        records: by path.
        reported: ``{path: what}``: what the person was told about a file that does not count.
    """

    records: Mapping[str, Record] = field(default_factory=dict)
    reported: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """A `.kmi.toml` as it was read.

    Attributes:
        data: its bytes; None when it can't be used.
        trouble: why it can't.
    """

    path: str
    data: bytes | None
    trouble: str = ""
    fix: str = ""

    @property
    def content(self) -> str:
        """What tells this content from another one."""
        data = self.trouble.encode() if self.data is None else self.data
        return sha256_hex(data)


@dataclass(frozen=True)
class Ignored:
    """A file that does not count, and why.

    Attributes:
        state: "new", "changed", "denied" or "unusable".
        told: the person knows already.
        problems: what is wrong in it, when it has to be told.
    """

    path: str
    state: str
    why: str
    fix: str
    content: str
    told: bool
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Project:
    """What binds a run in some directory.

    Attributes:
        binding: the one that counts, or None.
        closed: why no key may be used at all; "" when there is no such reason.
        closed_by: the file that closes.
        ignored: files that do not count, nearest first.
    """

    binding: Binding | None = None
    closed: str = ""
    closed_by: str = ""
    ignored: tuple[Ignored, ...] = ()


def parse(path: str, data: bytes) -> tuple[Binding | None, tuple[Problem, ...]]:
    """Read a `.kmi.toml`. Any bytes give an answer.

    Returns:
        the binding, or None when something in it is wrong, and every problem.
    """
    problems: list[Problem] = []

    def report(what: str, fix: str = "", line: int | None = None) -> None:
        problems.append(Problem(path if line is None else f"{path}:{line}", what, fix))

    text, table = _table(data, report)
    if table is None:
        return None, tuple(problems)
    for name in table:
        if name in FIELDS:
            continue
        line = line_of(text, name)
        if _SECRET_FIELD.fullmatch(name):
            report(f"{name!a} has no place here: it is never for secrets", _TAKE_IT_OUT, line)
        else:
            fix = nearest(name, FIELDS) or f"known: {', '.join(FIELDS)}"
            report(f"{name[:40]!a} is not a field of .kmi.toml", fix, line)
    _check_schema(table.get("schema", SCHEMA), line_of(text, "schema"), report)
    strict = table.get("strict", False)
    if not isinstance(strict, bool):
        report("strict is not a truth value", "write true or false", line_of(text, "strict"))
    keys = _keys(table.get("keys"), line_of(text, "keys"), report)
    if problems:
        return None, tuple(problems)
    return Binding(path, sha256_hex(data), keys, strict), ()


def _table(data: bytes, report: Any) -> tuple[str, dict[str, Any] | None]:
    if len(data) > LIMIT_BYTES:
        report(f"is larger than {LIMIT_BYTES // 1024} KiB, the most that kmi reads")
        return "", None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        report("is not UTF-8 text", "save it as UTF-8")
        return "", None
    secret = _SECRET.search(text)
    if secret is not None:
        line = text.count("\n", 0, secret.start()) + 1
        report("holds what looks like a secret", _TAKE_IT_OUT, line)
        return text, None
    from tomlkit import parse as parse_toml
    from tomlkit.exceptions import ParseError, TOMLKitError

    try:
        return text, parse_toml(text).unwrap()
    except ParseError as error:
        report("is not valid TOML", "correct that line", error.line)
    except (TOMLKitError, ValueError, RecursionError):
        report("is not valid TOML", "correct it")
    return text, None


def _check_schema(schema: object, line: int | None, report: Any) -> None:
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        report("schema is not a number from 1", f"write schema = {SCHEMA}", line)
    elif schema > SCHEMA:
        report(f"has schema {schema}, this kmi knows up to {SCHEMA}", "update kmi", line)


def _keys(value: object, line: int | None, report: Any) -> tuple[str, ...]:
    if value is None:
        report("has no keys", 'write keys = ["LABEL"]')
        return ()
    if not isinstance(value, list) or not value:
        report("keys is not a list of labels", 'write keys = ["LABEL"]', line)
        return ()
    for number, label in enumerate(value, 1):
        # The value stays unsaid: it may be a secret of a form that is not known here.
        if not isinstance(label, str) or not LABEL.fullmatch(label) or _SECRET.search(label):
            fix = "use 1 to 64 of A-Z a-z 0-9 . _ @ / -, not beginning with -"
            report(f"entry {number} of keys is not a label", fix, line)
        elif label in value[: number - 1]:
            report(f"keys names {label!r} twice", "keep the one that is meant", line)
    return tuple(label for label in value if isinstance(label, str))


def render(keys: Sequence[str], *, strict: bool) -> bytes:
    """The file that `kmi bind` writes."""
    labels = ", ".join(f'"{label}"' for label in keys)
    return (
        "# The keys for kmi's runs in and below this directory, by label, in order of preference;\n"
        "# strict: never another one. Made by `kmi bind`; counts after `kmi allow`.\n"
        f"schema = {SCHEMA}\nkeys = [{labels}]\nstrict = {'true' if strict else 'false'}\n"
    ).encode()


def own_work(path: str, data: bytes) -> bool:
    """Whether a file is, byte for byte, one that `kmi bind` could have written."""
    binding, _ = parse(path, data)
    return binding is not None and render(binding.keys, strict=binding.strict) == data


def settle(found: Sequence[Found], trust: Trust) -> Project:
    """What counts of the files above a directory (the rules are at the top of this module).

    Args:
        found: nearest first.
        trust: what the person decided.
    """
    ignored: list[Ignored] = []
    for item in found:
        record = trust.records.get(item.path)
        denied = record is not None and record.decision == "deny"
        allowed = record is not None and not denied
        state, why, fix = _state(item, record)
        if state == "allowed" and item.data is not None:
            binding, problems = parse(item.path, item.data)
            if binding is not None:
                return Project(binding, ignored=tuple(ignored))
            # It was allowed by a kmi that could read it.
            state, why, fix = "unusable", problems[0].what, problems[0].fix
        if allowed and record is not None and record.strict:
            was = ", ".join(record.keys)
            closed = f"{why}; what was allowed is strict ({was}), so no key is used"
            return Project(None, closed, item.path, tuple(ignored))
        told = denied or trust.reported.get(item.path) == item.content
        wrong: tuple[Problem, ...] = ()
        if not told and item.data is not None:
            wrong = parse(item.path, item.data)[1]
        ignored.append(Ignored(item.path, state, why, fix, item.content, told, wrong))
    return Project(ignored=tuple(ignored))


def _state(item: Found, record: Record | None) -> tuple[str, str, str]:
    """What a file is, why it does not count, and what to do."""
    if record is not None and record.decision == "deny":
        return "denied", "is denied", f"{command('allow', item.path)} takes that back"
    if item.data is None:
        return "unusable", item.trouble, item.fix
    fix = how_to_go_on(item.path)
    if record is None:
        return "new", "is not allowed yet, so it does not count", fix
    if record.sha256 != item.content:
        return "changed", "is not what was allowed: it was changed", fix
    return "allowed", "", ""


def how_to_go_on(path: str) -> str:
    """What a person can do about a file that waits for a decision."""
    return f"look at it, then {command('allow', path)} or {command('deny', path)}"


def command(verb: str, path: str) -> str:
    """A command to copy; the path is quoted for a shell."""
    from shlex import quote

    return f"`kmi {verb} {quote(path)}`"


def with_record(trust: Trust, path: str, record: Record | None) -> Trust:
    """A decision about a path (None: no more), in place of the one before."""
    records = {k: v for k, v in trust.records.items() if k != path}
    if record is not None:
        records[path] = record
    return Trust(records, {k: v for k, v in trust.reported.items() if k != path})


def with_reported(trust: Trust, told: Mapping[str, str]) -> Trust:
    """What the person was told, the newest last."""
    reported = {k: v for k, v in trust.reported.items() if k not in told}
    reported.update(told)
    return Trust(trust.records, dict(list(reported.items())[-REPORTED_KEPT:]))


def encode(trust: Trust) -> bytes:
    """The JSON form."""
    table = {
        "schema": SCHEMA,
        "paths": {path: _encode_record(record) for path, record in trust.records.items()},
        "reported": dict(trust.reported),
    }
    return json.dumps(table, indent=1).encode() + b"\n"


def _encode_record(record: Record) -> dict[str, Any]:
    if record.decision == "deny":
        return {"decision": "deny", "at": record.at}
    return {
        "decision": "allow",
        "sha256": record.sha256,
        "keys": list(record.keys),
        "strict": record.strict,
        "at": record.at,
    }


def decode(data: bytes) -> Trust:
    """Read the JSON form.

    Raises:
        SchemaError: it is of a newer schema.
        ValueError: it is damaged.
    """
    try:
        table = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    schema = table.get("schema") if isinstance(table, dict) else None
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        raise ValueError("it has no schema number")
    if schema > SCHEMA:
        raise SchemaError(schema)
    try:
        records = {path: _decode_record(item) for path, item in table["paths"].items()}
        reported = {path: _text(content) for path, content in table["reported"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a field is missing or of the wrong kind ({error})") from None
    return Trust(records, reported)


def _decode_record(table: Any) -> Record:
    at = _text(table["at"])
    if table["decision"] == "deny":
        return Record("deny", at=at)
    if table["decision"] != "allow" or not isinstance(table["strict"], bool):
        raise TypeError("a decision")
    keys = table["keys"]
    if not isinstance(keys, list):
        raise TypeError("keys")
    labels = tuple(_text(label) for label in keys)
    return Record("allow", _text(table["sha256"]), labels, table["strict"], at)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a string was expected")
    return value
