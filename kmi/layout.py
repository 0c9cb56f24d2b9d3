"""What kmi keeps in its state directory, and the fields of ``state.json`` (pure).

`docs/reference/files.md` and the man page are made from here; `kmi doctor` tells what else lies
there, and the suite finds nothing of that kind after its runs.
"""

from __future__ import annotations

from typing import NamedTuple


class Owned(NamedTuple):
    """One file or directory of kmi's own.

    Attributes:
        name: below the state directory; a directory ends with ``/``.
        about: what it holds.
        form: how it is written: "json" (one document with a ``schema``), "lines" (records, one JSON
            object a line), "sqlite", "text", "toml", "lock", or "" for directories.
    """

    name: str
    about: str
    form: str = ""


#: In the order of their weight for a reader.
OWNED = (
    Owned(
        "state.json",
        "what kmi knows of each key, the active key of each client, what `kmi undo` can take back",
        "json",
    ),
    Owned(
        "bindings.json", "which `.kmi.toml` of projects you allowed or denied (binding.md)", "json"
    ),
    Owned(
        "runs.jsonl",
        "a line for each run: which key, why, why not the others; and, with kmi's hooks in a "
        "client, for each session and each failure in one",
        "lines",
    ),
    Owned(
        "audit.jsonl",
        "a line for each change of state, allowed or denied: who, what, before, after",
        "lines",
    ),
    Owned(
        "trace.jsonl",
        "a line for each request of the proxy: which key served it, how, and how long it took; "
        "rotated by `KMI_TRACE_MAX_MB` and `_BACKUPS`",
        "lines",
    ),
    Owned(
        "usage.db",
        "what calls cost and who paid, read from the clients' session logs, with how far each log "
        "was read; `kmi usage` shows it",
        "sqlite",
    ),
    Owned(
        "prompt",
        "one line: the label of the key that was swapped in last; ` !` behind it for status warn, "
        "` x` when it can't be used now",
        "text",
    ),
    Owned("labels", "the labels, for completion", "text"),
    Owned(
        "bindings",
        "for shells: the `.kmi.toml` that you allowed, as `LABEL,LABEL DIRECTORY`",
        "text",
    ),
    Owned(
        "status-line",
        "what Kimi Code shows in its footer; only while `kmi plugin` is installed there",
        "text",
    ),
    Owned(
        "plugin.json",
        "what `kmi plugin install` wrote into which file, so that it can be taken back",
        "json",
    ),
    Owned(
        "backups/",
        "client configs from before kmi wrote them, ten per client and all that `kmi undo` needs; "
        "`backups/plugin-…`: other files of clients from before `kmi plugin` changed them; "
        "`backups/keys/`: removed auth files; `backups/migrate/`: what `kmi config migrate` "
        "changed, as it was",
    ),
    Owned("pins/", "private configs of pinned runs, while they run"),
    Owned("memo/", "what lets `kmi run` start quickly; may be removed at any time"),
    Owned("proxy.json", "where the proxy of this directory is", "json"),
    Owned("proxy.lock", "the lock that the proxy holds while it runs", "lock"),
    Owned(
        "proxy.token",
        "the proxy's generated token, which its clients send as their API key",
        "text",
    ),
    Owned("proxy-runs/", "a file for each run that uses the proxy, while it runs"),
    Owned(
        "logs/",
        "`proxy.log`: what the proxy printed; `kmi.jsonl`: its events, and why a hook could not do "
        "its work; rotated by `KMI_LOG_MAX_MB` and `_BACKUPS`",
    ),
    Owned("patterns.toml", "your own patterns for upstream's errors, if you wrote one", "toml"),
    Owned("lock", "the advisory lock of the directory", "lock"),
)

#: The fields of ``state.json``; those marked with ``?`` are there where they apply.
STATE_FIELDS = {
    "schema": "1",
    "active": "by client: the `key` (its id) last swapped in, its `label`, `since` when",
    "keys": "by key id: see below",
    "undo": "by client, oldest first: what `kmi undo` takes back: `kind` (swap, adopt, create), "
    "`at`, the `backup`, the digest of what was `written`, the keys `from` and `to`",
    "aliases": "ids that the key of a program (`api_key_command`) had before, to the one it has",
    "adopt_declined": "clients for which you declined a provider of kmi's own beside a login",
    "auto_rotate?": "since when `kmi rotate auto` is on",
    "refresh_at?": "when a refresh of quotas was started last",
    "chosen_at?": "when a person last named the active key (`kmi use`, `kmi rotate`)",
}
#: The fields of a key in it.
STATE_KEY_FIELDS = {
    "label": "the label it had last",
    "disabled?": "you left it out",
    "hold?": "why it is out: `kind`, `verdict`, `since`, `until`, `probe_at` (half open from then "
    "on), the `source` of the time, the `window`, the answer's `status` and `text`, `strikes`",
    "windows?": "quota windows: the share `used` (0 to 1), and when each `resets_at`",
    "usage_at?": "when its quota was read",
    "usage_tried_at?": "when kmi last tried to",
    "usage_error?": "why that failed",
    "usage_wait_until?": "when kmi may ask again",
    "last_used?": "when a run or the proxy last used it",
    "traffic?": "answers and errors by the minute, for the last hour",
    "group?": "a hash of its account: keys of one group share their limits",
}


def is_own(name: str) -> bool:
    """Whether kmi wrote what has this name in its state directory.

    Files that were rotated, set aside, or belong to a database begin with the name of their own.

    >>> is_own("trace.jsonl.1"), is_own("state.json.corrupt-20260101T000000Z"), is_own("notes")
    (True, True, False)
    """
    for item in OWNED:
        own = item.name.rstrip("/")
        if name == own or (item.form and name.startswith((f"{own}.", f"{own}-"))):
            return True
    return False
