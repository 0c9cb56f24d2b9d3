"""Every exit code of kmi, and the errors that carry them.

An error says what happened, where, and how to put it right, in one lower-case line. It never
holds a secret: whoever raises one passes labels, paths and numbers.
"""

from __future__ import annotations

# sysexits(3) where it has a fitting code; 125 to 127 as env(1) and timeout(1) use them.
EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 69
EXIT_BUG = 70
EXIT_TRY_LATER = 75
EXIT_REFUSED = 77
EXIT_CONFIG = 78
EXIT_RUN_FAILED = 125
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127
EXIT_INTERRUPTED = 130

EXIT_CODES = {
    EXIT_OK: "ok",
    EXIT_FAILURE: "an expected failure, such as a check that found something",
    EXIT_USAGE: "the command line is wrong",
    EXIT_UNAVAILABLE: "upstream could not be reached",
    EXIT_BUG: "a bug in kmi; a report without secrets is printed",
    EXIT_TRY_LATER: "try again later: a lock timed out, or every key is out",
    EXIT_REFUSED: "permission refused",
    EXIT_CONFIG: "a setting, an auth file or a client config is wrong",
    EXIT_RUN_FAILED: "`kmi run`: kmi failed before the client was started",
    EXIT_NOT_EXECUTABLE: "`kmi run`: the program was found but can't be executed",
    EXIT_NOT_FOUND: "`kmi run`: the program was not found",
    EXIT_INTERRUPTED: "interrupted by Ctrl-C",
}


class KmiError(Exception):
    """An expected failure.

    Attributes:
        message: what happened and where (``path:line``), one line, no secret.
        fix: what to do about it, or None.
        code: a stable word for ``--json``.
        exit_code: the status of the process, outside of `kmi run`.
    """

    code = "failed"
    exit_code = EXIT_FAILURE

    def __init__(self, message: str, fix: str | None = None, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        if code is not None:
            self.code = code

    def run_exit_code(self) -> int:
        """The status that `kmi run` ends with, where the client's own codes need room."""
        return EXIT_RUN_FAILED


class UsageError(KmiError):
    """The command line is wrong."""

    code = "usage"
    exit_code = EXIT_USAGE


class ConfigError(KmiError):
    """A setting, an auth file, a state file or a client config is wrong."""

    code = "config"
    exit_code = EXIT_CONFIG


class RefusedError(KmiError):
    """kmi may not read or write something, or declines to for safety."""

    code = "refused"
    exit_code = EXIT_REFUSED


class TryLaterError(KmiError):
    """A lock timed out, or every key is out for now."""

    code = "try-later"
    exit_code = EXIT_TRY_LATER


class UnavailableError(KmiError):
    """Upstream could not be reached."""

    code = "unavailable"
    exit_code = EXIT_UNAVAILABLE


class NotFoundError(KmiError):
    """The program to run does not exist on PATH."""

    code = "not-found"
    exit_code = EXIT_NOT_FOUND

    def run_exit_code(self) -> int:
        """127, as a shell would end."""
        return EXIT_NOT_FOUND


class NotExecutableError(KmiError):
    """The program to run was found but can't be executed."""

    code = "not-executable"
    exit_code = EXIT_NOT_EXECUTABLE

    def run_exit_code(self) -> int:
        """126, as a shell would end."""
        return EXIT_NOT_EXECUTABLE
