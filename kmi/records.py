"""The events of kmi's record files: the one list, from which `docs/reference/records.md` is made.

Each record is one line of JSON: `schema`, `ts` (UTC), `event`, and the fields of that event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Of every record.
COMMON = {"schema": "1", "ts": "UTC time, milliseconds", "event": "what happened"}


class Event(NamedTuple):
    """What a kind of record says.

    Attributes:
        file: where it is, below the state directory.
        about: when it is written.
        fields: name to meaning, besides `COMMON`.
        optional: fields that are there only where they apply.
    """

    file: str
    about: str
    fields: Mapping[str, str]
    optional: frozenset[str] = frozenset()


#: Fields of audit records that are there where they apply.
_AUDIT = {
    "action": "what the command did, where it can do several things",
    "before": "what it was",
    "after": "what it is now",
    "client": "whose config",
    "label": "of which key",
    "labels": "of which keys",
    "key": "its id",
    "reason": "why that key, in a word",
    "path": "which file",
    "source": "from which file",
    "backup": "where the old one is kept",
    "address": "the proxy's base URL",
    "pid": "its process",
    "forced": "whether it was killed",
    "run": "in which run",
    "manager": "of which service manager",
    "chat": "whether the keys were tried with a chat",
    "proved": "the keys that were proved to work",
    "failed": "those that were not, and why",
    "repairs": "what was repaired",
    "removed": "what was removed",
    "older_than_s": "only what was older than so many seconds",
    "learnt": (
        "keys that had to be asked about first, or that failed before `--retry`, each with its "
        "status before and after"
    ),
    "error": "why it was refused, or failed, in a word",
}


def _log(about: str, **fields: str) -> Event:
    """An event of the proxy's log."""
    common = {"level": "`info`, `warning` or `error`"}
    return Event("logs/kmi.jsonl", about, {**common, **fields})


EVENTS: dict[str, Event] = {
    "run": Event(
        "runs.jsonl",
        "a run was started",
        {
            "run": "its id, `KMI_RUN_ID` inside of it",
            "pid": "its process",
            "cwd": "where it was started",
            "program": "the program's name",
            "key": "the key's id",
            "label": "the key's label",
            "client": "whose config",
            "mode": "`pinned`, `following`, `swapped`, or `proxy`: the proxy picks keys",
            "proxy": "its base URL, with mode `proxy`, which leaves out what is about a key",
            "strategy": "how the key was chosen",
            "code": "why that key, in a word",
            "reason": "why that key",
            "rejected": "why not each of the others, by label",
            "binding": "the `.kmi.toml` that counted, `path` and `sha256`; null without one",
            "changed": "whether the config was written",
        },
        frozenset({"proxy", "key", "label", "strategy", "code", "reason", "rejected", "binding"}),
    ),
    "session_start": Event(
        "runs.jsonl",
        "a client with kmi's hooks began or resumed a session (kmi plugin)",
        {
            "client": "`kimi-code` or `kimi-cli`",
            "session_id": "the client's id of the session",
            "key": "the id of the key that the session starts on, where it is known",
            "label": "that key's label",
            "run_id": "the run around it, `KMI_RUN_ID`, or null",
            "how": "`pin`: it keeps the key of its run; `config`: it takes what the client's "
            "config holds; `proxy`: the proxy picks keys, so no key is named",
            "follows": "whether it takes a swapped key at its next request; else only when the "
            "client reads its config again, which is told by another `session_start`",
        },
        frozenset({"key", "label"}),
    ),
    "session_end": Event(
        "runs.jsonl",
        "that session ended",
        {
            "client": "`kimi-code` or `kimi-cli`",
            "session_id": "the client's id of the session",
            "run_id": "the run around it, or null",
        },
    ),
    "session_failure": Event(
        "runs.jsonl",
        "a turn in a session failed, and the client told kmi why",
        {
            "client": "`kimi-code` or `kimi-cli`",
            "session_id": "the client's id of the session",
            "key": "the id of the key that failed, where it is known",
            "label": "that key's label",
            "run_id": "the run around it, or null",
            "how": "as in `session_start`",
            "follows": "as in `session_start`",
            "verdict": "what the client's error text says of the key (upstream.md)",
            "swapped": "the label of the key that a following session continues on, or null",
            "why": "in a word, why that, or why no key was swapped in",
        },
        frozenset({"key", "label"}),
    ),
    "audit": Event(
        "audit.jsonl",
        "a command changed state, or was refused",
        {
            "actor": "`KMI_AUDIT_ACTOR`, else the login name",
            "command": "the command",
            "outcome": "`changed`, `unchanged` or `denied`",
            **_AUDIT,
        },
        frozenset(_AUDIT),
    ),
    "request": Event(
        "trace.jsonl",
        "the proxy finished a request",
        {
            "request": "its id, 8 hex digits",
            "method": "such as `POST`",
            "path": "below the base path, without the query, at most 200 characters",
            "key": 'the id of the key that served it last; `""` when none was asked',
            "label": "that key's label",
            "session": 'a hash of its session, 8 hex digits; `""` when it names none',
            "status": "what the client was answered; 0: it went away before that",
            "verdict": "`ok`, what the last answer says of the key (upstream.md), or why the proxy "
            "answered itself or could not finish: `all-out`, `queue-full`, `limited`, `too-slow`, "
            "`upstream`, `cut` (upstream died within the answer), `gone` (the client did)",
            "code": "why that key: `session` (it has that session already), `next`, `active`, "
            "`best`, `only`, `probe`, …, or `retry`",
            "tried": "the attempts before the last one, each as label and verdict",
            "eligible": "how many keys could have been picked",
            "waited_s": "seconds in queues, and for keys to come back",
            "first_s": "seconds to the first byte of the answer; null without one",
            "total_s": "seconds to its last byte",
            "sent": "bytes of the request's body",
            "received": "bytes of the answer's body",
            "tokens": "`prompt`, of which `cached`, and `completion`, as the answer says; or null",
        },
    ),
    "dropped": Event(
        "trace.jsonl",
        "the disk could not keep up, and lines before this one are missing",
        {"count": "how many"},
    ),
    "proxy-started": _log("the proxy listens", address="where"),
    "proxy-reloading": _log("it reads everything again, for it got SIGHUP"),
    "proxy-unused": _log("no run uses it any more, so it ends"),
    "proxy-draining": _log("it takes no new request, and waits", requests="for so many"),
    "proxy-stopped": _log("it ended"),
    "proxy-bug": _log("something failed that should not; it goes on", text="what, and where"),
    "problem": _log("a setting or a file is wrong", text="which, and how to put it right"),
    "keeper-failed": _log("files could not be read or written; it is tried again", text="why"),
    "hook-failed": _log(
        "a hook of a client could not do its work", hook="which", text="why, without any secret"
    ),
    "lessons-dropped": _log("the state could not be written for long", count="answers forgotten"),
}
