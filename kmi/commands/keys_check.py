"""`kmi keys check`: ask upstream whether keys work, and remember what it said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.errors import EXIT_OK

if TYPE_CHECKING:
    import argparse

    from kmi.app import App


def check(args: argparse.Namespace, app: App) -> int:
    """Ask."""
    return EXIT_OK
