"""Which kmi this is: its version, where it runs from, and on which Python."""

from __future__ import annotations

import os
import sys

from kmi import __version__

#: The directory that holds the package: a checkout, or some site-packages.
PARENT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
#: How much of an abbreviated commit is shown.
_SHORT = 10


def version_line(argv0: str) -> str:
    """What `kmi --version` prints.

    Args:
        argv0: ``sys.argv[0]``, which tells a checkout from an editable installation of it.
    """
    python = ".".join(map(str, sys.version_info[:3]))
    return f"kmi {__version__} ({origin(PARENT, argv0)}, Python {python})"


def origin(parent: str, argv0: str) -> str:
    """Where a package runs from, in words.

    Args:
        parent: the directory that the package is in.
        argv0: ``sys.argv[0]`` of the process.
    """
    if not os.path.isfile(os.path.join(parent, "pyproject.toml")):
        return f"installed in {parent}"
    started = os.path.basename(argv0) == "__main__.py" or os.path.isdir(argv0)
    kind = "checkout" if started else "editable installation of the checkout"
    at = commit(parent)
    return f"{kind} {parent}" + (f" at commit {at}" if at else "")


def commit(checkout: str) -> str:
    """The commit that is checked out, abbreviated; empty where there is none.

    Read from the files of git, without git: whether files differ from it is not looked at.
    """
    try:
        return _commit(checkout)[:_SHORT]
    except (OSError, ValueError):
        return ""


def _commit(checkout: str) -> str:
    folder = os.path.join(checkout, ".git")
    if not os.path.isdir(folder):  # of a worktree, or of a submodule
        folder = os.path.join(checkout, _text(folder).partition("gitdir: ")[2])
    head = _text(os.path.join(folder, "HEAD"))
    common = folder
    if os.path.exists(os.path.join(folder, "commondir")):
        common = os.path.join(folder, _text(os.path.join(folder, "commondir")))
    kind, _, name = head.partition(" ")
    if kind != "ref:":
        return _digits(head)
    for place in (folder, common):
        if os.path.isfile(os.path.join(place, name)):
            return _digits(_text(os.path.join(place, name)))
    for line in _text(os.path.join(common, "packed-refs")).split("\n"):
        at, _, packed = line.partition(" ")
        if packed == name:
            return _digits(at)
    return ""


def _digits(text: str) -> str:
    """A commit's name, and nothing else that a file may hold.

    Raises:
        ValueError: it is none.
    """
    if not set(text) <= set("0123456789abcdef"):
        raise ValueError(text)
    return text


def _text(path: str) -> str:
    """A small file's text, without the end of its last line."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        return os.read(fd, 1 << 20).decode("ascii").strip()
    finally:
        os.close(fd)
