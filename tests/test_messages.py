"""The catalogue: both languages whole, with equal placeholders; nothing unknown, nothing unused."""

from __future__ import annotations

import ast
import re
import string
from pathlib import Path

import pytest

import kmi
from kmi.health import MEANINGS, Status, status_of
from kmi.messages import SUBJECTS, catalogue, message
from kmi.model import ApiKey, Hold, KeyState, Window
from kmi.urls import parse_base_url
from kmi.wording import Words

ROOT = Path(kmi.__file__).parent
MESSAGES = {name: texts for subject in SUBJECTS for name, texts in catalogue(subject).items()}
#: The same in both languages.
SAME = {"run.named-anyway", "run.detail", "status.client"}
SAME |= {"swap.named-anyway", "binding.untold", "plugin.line"}
#: Modules in which every word to people comes from the catalogue.
WORDED = (
    *("running", "background", "refresh", "health_text", "health_rich", "overview"),
    *("commands/health", "commands/status", "commands/current", "commands/rotate"),
    "commands/doctor",
    *("app", "dry_run", "picking", "project", "project_words", "shell_files", "swap"),
    *("commands/run", "commands/swapping", "commands/use", "commands/why"),
    *("proxied", "proxy/lifecycle", "proxy/launch", "proxy/token", "commands/proxy"),
    *("commands/proxy_logs", "commands/config_migrate", "commands/usage"),
    *("commands/plugin", "retrying"),
)
SPEAKING = {"note", "warn", "ask", "detail"}
NOW = 1_800_000_000.0


def placeholders(text: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}


def test_both_languages_say_it() -> None:
    for name, (english, russian) in MESSAGES.items():
        assert english, name
        assert russian, name
        assert placeholders(english) == placeholders(russian), name
        assert english.isascii(), name
        if name not in SAME:
            assert re.search("[а-яё]", russian.lower()), name  # noqa: RUF001 - Russian


def test_every_subject_has_a_module() -> None:
    modules = {path.stem for path in (ROOT / "messages").glob("*.py")} - {"__init__"}
    assert modules == set(SUBJECTS)
    for subject in SUBJECTS:
        assert all(name.startswith(f"{subject}.") for name in catalogue(subject))


def literals() -> set[str]:
    """Every string in the code, and the beginnings of the composed ones."""
    found = set()
    for path in ROOT.rglob("*.py"):
        if "messages" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def test_every_message_is_used_and_every_used_one_is_there() -> None:
    said = literals()
    composed = ("reason.", "unit.window-", "unit.status-", "unit.", "health.do-")
    unused = {n for n in MESSAGES if n not in said and not n.startswith(composed)}
    assert unused == set()
    pattern = re.compile(rf"({'|'.join(SUBJECTS)})\.[a-z0-9-]*[a-z0-9]")
    asked = {text for text in said if pattern.fullmatch(text)}
    assert len(asked) > 60
    files = {"plugin.json", "trace.jsonl", "health.py", "status.py"}
    files |= {"proxy.json", "proxy.lock", "proxy.log", "proxy.token"}
    files |= {"usage.db", "usage.record"}
    assert asked - set(MESSAGES) - files == set()


@pytest.mark.parametrize("module", WORDED)
def test_nothing_is_said_past_the_catalogue(module: str) -> None:
    """Text given to the screen is not written in place; what comes from elsewhere is a name."""
    tree = ast.parse((ROOT / f"{module}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in SPEAKING
            and node.args
        ):
            assert not isinstance(node.args[0], ast.Constant), f"{module}:{node.lineno}"
            if isinstance(node.args[0], ast.JoinedStr):
                parts = [p.value for p in node.args[0].values if isinstance(p, ast.Constant)]
                letters = [p for p in parts if re.search("[A-Za-z]{2}", str(p))]
                # `refresh` warns about labels with words of the settings: those of `app.policy`.
                assert not letters or module == "refresh", f"{module}:{node.lineno}"


URL = parse_base_url("https://api.kimi.com/coding/v1")
KEY = ApiKey("a", "id-a", "sk-kimi-test", URL)
STATES = {
    "healthy": KeyState(windows={"5h": Window(0.2)}),
    "low": KeyState(windows={"5h": Window(0.85)}),
    "unknown": KeyState(),
    "by hand": KeyState(disabled=True),
    "errors": KeyState(traffic=((int(NOW // 60), 20, 5),), windows={"5h": Window(0.2)}),
    "strange verdict": KeyState(hold=Hold("blocked", "of-a-newer-kmi", NOW, NOW + 60.0)),
    **{name: KeyState(hold=Hold("exhausted", name, NOW, NOW + 3700.0)) for name in MEANINGS},
    "for ever": KeyState(hold=Hold("blocked", "banned", NOW, None)),
}


@pytest.mark.parametrize("case", STATES)
def test_reasons_are_the_same_as_in_records(case: str) -> None:
    """`status_of` gives them in English, for JSON and records; people get them from here."""
    status = status_of(KEY, STATES[case], NOW)
    assert Words("en").reason(status, STATES[case], NOW) == status.reason
    russian = Words("ru").reason(status, STATES[case], NOW)
    assert bool(russian) == bool(status.reason)
    assert russian != status.reason or not russian


def test_spans_are_translated() -> None:
    assert Words("ru").span(93784) == "1 д 2 ч"
    assert Words("en").span(93784) == "1 d 2 h"
    assert Words("ru").ago(None, NOW) == "никогда"


def test_a_disabled_key_says_by_whom() -> None:
    assert Words("en").reason(Status("disabled", "x", "auth-file"), KeyState(), NOW) == message(
        "en", "reason.auth-file"
    )
