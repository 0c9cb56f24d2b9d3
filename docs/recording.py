"""Draw `docs/images/demo.svg`, a recording of kmi at work: `python -m docs.recording`.

The session is real: a shell of `kmi demo --shell` on a terminal of 80 columns, in which commands
are typed and what they print is taken down. Only the time is made up: how long a person types and
reads.
The picture moves by CSS alone, and stands still where its reader wants no motion.
"""

from __future__ import annotations

import os
import pty
import re
import select
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from rich.text import Text

HERE = Path(__file__).parent / "images"
PROMPT = "$ "
COLUMNS, ROWS = 80, 24
#: What is typed, and for how many seconds the reader looks at what comes.
SESSION = (
    ("kimi --print -p 'Say hello.'", 2.5),
    ("kmi keys check", 3.0),
    ("kmi run -- kimi --print -p 'Say hello.'", 3.5),
    ("kmi why", 4.0),
    ("kmi health", 6.0),
)
#: A second of typing, in characters; the pause before each command, in seconds.
TYPED_PER_S, PAUSE_S = 22.0, 0.7
#: A program that says nothing for so long hangs.
LIMIT_S = 30.0
#: The last words of `kmi demo`.
END = "nothing of yours was read or written"
CELL_W, LINE_H, MARGIN, FONT = 8.4, 19, 14, 14
INK, PAPER, DIM = "#d7dae0", "#1b1f27", "#8b93a3"


class Line(NamedTuple):
    """One row of the terminal.

    Attributes:
        at: when it appears, in seconds from the start.
        typed: it is a command, which appears letter by letter.
    """

    at: float
    text: Text
    typed: bool = False


class Recorded(NamedTuple):
    """Every row in its order, and the length in seconds."""

    lines: tuple[Line, ...]
    length: float


def outputs() -> list[str]:
    """What the commands of the session print, colours and all, in their order.

    Raises:
        TimeoutError: one of them hangs.
    """
    fd, terminal = pty.openpty()
    _resize(terminal)
    process = subprocess.Popen(
        [sys.executable, "-m", "kmi", "demo", "--shell"],
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "LANG": "C.UTF-8",
            "SHELL": "/bin/sh",
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "KMI_TIMEZONE": "UTC",
        },
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        _until(fd, "kmi-demo$ ")
        os.write(fd, b"stty -echo; PS1='<next>'\n")
        _until(fd, "<next>")
        said = []
        for command, _ in SESSION:
            os.write(fd, command.encode() + b"\n")
            said.append(_until(fd, "<next>").replace("\r\n", "\n"))
        os.write(fd, b"exit\n")
        _until(fd, END)
        process.wait(LIMIT_S)
    finally:
        process.kill()
        process.wait()
        os.close(fd)
    return [_settled(text) for text in said]


def _resize(fd: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))


def _until(fd: int, mark: str) -> str:
    """What comes before a mark. The last mark counts, for typed lines may hold it."""
    data = b""
    deadline = time.monotonic() + LIMIT_S
    while not data.rstrip(b"\r\n").endswith(mark.encode()):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            raise TimeoutError(f"{mark!r} did not come: {data[-500:]!r}")
        try:
            data += os.read(fd, 65536)
        except OSError:  # the terminal is gone, as its program is
            break
    return data.decode("utf-8", "replace").rpartition(mark)[0]


def _settled(text: str) -> str:
    """What is left on the screen, without what differs each time: ports, and seconds ago."""
    text = re.sub(r"[^\n]*\r(?!\n)", "", text)  # lines of progress, which are written over
    text = re.sub(r"\x1b\[[0-9;?]*[A-HJKhl]", "", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:54321", text)
    return re.sub(r"\b\d+ s ago\b", "0 s ago", text)


def record(said: list[str]) -> Recorded:
    """The rows of a session, with made-up times."""
    from rich.text import Text

    now, rows = 0.0, []
    for (command, reading), output in zip(SESSION, said):
        now += PAUSE_S
        line = Text(PROMPT, style="bold green")
        line.append(command, style="not bold bright_white")
        rows.append(Line(now, line, typed=True))
        now += len(command) / TYPED_PER_S + 0.4
        for text in Text.from_ansi(output.rstrip("\n")).split("\n") if output else ():
            for start in range(0, max(len(text), 1), COLUMNS):
                rows.append(Line(now, text[start : start + COLUMNS]))
        now += reading
    return Recorded(tuple(rows), now)


def svg(recorded: Recorded) -> str:
    """The picture: rows that appear, and a screen that moves up when it is full."""
    width = round(COLUMNS * CELL_W + 2 * MARGIN)
    height = ROWS * LINE_H + 2 * MARGIN + 24
    total = recorded.length
    styles: list[str] = []
    body: list[str] = []
    for index, line in enumerate(recorded.lines):
        y = index * LINE_H + FONT
        cells = _cells(line.text, y)
        if line.typed:
            count = len(line.text) - len(PROMPT)
            begin, end = line.at, line.at + count / TYPED_PER_S
            styles.append(_typing(index, begin, end, total, count, len(line.text)))
            body.append(f'<g class="r t{index}">{cells}</g>')
        else:
            body.append(f'<g class="r" style="animation-name:a{_ms(line.at)}">{cells}</g>')
    for at in sorted({line.at for line in recorded.lines if not line.typed}):
        share = _share(at, total)
        styles.append(f"@keyframes a{_ms(at)}{{0%{{opacity:0}}{share},100%{{opacity:1}}}}")
    styles.append(_scrolling(recorded))
    still = f"translate(0,{-LINE_H * max(0, len(recorded.lines) - ROWS)}px)"
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" \
height="{height}" role="img" aria-labelledby="t d">
<title id="t">kmi at work</title>
<desc id="d">{escape(transcript(recorded))}</desc>
<style>
text{{font:{FONT}px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;\
white-space:pre}}
.r{{animation:{total:.2f}s step-end infinite}}
.s{{animation:scroll {total:.2f}s step-end infinite}}
{chr(10).join(styles)}
@media (prefers-reduced-motion:reduce){{.r,.s{{animation:none!important}}.s{{transform:{still}}}}}
</style>
<rect width="{width}" height="{height}" rx="9" fill="{PAPER}" stroke="#3a4150"/>
<circle cx="20" cy="17" r="5" fill="#e0675f"/><circle cx="37" cy="17" r="5" fill="#dfb04a"/>\
<circle cx="54" cy="17" r="5" fill="#6bbf59"/>
<svg x="{MARGIN}" y="34" width="{width - MARGIN}" height="{ROWS * LINE_H + 4}"><g class="s">
{chr(10).join(body)}
</g></svg>
</svg>
"""


def transcript(recorded: Recorded) -> str:
    """The rows as plain text."""
    return "\n".join(line.text.plain.rstrip() for line in recorded.lines)


def _ms(at: float) -> str:
    return str(round(at * 1000))


def _share(at: float, total: float) -> str:
    return f"{100 * at / total:.3f}%"


def _typing(index: int, begin: float, end: float, total: float, steps: int, cells: int) -> str:
    """A clip that gives way letter by letter; nothing before, all behind."""
    edge = 100 * len(PROMPT) / cells
    hidden, open_ = (
        f"clip-path:inset(-4px {100 - edge:.2f}% -4px 0)",
        "clip-path:inset(-4px 0 -4px 0)",
    )
    start, stop = _share(begin, total), _share(end, total)
    prompt = _share(begin - PAUSE_S, total)
    before = "" if begin <= PAUSE_S else "0%{opacity:0;animation-timing-function:step-end}"
    return (
        f".t{index}{{animation-name:t{index};animation-timing-function:steps({steps})}}"
        f"@keyframes t{index}{{{before}"
        f"{prompt}{{opacity:1;{hidden};animation-timing-function:step-end}}"
        f"{start}{{opacity:1;{hidden}}}{stop},100%{{opacity:1;{open_}}}}}"
    )


def _scrolling(recorded: Recorded) -> str:
    """How far the screen is moved up, from each moment on."""
    moved, frames = 0, ["0%{transform:none}"]
    times = sorted(
        {(max(0.0, row.at - PAUSE_S) if row.typed else row.at) for row in recorded.lines}
    )
    for at in times:
        there = sum(
            1 for row in recorded.lines if (row.at - PAUSE_S if row.typed else row.at) <= at
        )
        if there - ROWS > moved:
            moved = there - ROWS
            share = _share(at, recorded.length)
            frames.append(f"{share}{{transform:translate(0,{-LINE_H * moved}px)}}")
    frames.append(f"100%{{transform:translate(0,{-LINE_H * moved}px)}}")
    return f"@keyframes scroll{{{''.join(frames)}}}"


def _cells(text: Text, y: int) -> str:
    """The words of a row, each run of one style at its column."""
    found = []
    for start, end, attributes in _runs(text):
        words = text.plain[start:end]
        if words.strip():
            x, length = start * CELL_W, (end - start) * CELL_W
            found.append(
                f'<text x="{x:.1f}" y="{y}" textLength="{length:.1f}"{attributes}>'
                f"{escape(words)}</text>"
            )
    return "".join(found)


def _runs(text: Text) -> list[tuple[int, int, str]]:
    """Stretches of one look: begin, end, and its attributes in the picture."""
    looks = [_look(text, at) for at in range(len(text.plain))]
    found: list[tuple[int, int, str]] = []
    for at, look in enumerate(looks):
        if found and found[-1][2] == look:
            found[-1] = (found[-1][0], at + 1, look)
        else:
            found.append((at, at + 1, look))
    return found


def _look(text: Text, at: int) -> str:
    from rich.style import Style
    from rich.terminal_theme import MONOKAI

    style = Style.parse(str(text.style)) if text.style else Style()
    for span in text.spans:
        if span.start <= at < span.end:
            style += span.style if isinstance(span.style, Style) else Style.parse(span.style)
    fill = INK
    if style.color is not None and not style.color.is_default:
        fill = style.color.get_truecolor(MONOKAI).hex
    elif style.dim:
        fill = DIM
    bold = ' font-weight="bold"' if style.bold else ""
    return f' fill="{fill}"{bold}'


def main() -> None:
    """Write the picture."""
    HERE.mkdir(exist_ok=True)
    (HERE / "demo.svg").write_text(svg(record(outputs())), encoding="utf-8")


if __name__ == "__main__":
    main()
