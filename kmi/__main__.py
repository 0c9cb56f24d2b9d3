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


if __name__ == "__main__":
    sys.exit(main())
