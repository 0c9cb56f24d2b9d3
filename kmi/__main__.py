# PYTHON_ARGCOMPLETE_OK
"""The entry point: the quick way of `kmi run` when it fits, else the whole command line."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

if not __package__:
    # `python /path/to/kmi`, which the scripts of `kmi init` say in a checkout.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run kmi.

    Args:
        argv: the arguments without the program's name; those of the process by default.

    Returns:
        the exit code. `kmi run` does not return when it succeeds: it becomes the program.
    """
    if sys.stdin is None or sys.stdout is None or sys.stderr is None:
        _open_closed()
    from kmi.quick import try_quick

    words = list(sys.argv[1:] if argv is None else argv)
    code = try_quick(words, os.environ)
    if code is not None:
        return code
    if "_ARGCOMPLETE" in os.environ:
        from kmi.argcompleting import complete

        complete()
    if words[:1] == ["hook"]:
        from kmi.hooks.events import try_hook

        code = try_hook(words[1:], os.environ)
        if code is not None:
            return code
    if words and words[0] in ("init", "prompt", "completion", "--version", "-V"):
        from kmi.light import try_light

        code = try_light(words, os.environ)
        if code is not None:
            return code
    import gc

    # What is loaded now stays: to look through it for garbage takes a twentieth of a short command.
    gc.disable()
    from kmi.cli import main as whole

    return whole(words)


def _open_closed() -> None:
    """Put the null device where a standard descriptor is closed (`kmi … <&-`).

    Python has None there. The numbers are taken with it, the lowest first, so that no file of
    kmi's gets one; it is not inherited, so a program that is started finds it closed, as it was.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            null = open(os.devnull, mode, encoding="utf-8", errors="replace")  # noqa: SIM115 - stays
            setattr(sys, name, null)


if __name__ == "__main__":
    sys.exit(main())
