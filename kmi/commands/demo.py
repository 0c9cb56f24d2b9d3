"""`kmi demo`: the main job on an embedded fake API, in a throw-away home."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from kmi.app import App


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--stand-in", action="store_true", help="use the shipped stand-in, not the `kimi` on PATH"
    )
    parser.add_argument(
        "--shell",
        action="store_true",
        dest="try_out",
        help="start $SHELL in the throw-away home, to try kmi by hand",
    )


def run(args: argparse.Namespace, app: App) -> int:
    """Show it; nothing of the user's is read or written."""
    from kmi.demo.show import show, try_out

    if args.try_out:
        return try_out(app.env, app.screen)
    return show(app.env, app.screen, stand_in=args.stand_in)
