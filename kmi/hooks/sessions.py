"""Which key a client's session uses, and the record of it (docs/reference/records.md).

On the short way of `kmi.hooks`, where the modules for JSON and TOML would cost as much as the start
of Python: a config in the plainest form is read here, and any other by `kmi.kimi_config`.
"""

from __future__ import annotations

import os
import time

from kmi.digest import sha256_hex
from kmi.errors import KmiError
from kmi.hooks.events import CLI, CODE, LOCK_WAIT_S
from kmi.hooks.quick_json import line_of, parsed
from kmi.paths import client_config
from kmi.quick import read_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

#: Ids of sessions have 36 to 44 characters.
ID_MAX = 200
#: Where the record of a run or a session is looked for first, from the end; then in all of it.
TAIL_BYTES = 256 * 1024
ALL_BYTES = 64 * 1024 * 1024
_STATE_BYTES = 64 * 1024 * 1024
#: `kmi.kimi_config.MAX_CONFIG_BYTES`.
_CONFIG_BYTES = 1024 * 1024
#: What Kimi Code takes for yes and no.
_WATCHES, _WATCHES_NOT = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
#: With one of these in it, a config is for a parser to understand.
_NOT_PLAIN = (b"oauth", b"api_key_env", b"watch", b'"""', b"'''", b"{ api", b"{api")


class Session:
    """A session of a client, and the key that it uses now, as far as that is known.

    Attributes:
        run_id: the run of kmi around it, or None.
        how: "pin" (it keeps the key of its run), "config" (it takes what the client's config
            holds), "proxy" (the proxy picks keys).
        follows: it takes a swapped key at its next request.
        key: the key's id; None when it is not known.
        label: that key's label; None when it is not known.
    """

    def __init__(
        self,
        client: str,
        session_id: str,
        run_id: str | None,
        how: str,
        follows: bool,
        key: str | None,
        label: str | None,
    ) -> None:
        self.client = client
        self.session_id = session_id
        self.run_id = run_id
        self.how = how
        self.follows = follows
        self.key = key
        self.label = label

    def fields(self) -> dict[str, str | bool | None]:
        """The fields that records of sessions share."""
        found: dict[str, str | bool | None] = {}
        found.update(client=self.client, session_id=self.session_id)
        if self.key is not None:
            found["key"] = self.key
        if self.label is not None:
            found["label"] = self.label
        found.update(run_id=self.run_id, how=self.how, follows=self.follows)
        return found


def read_json(data: bytes) -> dict[str, Any]:
    """The event that a client gave.

    Raises:
        ValueError: it is no JSON object with a session's id.
    """
    event = parsed(data)
    session_id = event.get("session_id") if isinstance(event, dict) else None
    if not isinstance(session_id, str) or not 0 < len(session_id) <= ID_MAX:
        raise ValueError("the event has no session_id")
    if not session_id.isprintable():
        raise ValueError("the event's session_id is no plain text")
    assert isinstance(event, dict)  # noqa: S101 - looked at above
    return event


def client_of(event: Mapping[str, Any], client: str, env: Mapping[str, str]) -> str:
    """Whose event it is: as the hook's command says, else as the event looks."""
    if client:
        return client
    if event.get("client_type") == "kimi_code_cli" or "KIMI_PLUGIN_ROOT" in env:
        return CODE
    return CLI


def look(client: str, session_id: str, env: Mapping[str, str], directory: str) -> Session:
    """Which key a session uses now: that of its run if it is pinned, else that of the config."""
    run_id = env.get("KMI_RUN_ID") or None
    if env.get("KMI_PROXY_RUN"):
        return Session(client, session_id, run_id, "proxy", False, None, None)
    run = find_run(directory, run_id)
    key, watches = look_at_config(client, env)
    follows = client == CODE and watches
    if run_id is None:
        pinned = False
    elif run is not None:
        pinned = run.get("mode") == "pinned"
    else:
        # The records were cleaned meanwhile. Only runs that follow have no home of their own.
        pinned = not follows or "KMI_CLIENT_HOME" in env
    if pinned:
        label = env.get("KMI_ACTIVE_KEY")
        key = run.get("key") if run is not None else _id_of(label, directory)
        return Session(client, session_id, run_id, "pin", False, key, label)
    return Session(client, session_id, run_id, "config", follows, key, _label_of(key, directory))


def look_at_config(client: str, env: Mapping[str, str]) -> tuple[str | None, bool]:
    """The id of the key that a client would take from its config, and whether it watches that."""
    said = env.get("KIMI_CODE_WATCH", "").strip().lower()
    try:
        path = client_config(client, env)
        data = read_plain(path, _CONFIG_BYTES)[0]
        secret, watches = plain_secret(data), False
        if secret is None:
            secret, watches = _by_parser(data, path, client, env)
    except (OSError, KmiError):
        secret, watches = None, False
    if said in _WATCHES or said in _WATCHES_NOT:
        watches = said in _WATCHES  # its variable decides
    key = sha256_hex(secret.encode("utf-8", "surrogateescape"))[:12] if secret else None
    return key, watches


def plain_secret(data: bytes) -> str | None:
    r"""The one key of a config in the plainest form: `api_key` on lines of their own, all equal.

    Returns:
        None in any doubt.

    >>> plain_secret(b'[providers.kimi]\napi_key = "sk-x"  # mine\n')
    'sk-x'
    """
    if any(mark in data for mark in _NOT_PLAIN) or not data.isascii():
        return None
    found = set()
    for line in data.split(b"\n"):
        if b"api_key" not in line or line.lstrip().startswith(b"#"):
            continue
        name, _, rest = line.partition(b"=")
        value, quote, behind = rest.strip()[1:].partition(b'"')
        plain = name.strip() == b"api_key" and rest.lstrip()[:1] == b'"' and quote
        if not plain or b"\\" in value or (behind.strip() and behind.strip()[:1] != b"#"):
            return None
        if value:
            found.add(value)
    return found.pop().decode() if len(found) == 1 else None


def _by_parser(
    data: bytes, path: str, client: str, env: Mapping[str, str]
) -> tuple[str | None, bool]:
    """The secret that a client would take from any config, and whether it says to watch it.

    Raises:
        ConfigError: it can't be read.
    """
    from kmi.kimi_config import parse_config

    config = parse_config(data, name=path, client=client)
    watch = config.data.get("watch")
    watches = isinstance(watch, dict) and watch.get("enabled") is True
    if config.has_login:
        return None, watches
    return (env.get(config.key_variable) if config.key_variable else config.secret), watches


def _states(directory: str) -> dict[str, Any]:
    """What is known of keys, by id; empty where it can't be read."""
    try:
        keys = parsed(read_plain(f"{directory}/state.json", _STATE_BYTES)[0])["keys"]
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return keys if isinstance(keys, dict) else {}


def _label_of(key_id: str | None, directory: str) -> str | None:
    known = _states(directory).get(key_id) if key_id is not None else None
    label = known.get("label") if isinstance(known, dict) else None
    return label if isinstance(label, str) else None


def _id_of(label: str | None, directory: str) -> str | None:
    for key_id, known in _states(directory).items():
        if label and isinstance(known, dict) and known.get("label") == label:
            return key_id
    return None


def find_run(directory: str, run_id: str | None) -> dict[str, Any] | None:
    """The record of a run; None where there is none any more."""
    if not run_id or not (run_id.isascii() and run_id.isalnum()):
        return None
    found = lines_with(directory, f'"run":"{run_id}"'.encode(), b'"event":"run"')
    return next(found, None)


def lines_with(directory: str, *marks: bytes) -> Iterator[dict[str, Any]]:
    """The records in ``runs.jsonl`` that hold all of these bytes, the latest first."""
    data = b""
    for size in (TAIL_BYTES, ALL_BYTES):
        before, data = data, _tail(f"{directory}/runs.jsonl", size)
        if len(data) == len(before):
            return
        lines = data[: len(data) - len(before)].split(b"\n")
        for line in reversed(lines):
            if all(mark in line for mark in marks):
                try:
                    record = parsed(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    yield record


def _tail(path: str, size: int) -> bytes:
    """The last bytes of a file, from the beginning of a line; b"" where it can't be read."""
    flags = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
    flags |= getattr(os, "O_NONBLOCK", 0)  # a FIFO makes nobody wait, and can't be sought in
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - size))
            data = file.read(size)
    except OSError:
        return b""
    return data if end <= size else data[data.find(b"\n") + 1 :]


def record(
    name: str, data: bytes, client: str, env: Mapping[str, str], directory: str, at: float
) -> None:
    """Append the record of a session's start or end.

    Raises:
        ValueError: the event is none.
        OSError: the system refused, or another kmi held the lock for too long.
    """
    event = read_json(data)
    client = client_of(event, client, env)
    head: dict[str, str | bool | int | None] = {"schema": 1, "ts": _stamp(at), "event": name}
    if name == "session_end":
        head.update(client=client, session_id=event["session_id"])
        head["run_id"] = env.get("KMI_RUN_ID") or None
    else:
        head.update(look(client, event["session_id"], env, directory).fields())
    line = line_of(head)
    if b"sk-" in line:
        from kmi.store import record_line

        line = record_line(head)
    _locked_append(directory, line)


def _append(path: str, line: bytes) -> None:
    """What `kmi.files.append_line` does, without its imports."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
    fd = os.open(path, flags | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
        if size:
            os.lseek(fd, size - 1, os.SEEK_SET)
            line = line if os.read(fd, 1) == b"\n" else b"\n" + line
        if os.write(fd, line) != len(line):
            raise OSError("the disk is full")
    finally:
        os.close(fd)


def _locked_append(directory: str, line: bytes) -> None:
    path = f"{directory}/runs.jsonl"
    try:
        import fcntl
    except ImportError:  # Windows
        from kmi.lock import locked

        with locked(f"{directory}/lock", lambda text: None, timeout_s=LOCK_WAIT_S):
            _append(path, line)
        return
    fd = os.open(f"{directory}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    deadline = time.monotonic() + LOCK_WAIT_S
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
        _append(path, line)
    finally:
        os.close(fd)


def _stamp(at: float) -> str:
    """A moment as records have it; `kmi.timezones` would cost a third of this way."""
    at = round(at, 3)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
    return f"{whole}.{round((at % 1) * 1000) % 1000:03d}Z"


def log(env: Mapping[str, str], hook: str, error: BaseException) -> None:
    """Append to ``logs/kmi.jsonl`` why a hook did not do its work, without any secret.

    Raises:
        OSError, KmiError: that is not possible either.
    """
    from kmi.error_texts import evidence
    from kmi.files import ensure_private_dir
    from kmi.journal import append
    from kmi.settings import load_settings
    from kmi.store import record_line

    settings = load_settings(env)[0]
    if not os.path.isdir(settings.state_dir):
        return
    # Only of kmi's own errors the words are known to hold no value of the event's.
    told = isinstance(error, (KmiError, ValueError, OSError))
    text = f"{type(error).__name__}: {error}" if told else _place(error)
    fields = {"level": "warning", "event": "hook-failed", "hook": hook, "text": evidence(text)}
    line = record_line({"schema": 1, "ts": _stamp(time.time()), **fields})
    folder = os.path.join(settings.state_dir, "logs")
    ensure_private_dir(folder)
    limits = {"max_bytes": settings.log_max_mb << 20, "backups": settings.log_backups}
    append(os.path.join(folder, "kmi.jsonl"), line, **limits)


def _place(error: BaseException) -> str:
    """Where a bug is, without any value."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)[-4:]
    where = " > ".join(f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in frames)
    return f"a bug: {type(error).__name__} at {where}"
