"""The command line: the table of commands, dispatch, and the one error boundary.

A command is a module in `kmi.commands` with ``configure(parser)`` and ``run(args, app) -> int``;
it is imported only when it is called. Global options may stand before or after the command's name.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from kmi.errors import (
    EXIT_BUG,
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_RUN_FAILED,
    KmiError,
    UsageError,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from kmi.app import App
    from kmi.output import Screen


class Command(NamedTuple):
    """One row of the table.

    Attributes:
        changes: whether it may change state, so that a refusal is recorded in the audit.
    """

    module: str
    help: str
    changes: bool = False


COMMANDS = {
    "run": Command("run", "run a program on a key that works", changes=True),
    "kimi": Command("kimi", "the same as `kmi run -- kimi`", changes=True),
    "use": Command("use", "swap a key in now", changes=True),
    "rotate": Command("rotate", "swap the best key in now", changes=True),
    "current": Command("current", "the active key"),
    "status": Command("status", "the whole situation"),
    "health": Command("health", "every key: status, quotas, time to reset, what to do"),
    "why": Command("why", "why each key would or would not be picked now"),
    "bind": Command("bind", "bind this directory to keys: write .kmi.toml", changes=True),
    "allow": Command("allow", "let a project's .kmi.toml count", changes=True),
    "deny": Command("deny", "let a project's .kmi.toml not count", changes=True),
    "keys": Command("keys", "list, add, remove, rename, enable, disable, check keys", changes=True),
    "usage": Command("usage", "tokens by key, day, project, model or session: who paid"),
    "trace": Command("trace", "which key served which request of the proxy, and how evenly"),
    "proxy": Command("proxy", "the local proxy: start, stop, restart, status", changes=True),
    "proxy-stop": Command("proxy_stop", "the same as `kmi proxy stop`", changes=True),
    "proxy-restart": Command("proxy_restart", "the same as `kmi proxy restart`", changes=True),
    "proxy-logs": Command("proxy_logs", "what the proxy says, as it comes"),
    "service": Command("service", "the proxy as a service of the user's", changes=True),
    "plugin": Command("plugin", "kmi's hooks and status line in the clients", changes=True),
    "hook": Command("hook", "what clients call when a session begins, ends or fails"),
    "init": Command("init", "the line for a shell's start file: prompt, TAB, and `kimi`"),
    "completion": Command("completion", "the completion script of a shell"),
    "prompt": Command("prompt", "what prompts show of the active key"),
    "config": Command("config", "settings: show, validate, path, migrate", changes=True),
    "doctor": Command("doctor", "check everything, each finding with its cure", changes=True),
    "undo": Command("undo", "take the last swap back", changes=True),
    "backups": Command("backups", "the backups of client configs"),
    "audit": Command("audit", "who changed what, when, and what was refused"),
    "clean": Command("clean", "remove old records, logs and backups of kmi's own", changes=True),
    "simulate": Command("simulate", "what each strategy would make of keys and a workload"),
    "demo": Command("demo", "the main job in a throw-away home, on a fake API"),
}

#: Flags of the first kmi, which had no subcommands.
LEGACY_FLAGS = {
    "--rotate": ["rotate"],
    "--auto_rotate": ["rotate", "auto"],
    "--auto-rotate": ["rotate", "auto"],
    "--all": ["health"],
    "--health": ["health"],
    "--current": ["current"],
    "--status": ["status"],
    "--trace": ["trace"],
}

USAGE = """\
usage: kmi run [-k LABEL] [--] COMMAND ARGS...
       kmi kimi ARGS...
       kmi COMMAND [OPTIONS]

examples:
  kmi keys add work          store a key (it is asked for, never an argument)
  kmi run -- kimi            start Kimi on a key that works
  kmi use home               swap a key in now
  kmi why                    which key would be picked, and why

commands:
{commands}
options, before or after the command:
  --json                     one JSON document on stdout
  --plain                    ASCII only, no colour
  --no-color                 no colour
  -q, --quiet                no notes; warnings and errors are still told
  -v, --verbose              details
  -V, --version              the version, and where it runs from
  -h, --help                 this page; `kmi COMMAND --help` for a command
"""


#: What a flag of the environment may say for yes; the screen is there before the settings are.
TRUE_WORDS = {"1", "true", "yes", "on"}
GLOBAL_FLAGS = {
    "--json": "json",
    "--plain": "plain",
    "--no-color": "no_color",
    "-q": "quiet",
    "--quiet": "quiet",
    "-v": "verbose",
    "--verbose": "verbose",
}


class GlobalOptions:
    """The options that every command takes, wherever they stand."""

    def __init__(self) -> None:
        self.json = False
        self.plain = False
        self.no_color = False
        self.quiet = False
        self.verbose = False

    def take(self, words: Sequence[str]) -> list[str]:
        """Note the global options among words, and give back the others."""
        rest: list[str] = []
        for index, word in enumerate(words):
            if word == "--":
                return rest + list(words[index:])
            if word in GLOBAL_FLAGS:
                setattr(self, GLOBAL_FLAGS[word], True)
            else:
                rest.append(word)
        return rest


def main(argv: Sequence[str] | None = None) -> int:
    """Run kmi.

    Args:
        argv: the arguments without the program's name; those of the process by default.

    Returns:
        the exit code. `kmi run` does not return when it succeeds: it becomes the program.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _main(words)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # else it fails when the interpreter ends
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:
        _drop_output()
        if isinstance(error, BrokenPipeError):
            return EXIT_FAILURE  # the reader went away (`kmi keys | head -1`)
        return _report(_system_error(error), _screen(_split(words)[1]), running=False)


def _drop_output() -> None:
    """Let what could not be written go nowhere: the interpreter must not complain either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _system_error(error: OSError) -> KmiError:
    where = f": {error.filename}" if error.filename else ""
    return KmiError(f"the system refused: {error.strerror or error}{where}", code="system")


def _main(words: list[str]) -> int:
    name, options, rest = _split(words)
    screen = _screen(options)
    if name is None:
        if "--version" in rest or "-V" in rest:
            from kmi.origin import version_line

            screen.data(version_line(sys.argv[0]))
            return EXIT_OK
        if rest and rest[0] not in {"-h", "--help"}:
            return _report(
                UsageError(f"unknown option {rest[0][:40]}", "see `kmi --help`"), screen, False
            )
        screen.page(usage())
        return EXIT_OK
    return _dispatch(name, rest, screen, options)


def _split(words: Sequence[str]) -> tuple[str | None, GlobalOptions, list[str]]:
    """The command's name, the global options, and the command's own words."""
    options = GlobalOptions()
    before: list[str] = []
    for index, word in enumerate(words):
        if word in LEGACY_FLAGS:
            name, *meant = LEGACY_FLAGS[word]
            return name, options, options.take([*meant, *before, *words[index + 1 :]])
        if word.startswith("-"):
            before.append(word)
            continue
        rest = list(words[index + 1 :])
        before = options.take(before)
        if before:
            return None, options, before
        if word == "help":
            # `kmi help keys add` is `kmi keys add --help`; what `kimi --help` says is the client's.
            page = ["run" if part == "kimi" else part for part in options.take(rest)]
            return (page[0], options, [*page[1:], "--help"]) if page else (None, options, [])
        if word == "run":
            from kmi.commands.run import split_command

            head, tail = split_command(rest)
            return word, options, options.take(head) + tail
        if word == "kimi":
            return word, options, rest
        return word, options, options.take(rest)
    return None, options, options.take(before)


def _screen(options: GlobalOptions) -> Screen:
    from kmi.output import Screen

    env = os.environ
    return Screen(
        env,
        json=options.json,
        plain=options.plain or env.get("KMI_PLAIN", "").lower() in TRUE_WORDS,
        no_color=options.no_color or env.get("KMI_NO_COLOR", "").lower() in TRUE_WORDS,
        quiet=options.quiet,
        verbose=options.verbose,
    )


def _dispatch(name: str, rest: list[str], screen: Screen, options: GlobalOptions) -> int:
    from kmi.app import App

    app: App | None = None
    running = name in {"run", "kimi"}
    try:
        if name not in COMMANDS:
            from kmi.settings import nearest

            hint = nearest(name, list(COMMANDS)) or "see `kmi --help`"
            raise UsageError(f"unknown command {name[:40]!r}", hint)
        app = App(os.environ, screen, name)
        app.changes = COMMANDS[name].changes
        command = _load(COMMANDS[name].module)
        own = getattr(command, "parse", None)
        if own is not None and own.__module__ == command.__name__:  # type: ignore[attr-defined]  # a module, known by its name only
            # It reads plain words itself: argparse costs 5 ms.
            args = own(rest, lambda: build_parser(name))
        else:
            args = build_parser(name).parse_args(rest)
        gc.freeze()
        gc.enable()  # `__main__` put it off while modules were loaded
        code = int(command.run(args, app))  # type: ignore[attr-defined]  # the same
        app.finish()
        return code
    except KmiError as error:
        if not isinstance(error, UsageError):
            _record_failure(app, error)
        return _report(error, screen, running, app)
    except (KeyboardInterrupt, BrokenPipeError):
        raise
    except OSError as error:
        _record_failure(app, _system_error(error))
        code = _report(_system_error(error), screen, running, app)
        try:
            screen.flush()
        except OSError:
            _drop_output()  # it was stdout: `main` need not tell it again
        return code
    except Exception as error:  # noqa: BLE001 - the boundary: a bug becomes a report
        _record_failure(app, KmiError("a bug", code="bug"))
        screen.error(*_bug_report(error))
        return EXIT_RUN_FAILED if running else EXIT_BUG


def _record_failure(app: App | None, error: KmiError) -> None:
    """Let the audit tell that a command which changes state failed; that it can't stops nothing."""
    if app is None or not app.changes:
        return
    from contextlib import suppress

    from kmi.auditing import audit_denied

    with suppress(Exception):
        audit_denied(app, error)


def report_run_failure(error: KmiError) -> int:
    """Tell why `kmi run` failed on its quick way."""
    return _report(error, _screen(GlobalOptions()), running=True)


def _report(error: KmiError, screen: Screen, running: bool, app: App | None = None) -> int:
    """Tell an error: to programs in English, to people in their language."""
    from kmi.app import App

    if screen.json and not running:
        tell = screen.redactor.sentence
        fix = None if error.fix is None else tell(error.fix)
        message = tell(error.message)
        screen.document({"error": {"code": error.code, "message": message, "fix": fix}})
    words = (app or App(os.environ, screen, "")).words
    screen.error(words.sentence(error.message), words.sentence(error.fix or ""))
    return error.run_exit_code() if running else error.exit_code


def _bug_report(error: Exception) -> tuple[str, str]:
    """Where it happened, without any value: a message or a local could hold a secret."""
    import traceback

    from kmi import __version__

    frames = [
        f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen")
    ]
    python = ".".join(map(str, sys.version_info[:3]))
    return (
        f"a bug: {type(error).__name__} at {' > '.join(frames[-6:])} "
        f"(kmi {__version__}, Python {python}, {sys.platform})",
        "please report this line; it holds no secret",
    )


def _load(module: str) -> object:
    from importlib import import_module

    return import_module(f"kmi.commands.{module}")


def build_parser(name: str) -> argparse.ArgumentParser:
    """The parser of one command; also what completions and the reference are made from."""
    import argparse

    class Formatter(argparse.RawDescriptionHelpFormatter):
        """The usual one, which would import `shutil` for the width at every start."""

        def __init__(self, prog: str, **options: Any) -> None:
            options["width"] = options.get("width") or _columns() - 2
            super().__init__(prog, **options)

    class Parser(argparse.ArgumentParser):
        """A parser whose mistakes are one line, like every other error; also those of actions."""

        def __init__(self, **options: Any) -> None:
            options.setdefault("formatter_class", Formatter)
            super().__init__(**options)

        def error(self, message: str) -> None:  # type: ignore[override]  # it raises, and so ends too
            from kmi.masking import looks_like_key

            hint = f"see `{self.prog} --help`"
            if looks_like_key(message):
                hint = "a key is no argument: `kmi keys add LABEL` asks for it, or reads stdin"
            raise UsageError(message, hint)

    command = COMMANDS[name]
    parser = Parser(
        prog=f"kmi {name}",
        description=command.help[0].upper() + command.help[1:] + ".",
        allow_abbrev=False,
    )
    _load(command.module).configure(parser)  # type: ignore[attr-defined]  # a module
    return parser


def _columns() -> int:
    """The width of help pages."""
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and int(given) > 0:
        return int(given)
    try:
        return os.get_terminal_size(1).columns or 80
    except (OSError, ValueError):
        return 80


def usage() -> str:
    """The page of `kmi --help`."""
    width = max(map(len, COMMANDS))
    lines = "".join(f"  {name:<{width}} {command.help}\n" for name, command in COMMANDS.items())
    return USAGE.format(commands=lines)
