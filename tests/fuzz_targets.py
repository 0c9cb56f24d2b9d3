"""What reads files that kmi did not write just now, as functions of any bytes.

Each check returns True where the bytes were taken for a value, False where they were refused by a
clean error, and raises for everything that must not happen: another exception, a value that breaks
what it promises, a secret in what is said. `tests.fuzz` mutates the seeds.
"""

from __future__ import annotations

import copy
import json
import os
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import tomlkit

from kmi import binding, quick, session_index
from kmi.auth_formats import FIELDS, LABEL, check_secret, parse_auth_file
from kmi.auth_writing import relabelled
from kmi.commands.audit import summary
from kmi.error_texts import evidence, read_error
from kmi.errors import ConfigError, KmiError
from kmi.health_text import lines
from kmi.kimi_config import apply_edits, parse_config, same_data, value_at
from kmi.kimi_edits import Credential, adopt_edits, pin_edits, swap_edits, undo_edits
from kmi.masking import config_diff, mask_keys
from kmi.migrations import schema_of, upgrade
from kmi.model import ApiKey
from kmi.overview import document, look_over
from kmi.polling import Pace
from kmi.proxy import instance
from kmi.quotas import parse_balance, parse_usages
from kmi.retry_after import parse_retry_after
from kmi.selection import Policy, choose
from kmi.settings import STRATEGIES, TABLE, load_settings
from kmi.shell_files import prompt_line
from kmi.state import State, decode, encode
from kmi.store import Store, record_line
from kmi.timezones import find_timezone, show_time
from kmi.trace import entry_document, read_line
from kmi.urls import parse_base_url
from kmi.verdicts import classify, parse_rules
from kmi.wording import Words
from tests.conftest import BASE_URL, CLI, CODE, config_text, secret_of

if TYPE_CHECKING:
    from kmi.kimi_config import Config
    from kmi.model import Problem

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NOW = 1_800_000_000.0
URL = parse_base_url(BASE_URL)
#: Stands in the seeds; said nowhere.
SECRET, NEW = secret_of("seed"), secret_of("new")
_FOLDER = tempfile.TemporaryDirectory(prefix="kmi-fuzz-")


class Target(NamedTuple):
    """Something that reads bytes.

    Attributes:
        seeds: good inputs.
        words: what mutations put in, beside what every format has.
    """

    name: str
    check: Callable[[bytes], bool]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()


def _at(name: str, data: bytes) -> str:
    """The path of a private file with these bytes."""
    path = os.path.join(_FOLDER.name, name)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(fd, data)
    os.close(fd)
    return path


def _tell_nothing(*texts: str) -> None:
    for text in texts:
        assert SECRET not in mask_keys(text), text


def _tell(problems: tuple[Problem, ...] | list[Problem]) -> None:
    for problem in problems:
        assert problem.what
        _tell_nothing(*map(str, problem))


# Auth files, settings, bindings.


def auth_file(suffix: str) -> Callable[[bytes], bool]:
    """Reads auth files of one kind."""

    def check(data: bytes) -> bool:
        path = f"/a/name{suffix}"
        found = parse_auth_file(path, data, URL)
        assert found.keys or found.problems
        _tell(found.problems)
        for problem in found.problems:
            assert problem.where == path or problem.where.startswith(f"{path}:")
        for key in found.keys:
            assert LABEL.fullmatch(key.label)
            assert (key.secret is None) != (key.command is None)
            if key.secret is not None:
                check_secret(key.secret)
            assert parse_base_url(str(key.base_url)) == key.base_url
        if len(found.keys) == 1 and not found.problems:
            try:
                renamed = parse_auth_file(path, relabelled(path, data, "other"), URL)
            except KmiError:
                return True
            for key in renamed.keys:
                if key.label == "other":  # else it is refused
                    assert replace(key, line=None, label="") == replace(
                        found.keys[0], line=None, label=""
                    )
        return bool(found.keys)

    return check


def env_file(data: bytes) -> bool:
    """Reads settings."""
    path = _at("env", data)
    try:
        settings, problems = load_settings({"HOME": _FOLDER.name, "KMI_ENV_PATH": path})
    except KmiError as error:
        _tell_nothing(str(error))
        return False
    _tell(problems)
    for row in TABLE:
        assert hasattr(settings, row.attribute)
    return not any(problem.fatal for problem in problems)


def project_file(data: bytes) -> bool:
    """Reads `.kmi.toml`."""
    found, problems = binding.parse("/p/.kmi.toml", data)
    assert (found is None) == any(problem.fatal for problem in problems)
    _tell(list(problems))
    if found is None:
        return False
    assert found.keys
    assert all(LABEL.fullmatch(label) for label in found.keys)
    made = binding.render(found.keys, strict=found.strict)
    again, wrong = binding.parse("/p/.kmi.toml", made)
    assert again is not None
    assert (again.keys, again.strict, wrong) == (found.keys, found.strict, ())
    return True


def decisions(data: bytes) -> bool:
    """Reads ``bindings.json``."""
    try:
        trust = binding.decode(data)
    except ValueError:
        return False
    assert binding.decode(binding.encode(trust)) == trust
    return True


# The client's config.


def _plain(data: Any) -> Any:
    """The data by the other parser; None where it refuses the text."""
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None


def _with(data: Any, edits: dict[tuple[str, ...], Any]) -> Any:
    """The data with the edits in it, by other means than kmi's."""
    data = copy.deepcopy(data)
    for path, value in edits.items():
        table = data
        for part in path[:-1]:
            table = table.setdefault(part, {})
        if value is None:
            table.pop(path[-1], None)
        else:
            table[path[-1]] = value
    return data


def only_these_changed(config: Config, edits: dict[tuple[str, ...], Any], after: bytes) -> None:
    """The intended values changed and nothing else did: as data, and as bytes."""
    raw = config.raw
    if not edits:
        assert after == raw
        return
    data = tomlkit.parse(after.decode("utf-8-sig")).unwrap()
    assert same_data(data, _with(tomlkit.parse(config.text).unwrap(), edits))
    plain = _plain(raw)
    if plain is not None:
        assert same_data(_plain(after), _with(plain, edits))
    assert after.startswith(b"\xef\xbb\xbf") is raw.startswith(b"\xef\xbb\xbf")
    if any(isinstance(value_at(config.data, path), dict) for path in edits):
        return  # a table goes with its lines
    old = {path: value_at(config.data, path) for path in edits}
    gone = sum(value is not None for value in old.values())
    lines_of = (text.decode("utf-8-sig").split("\n") for text in (raw, after))
    before, now = map(Counter, lines_of)
    assert sum((before - now).values()) <= gone
    if len(edits) == gone == 1 and None not in edits.values():
        # One value for another: what is between equal beginnings and ends is part of the new one.
        start = _alike(raw, after)
        end = _alike(raw[start:][::-1], after[start:][::-1])
        (value,) = edits.values()
        assert after[start : len(after) - end] in tomlkit.item(value).as_string().encode()


def _alike(one: bytes, other: bytes) -> int:
    """How many first bytes are the same."""
    pairs = enumerate(zip(one, other))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


def config_edit(data: bytes) -> bool:
    """Edits a client's config."""
    done = False
    for client in (CLI, CODE):
        try:
            config = parse_config(data, name="config.toml", client=client)
        except ConfigError as error:
            _tell_nothing(str(error))
            continue
        assert SECRET not in repr(config)
        for make in (swap_edits, pin_edits, adopt_edits):
            try:
                edits = make(config, Credential(NEW, URL))
                after = apply_edits(config, edits)
            except ConfigError as error:
                _tell_nothing(str(error))
                continue
            only_these_changed(config, edits, after)
            changed = parse_config(after, name="config.toml", client=client)
            assert changed.secret == NEW
            assert not any(NEW[:-4] in line for line in config_diff(data, after, "x"))
            _undone(config, changed, "adopt" if make is adopt_edits else "swap")
            done = True
    return done


def _undone(before: Config, now: Config, kind: str) -> None:
    try:
        edits = undo_edits(now, before, kind)
        only_these_changed(now, edits, apply_edits(now, edits))
    except ConfigError as error:
        _tell_nothing(str(error))


# What kmi wrote some time ago.


def state_file(data: bytes) -> bool:
    """Reads ``state.json``; what was read can be used, shown, and written."""
    path = _at("state.json", data)
    store = Store(_FOLDER.name, lambda text: None, ids=lambda: {"alpha": "A" * 12})
    before = store.read() if _is_state(data) else None
    if before is None:
        try:
            store.read()
        except KmiError as error:
            _tell_nothing(str(error))
        return False
    assert os.path.getsize(path) == len(data)
    table = json.dumps(encode(before), sort_keys=True)
    assert json.dumps(encode(decode(json.loads(table))), sort_keys=True) == table
    use(before)
    return True


def _is_state(data: bytes) -> bool:
    try:
        table = json.loads(data)
        if schema_of(table) == 0:
            table = upgrade(table, {"alpha": "A" * 12}, NOW)
        decode(table)
    except (ValueError, RecursionError):
        return False
    return True


def use(state: State) -> None:
    """All that a state is for."""
    ids = [*state.keys, "none"]
    keys = [ApiKey(f"k{n}", key_id, "s", URL, "/a/x.env") for n, key_id in enumerate(ids[:9])]
    active = {client: item.key_id for client, item in state.active.items()}
    for strategy in STRATEGIES:
        choose(keys, state.keys, Policy(strategy=strategy), now=NOW, active=keys[0].key_id)
    view = look_over(keys, state.keys, active=active, barred={}, pace=Pace(600, 3600, 3), now=NOW)
    json.dumps(document(view), allow_nan=False)
    for locale, zone in (("en", "+14:00"), ("ru", "-14:00")):
        found = find_timezone(zone)
        for line in lines(view, Words(locale), lambda at: show_time(at, found)):  # noqa: B023 - now
            assert line.isprintable()
    assert prompt_line(state, keys, NOW).isascii()
    assert prompt_line(state, None, NOW).isprintable()


def records(data: bytes) -> bool:
    """Reads ``runs.jsonl``, ``audit.jsonl`` and the trace."""
    _at("runs.jsonl", data)
    used = Store(_FOLDER.name, lambda text: None).last_runs()
    taken = bool(used)
    for line in data.split(b"\n"):
        entry = read_line(line)
        if entry is not None:
            taken = True
        if entry is not None and not isinstance(entry, int):
            json.dumps(entry_document(entry), allow_nan=False)
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            summary(record)
            assert record_line(record).count(b"\n") == 1
    return taken


def proxy_record(data: bytes) -> bool:
    """Reads ``proxy.json``."""
    _at(instance.RECORD, data)
    try:
        found = instance.read_record(_FOLDER.name)
    except KmiError as error:
        _tell_nothing(str(error))
        return False
    return found is not None and bool(found.base_url)


def memo(data: bytes) -> bool:
    """Reads what lets a run take the quick way: in any doubt the whole way runs."""
    os.makedirs(os.path.join(_FOLDER.name, "memo"), mode=0o700, exist_ok=True)
    path = quick.memo_path(_FOLDER.name, "other")
    _at(os.path.relpath(path, _FOLDER.name), data)
    words = ["run", "--", "no-such-program-anywhere"]
    env = {"HOME": _FOLDER.name, "KMI_STATE_DIR": _FOLDER.name, "PATH": "/nowhere"}
    assert quick.try_quick(["current"], {**env, "PATH": ""}) is None
    assert quick.try_quick(words, env) is None
    return data.startswith(quick.HEADER.encode())


def index(data: bytes) -> bool:
    """Reads kimi-cli's index of sessions."""
    real = _at("real.json", b'{"work_dirs": [{"path": "/x"}]}')
    session_index.merge_files(_at("mine.json", data), real, _FOLDER.name)
    with open(real, "rb") as file:
        merged = json.load(file)
    assert merged["work_dirs"][0]["path"] == "/x"
    return len(merged["work_dirs"]) > 1


# What upstreams say, and a person writes.


def answers(data: bytes) -> bool:
    """Reads answers of upstreams."""
    for status in (None, 200, 401, 403, 429, 500):
        verdict = classify(status, data, secret=SECRET)
        assert verdict.text.isprintable()
        assert SECRET[8:30] not in verdict.text
        assert json.dumps(verdict.text).isascii()
    assert evidence(read_error(data).shown, SECRET).isprintable()
    text = data.decode("latin-1")
    wait_s = parse_retry_after(text, NOW)
    assert wait_s is None or 0.0 <= wait_s <= 400 * 86400.0
    taken = False
    for read in (parse_usages, parse_balance):
        try:
            read(data, NOW) if read is parse_usages else parse_balance(data)
            taken = True
        except ValueError as error:
            _tell_nothing(str(error))
    return taken


def patterns(data: bytes) -> bool:
    """Reads ``patterns.toml``."""
    try:
        rules = parse_rules(data.decode("utf-8"))
    except ValueError:
        return False
    body = json.dumps({"error": {"message": "five-hour allowance", "type": "allowance_error"}})
    assert classify(403, body, extra=rules).text.isprintable()
    return bool(rules)


def url(data: bytes) -> bool:
    """Reads base URLs."""
    try:
        found = parse_base_url(data.decode("latin-1"))
    except ValueError:
        return False
    assert parse_base_url(str(found)) == found
    assert str(found).isascii()
    return True


# Seeds.


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1).encode()


CONFIGS = tuple(
    text.encode()
    for text in (
        config_text(SECRET),
        "\ufeff" + config_text(SECRET).replace("\n", "\r\n"),
        f'default_model = "m"\nproviders.p.type = "kimi"\nproviders.p.base_url = "{BASE_URL}"\n'
        f'providers.p.api_key = """{SECRET}"""\n[models.m]\nprovider = "p"\nmodel = "x"\n'
        "max_context_size = 1\nat = 1979-05-27T07:32:00-08:00\n[[tables]]\na.b = [{x = 1}]\n",
        f'default_model = "a/b"\n[models."a/b"]\nprovider = "q:r"\nmodel = "x"\n'
        f'oauth = {{ storage = "file", key = "o" }}\n[providers]\n"q\\u003ar" = {{ type = "kimi", '
        f'base_url = "https://api.moonshot.ai/v1", api_key = \'{SECRET}\' }} # "{SECRET}"\n'
        f'[services.moonshot_search]\nbase_url = "{BASE_URL}"\napi_key = "{SECRET}"\n',
        f'default_provider = "p"\n[providers.p]\ndefault_model = "m"\napi_key = "{SECRET}"\n'
        f'type = "kimi"\nbase_url = "{BASE_URL}"\n[providers.p.env]\nX = "{SECRET}"\n',
        "",
    )
)
_FLAT = {"api_key": SECRET, "label": "work", "priority": 3, "disabled": False, "email": "a@b.c",
         "max_concurrency": 2, "base_url": BASE_URL}  # fmt: skip
_FIXTURES = os.path.join(os.path.dirname(__file__), "fixtures", "state")


def _fixture(name: str) -> bytes:
    with open(os.path.join(_FIXTURES, name), "rb") as file:
        return file.read()


_RUN = {"schema": 1, "ts": "2026-11-20T10:00:00.000Z", "event": "run", "key": "A" * 12}
_REQUEST = {
    **_RUN, "event": "request", "request": "r1", "method": "POST", "path": "/chat/completions",
    "label": "a", "session": "s", "status": 200, "verdict": "", "code": "turn", "eligible": 2,
    "tried": [["b", "rate"]], "waited_s": 0.0, "first_s": 0.5, "total_s": 1.0, "sent": 5,
    "received": 9, "tokens": {"prompt": 1, "cached": 0, "completion": 2},
}  # fmt: skip
_AUDIT = {**_RUN, "event": "audit", "actor": "me", "command": "use", "outcome": "changed",
          "before": "a", "after": "b", "changed": {"x": [1, None]}}  # fmt: skip
_PROXY = {"schema": instance.SCHEMA, "pid": 4, "port": 5, "host": "::", "base_path": "/x",
          "until_runs_end": False}  # fmt: skip
_USAGES = {
    "usage": {"limit": "100", "used": "5", "resetTime": "2027-01-20T10:00:00Z"},
    "limits": [{"window": {"duration": 300, "timeUnit": "TIME_UNIT_MINUTE"},
                "detail": {"limit": "9", "remaining": "8", "resetTime": "2027-01-15T12:00:00Z"}}],
}  # fmt: skip
_MEMO = "\n".join([quick.HEADER, "0 9e9", "signature", "label a", "mode plain", "v X=1", "f 0 /x",
                   "c 0 /y", "tail t", "program /z", ""]).encode()  # fmt: skip

_NAMES = tuple(name.encode() for pair in FIELDS.items() for name in pair)
_TABLES = (*(b"providers", b"models", b"services", b"default_model", b"api_key", b"base_url"),
           *(b"[providers.p]", b"[[x]]", b"\n[a.b]\n", b"oauth", b"moonshot_fetch", b"type"),
           *(b"x = 1\n", b'"kmi"', b"p.q = 1\n", b"{ a = 1 }", SECRET.encode()))  # fmt: skip

TARGETS = {
    target.name: target
    for target in (
        Target("auth-env", auth_file(".env"),
               (f"# mine\nKMI_API_KEY={SECRET}\nexport KMI_KEY_LABEL='work'\nKMI_KEY_PRIORITY=3\n"
                f"KMI_ACCOUNT_EMAIL=a@b.c\nKMI_UPSTREAM_BASE_URL={BASE_URL}\n".encode(),
                b"KMI_API_KEY_COMMAND=\"pass show 'x y'\"\nKMI_KEY_DISABLED=yes\n"),
               (*_NAMES, b"export ", SECRET.encode())),
        Target("auth-toml", auth_file(".toml"),
               ("".join(f"{k} = {json.dumps(v)}\n" for k, v in _FLAT.items()).encode(),
                b"api_key_command = 'op read x'\n", *CONFIGS[:4]), (*_NAMES, *_TABLES)),
        Target("auth-json", auth_file(".json"),
               (_json(_FLAT), _json({"providers": {"p": {"api_key": SECRET}, "q": {}}}),
                _json({"api_key_command": "x"})), (*_NAMES, b'"providers"', SECRET.encode())),
        Target("env-file", env_file,
               ("\n".join(f"{row.name}={row.default}" for row in TABLE).encode(),
                b"export KMI_PROXY_LISTEN='[::1]:80'\nKMI_TIMEZONE=+03:00\n"
                b"KMI_UPSTREAM_ALLOWLIST=\"*.kimi.com\"\n"),
               tuple(row.name.encode() for row in TABLE)),
        Target("binding", project_file,
               (b"schema = 1\n# ours\nkeys = ['work', \"team/a\"]\nstrict = true\n", b"keys=['a']"),
               (b"keys", b"strict", b"schema", b"api_key", SECRET.encode())),
        Target("decisions", decisions,
               (_json({"schema": 1, "reported": {"/p": "x"}, "paths": {
                   "/p/.kmi.toml": {"decision": "allow", "sha256": "0", "keys": ["a"],
                                    "strict": True, "at": "2026-11-20T10:00:00.000Z"},
                   "/q": {"decision": "deny", "at": ""}}}),)),
        Target("config-edit", config_edit, CONFIGS, _TABLES),
        Target("state", state_file, (_fixture("schema-1.json"), _fixture("schema-0.json"),
                                     json.dumps(encode(State())).encode()),
               (b'"hold"', b'"windows"', b'"cooldown"', b'"until"', b'"schema"', b'"5h"')),
        Target("records", records,
               (b"\n".join(json.dumps(line).encode() for line in (_RUN, _REQUEST, _AUDIT)),)),
        Target("proxy-record", proxy_record,
               (_json({**dict.fromkeys(instance.Instance._fields, "x"), **_PROXY}),)),
        Target("memo", memo, (_MEMO,), (b"f ", b"c ", b"v ", b"label ")),
        Target("index", index,
               (_json({"work_dirs": [{"path": "/y", "kaos": "local", "last_session_id": "s"},
                                     {"path": "/x", "last_session_id": "z"}]}),)),
        Target("answers", answers,
               (_json(_USAGES), _json({"data": {"available_balance": 1.5, "cash_balance": -1}}),
                _json({"error": {"message": f"You've reached your usage limit org-1a2b {SECRET}",
                                 "type": "rate_limit", "code": "429"}}),
                b"data: {\"error\": {'message': 'try again in 5 seconds'}}\n\n",
                b"Sun, 06 Nov 1994 08:49:37 GMT", b"<html>502</html>")),
        Target("patterns", patterns,
               (b"[[pattern]]\nverdict = 'quota-5h'\nstatus = [403, 429]\n"
                b"contains = ['five-hour allowance']\ntype = ['allowance_error']\n",)),
        Target("url", url,
               (BASE_URL.encode(), b"http://127.0.0.1:8080/x", b"HTTPS://[::1]:443/%41"),
               (b"%2e", b"@", b"\\", b"xn--", b":", b"//", b"api.kimi.com", b"%00", b"?")),
    )
}  # fmt: skip
