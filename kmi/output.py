"""Words for people on stderr, data on stdout, and nothing that could harm a terminal.

Everything that comes from files or from upstream goes through `safe`. Secrets should never get
here: keys are shown by label, and by the last four characters where they have to be told apart.
What does get here, typed by mistake for instance, the one `Redactor` takes out.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from typing import TYPE_CHECKING, Any, TextIO

from kmi.masking import mask_data, mask_values
from kmi.redaction import Redactor, secrets_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA = 1
_BIDI = {"\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069"}
_BIDI |= {"\u200e", "\u200f", "\u061c"}


def safe(text: str) -> str:
    r"""Text with everything that a terminal could obey, or that could fake a line, escaped.

    Whole keys are cut out of it, too, for those who print with more than a `Screen`.

    >>> print(safe("a\x1b]0;b\n"))
    a\x1b]0;b\x0a
    """
    text = mask_data(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if _harmful(c) else c for c in text)


def _harmful(char: str) -> bool:
    return char in _BIDI or unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def safe_json(value: Any) -> str:
    """One JSON document; control characters and non-ASCII text are escaped."""
    import json

    return json.dumps(value, indent=2, ensure_ascii=True)


class Screen:
    """Where a command speaks.

    Args:
        json: print one JSON document instead of text.
        quiet: no notes; warnings and errors are still told.
        verbose: details too.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        *,
        json: bool = False,
        plain: bool = False,
        no_color: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        out: TextIO | None = None,
        err: TextIO | None = None,
    ) -> None:
        self.json = json
        self.plain = plain
        self.quiet = quiet
        self.verbose = verbose
        self.warned = False
        self.warning_word = "warning"
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        forced = bool(env.get("FORCE_COLOR"))
        dumb = env.get("TERM") == "dumb" or bool(env.get("NO_COLOR"))
        off = plain or no_color or dumb
        self._env = env
        self.redactor = Redactor(lambda: secrets_of(env))
        self._forced = forced
        self.color = not off and (forced or self._out.isatty())

    @property
    def boxes(self) -> bool:
        """Whether more than ASCII lines may be drawn."""
        if self.plain or self._env.get("TERM") == "dumb":
            return False
        return self._forced or self._out.isatty()

    @property
    def out(self) -> TextIO:
        """Where data goes, for those who draw more than lines."""
        return self._out

    def width(self) -> int:
        """The columns of text: those of the terminal, within reason."""
        given = self._env.get("COLUMNS", "")
        columns = int(given) if given.isascii() and given.isdigit() and len(given) < 6 else 0
        if not columns:
            try:
                # Not by shutil, which loads every kind of compression.
                columns = os.get_terminal_size(1).columns or 80
            except (OSError, ValueError):
                columns = 80
        return min(max(columns, 40), 100)

    def data(self, line: str = "") -> None:
        """A line of what was asked for."""
        print(self._encodable(safe(self.redactor.data(line)), self._out), file=self._out)

    def document(self, value: Mapping[str, Any]) -> None:
        """The one JSON document."""
        shown = mask_values(value, self.redactor.data)
        print(safe_json({"schema": SCHEMA, **shown}), file=self._out)

    def planned(self, lines: Sequence[str] = (), **fields: Any) -> None:
        """What a dry run would do: a diff, or one document that holds it."""
        if self.json:
            self.document({"dry_run": True, **fields, "diff": list(lines)})
            return
        for line in lines:
            self.data(line)

    def page(self, text: str) -> None:
        """Several lines of kmi's own."""
        text = self.redactor.data(text.rstrip("\n"))
        print(self._encodable(text, self._out), file=self._out)

    def flush(self) -> None:
        """Let everything that was said reach the terminal, before another process speaks."""
        self._out.flush()
        self._err.flush()

    def note(self, text: str) -> None:
        """Something worth knowing."""
        if not self.quiet:
            self._say(text)

    def detail(self, text: str) -> None:
        """Something for those who asked with ``-v``."""
        if self.verbose:
            self._say(text)

    def warn(self, text: str) -> None:
        """Something that should be put right; told also with ``-q``."""
        self.warned = True
        self._say(f"{self.warning_word}: {text}")

    def ask(self, question: str) -> bool:
        """Ask a yes-or-no question on the terminal; no is the default."""
        for line in question.splitlines():
            self._say(line)
        print("kmi: [y/N] ", end="", file=self._err, flush=True)
        try:
            return sys.stdin.readline().strip().lower() in {"y", "yes"}
        except (OSError, UnicodeDecodeError):
            return False

    def error(self, message: str, fix: str | None) -> None:
        """Why the command failed, and what to do."""
        self._say(message + (f" ({fix})" if fix else ""))

    def _say(self, text: str) -> None:
        # A person may have typed a key where it does not belong; it is not repeated.
        shown = safe(self.redactor.sentence(text))
        print(self._encodable(f"kmi: {shown}", self._err), file=self._err)

    def _encodable(self, text: str, stream: TextIO) -> str:
        encoding = "ascii" if self.plain else (stream.encoding or "utf-8")
        if self.plain:
            text = text.replace("…", "...").replace("→", "->").replace("·", "-")
        return text.encode(encoding, "backslashreplace").decode(encoding)

    def progress(self, done: int, total: int, what: str) -> None:
        """A counter on the terminal that wipes itself out at the end; silent elsewhere."""
        if self.quiet or total < 2 or not self._err.isatty():
            return
        text = "\r\x1b[K" if done == total else f"\rkmi: {what}, {done} of {total}"
        print(text, end="", file=self._err, flush=True)

    def style(self, text: str, code: str) -> str:
        """Text with an SGR code around it, where colour is on. Apply after `safe`."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.color else text

    def table(self, rows: Sequence[Sequence[str]], *, header: Sequence[str] | None = None) -> None:
        """Columns, as wide as their widest cell."""
        data = self.redactor.data
        lines = ([header] if header else []) + list(rows)
        # As they are written: in plain text an ellipsis is three characters wide.
        cells = [[self._encodable(safe(data(cell)), self._out) for cell in row] for row in lines]
        if not cells:
            return
        widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
        for number, row in enumerate(cells):
            padded = [cell.ljust(width) for cell, width in zip(row, widths)]
            line = "  ".join(padded).rstrip()
            print(self.style(line, "1") if header and number == 0 else line, file=self._out)
