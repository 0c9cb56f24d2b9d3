"""`kmi run`: pick a key, swap it in, and become the program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi import launcher
from kmi.client_args import read_call
from kmi.clients import check_not_tombstone, default_client, find_program
from kmi.errors import KmiError, UsageError
from kmi.execute import become, passed_env
from kmi.running import Run, RunArgs
from kmi.settings import CLIENTS, STRATEGIES

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from kmi.app import App

OPTIONS_WITH_VALUE = {"-k", "--key", "--strategy", "--client"}
FLAGS = {"--pin", "--adopt", "--dry-run", "--proxy", "--proxy-stay", "--retry"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.usage = "kmi run [OPTIONS] [--] COMMAND [ARGS...]"
    parser.add_argument("-k", "--key", metavar="LABEL", help="run on this key, whatever its state")
    parser.add_argument("--strategy", choices=STRATEGIES, help="how to choose, for this run")
    parser.add_argument("--client", choices=CLIENTS, help="whose config is meant")
    parser.add_argument(
        "--pin", action="store_true", help="keep the key for the whole run, whatever happens"
    )
    parser.add_argument(
        "--adopt",
        action="store_true",
        help="beside an OAuth login: add a provider of kmi's own and make it the default",
    )
    parser.add_argument(
        "--proxy", action="store_true", help="through the local proxy, which is started if need be"
    )
    parser.add_argument(
        "--proxy-stay", action="store_true", help="the same; the proxy stays when its runs end"
    )
    parser.add_argument(
        "--retry",
        action="store_true",
        help="one-shot runs: once more on another key, if the first fails before it answers",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would happen, and stop")


def parse(words: Sequence[str], parser: Callable[[], argparse.ArgumentParser]) -> RunArgs:
    """Read the words: our own options end at ``--`` or at the first other word.

    Plain options are read here, for argparse costs as much as a third of the start; anything else
    is left to it, help and mistakes above all.
    """
    head, tail = split_command(words)
    args = RunArgs(tail[1:] if tail[:1] == ["--"] else tail)
    if not _read_plain(head, args):
        parser().parse_args(head, args)
    if not args.command:
        raise UsageError("no command to run", "for instance: kmi run -- kimi")
    return args


def _read_plain(words: Sequence[str], args: RunArgs) -> bool:
    """Fill the arguments, if every option is spelled in the plainest way; else change nothing."""
    found: dict[str, str | bool] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in FLAGS:
            found[word[2:].replace("-", "_")] = True
        elif word in OPTIONS_WITH_VALUE and rest and not rest[0].startswith("-"):
            name, value = "key" if word == "-k" else word[2:], rest.pop(0)
            if value not in {"strategy": STRATEGIES, "client": CLIENTS}.get(name, (value,)):
                return False
            found[name] = value
        else:
            return False
    for name, given in found.items():
        setattr(args, name, given)
    return True


def split_command(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our own options, and from ``--`` or the first other word on: the command."""
    index = 0
    while index < len(words):
        word = words[index]
        if word == "--" or not word.startswith("-") or word == "-":
            break
        index += 2 if word in OPTIONS_WITH_VALUE else 1
    return list(words[:index]), list(words[index:])


def run(args: RunArgs, app: App) -> int:
    """Become the program; returns only when that is not possible, or on Windows."""
    if launcher.depth(app.env) >= launcher.MAX_DEPTH:
        raise KmiError(
            f"`kmi run` is nested {launcher.MAX_DEPTH} deep: the program on PATH calls kmi again",
            "name the client by its full path",
        )
    app.use_dry_run(args.dry_run)
    args.proxy = args.proxy or args.proxy_stay
    if args.proxy:
        from kmi.proxied import check_args

        check_args(args)
    typed, arguments = args.command[0], args.command[1:]
    program = find_program(typed, app.env, app.wanted_client(args.client))
    if program.client is not None:
        check_not_tombstone(program)
        if read_call(program.client, arguments).hands_off(program.client):
            return become(program.path, args.command, passed_env(app.env))
    client = program.client or default_client(app.env, app.wanted_client(args.client))
    if args.retry:
        from kmi.retrying import check_args as check_retry

        check_retry(args, program, arguments)
    if args.proxy or "KMI_PROXY_RUN" in app.env:
        from kmi import proxied

        told = args.key is not None or args.strategy is not None or args.pin
        if args.proxy or (proxied.inside(app.env) and not told):
            return proxied.run_proxied(app, args, program, client, arguments)
        app.env = proxied.outside(app.env)
    return Run(app, args, program, client, arguments).start()
