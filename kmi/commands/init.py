"""`kmi init SHELL`: the line for a shell's start file. Its plain calls are answered by `kmi.light`.

eval "$(kmi init bash)"                in ~/.bashrc
eval "$(kmi init zsh)"                 in ~/.zshrc
kmi init fish | source                 in ~/.config/fish/config.fish
kmi init pwsh | Out-String | iex       in $PROFILE
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from kmi import shells
from kmi.errors import EXIT_OK, KmiError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from kmi.app import App


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("shell", metavar="SHELL", choices=shells.SHELLS, help="the shell")
    parser.add_argument(
        "--cmd", metavar="NAME", default="kimi", help="name the function NAME instead of `kimi`"
    )
    parser.add_argument("--no-wrap", action="store_true", help="no function")
    parser.add_argument("--no-prompt", action="store_true", help="nothing in the prompt")
    parser.add_argument("--no-completion", action="store_true", help="no completion")


def run(args: argparse.Namespace, app: App) -> int:
    """Print the script."""
    if not shells.valid_name(args.cmd):
        raise UsageError(
            f"{args.cmd[:40]!r} can't be the name of a function in every shell",
            "use letters, digits, _ and -, and no word of the shell's own",
        )
    state_dir = app.settings.state_dir
    if app.env.get("KMI_STATE_DIR") or app.settings.origin("KMI_STATE_DIR") == "default":
        state_dir = ""
    without = [name for name in shells.SECTIONS if getattr(args, f"no_{name}")]
    command = shells.own_command(sys.argv[0], sys.executable)
    put(app, lambda: shells.init_script(args.shell, command, args.cmd, state_dir, without))
    return EXIT_OK


def put(app: App, script: Callable[[], str]) -> None:
    """Print a script, or say that kmi is not installed whole."""
    try:
        text = script()
    except FileNotFoundError as error:
        raise KmiError(f"{error}", "install kmi again", code="installation") from None
    app.screen.flush()
    sys.stdout.buffer.write(os.fsencode(text))
    sys.stdout.buffer.flush()
