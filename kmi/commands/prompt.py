"""`kmi prompt`: what prompts show, for tools that have no builtins to read it with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.errors import EXIT_OK, RefusedError
from kmi.files import read_regular
from kmi.shells import shown

if TYPE_CHECKING:
    import argparse

    from kmi.app import App


def configure(parser: argparse.ArgumentParser) -> None:
    """There are no options."""


def run(args: argparse.Namespace, app: App) -> int:
    """Print the label and its mark; nothing when no key is active."""
    path = app.store.path("prompt")
    line = ""
    try:
        line = read_regular(path, limit=4096)[0].decode("ascii", "replace")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise RefusedError(f"can't read {path}: {error.strerror}", "remove it") from None
    inside = app.env.get("KMI_ACTIVE_KEY", "") if app.env.get("KMI_RUN_ID") else ""
    text = shown(line, inside)
    label, _, mark = text.partition(" ")
    if app.screen.json:
        app.screen.document({"text": text, "label": label or None, "mark": mark})
    elif text:
        app.screen.data(text)
    return EXIT_OK
