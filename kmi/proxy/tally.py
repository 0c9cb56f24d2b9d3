"""What the proxy counts: for `trace.jsonl`, the metrics and the page.

The event loop calls `Tally.note` once per request and reads the counts; the thread that watches the
disk calls `Tally.drain`. They share only a deque, whose ends are safe to use from two threads.
Everything here is bounded, however many requests, keys and strange words come.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING

from kmi.masking import mask_data
from kmi.timezones import utc_text

if TYPE_CHECKING:
    from kmi.proxy.records import Served

#: Lines that wait for the disk; then the oldest are dropped, and counted. At about 500 bytes each
#: this is 10 MB, which the proxy can afford only while a disk hangs.
MAX_WAITING = 20_000
#: Requests that the page shows.
RECENT = 200
#: Combinations of key, status and verdict that are counted apart; labels that are listed apart.
MAX_CELLS, MAX_LABELS = 10_000, 1_000
#: What further ones are counted under. No label looks like this.
OTHER = "(other)"
#: Upper ends of the buckets of latencies, in seconds: a local answer takes milliseconds, Kimi
#: thinks for seconds, and a long stream lasts minutes.
BUCKETS_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
#: The picture of who served what: so many steps of so many seconds.
STEP_S, STEPS = 10, 60
#: Requests that began so long before the present step are those of a clock that was set back.
_BACK_S = 86400.0


class Cell:
    """The requests of one key that ended alike."""

    __slots__ = ("cached", "completion", "prompt", "received", "requests", "sent")

    def __init__(self) -> None:
        self.requests = 0
        self.sent = 0
        self.received = 0
        self.prompt = 0
        self.cached = 0
        self.completion = 0


class Histogram:
    """How long something took.

    Attributes:
        counts: for each bucket of `BUCKETS_S`, and one for all that is longer.
        total_s: the sum.
    """

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.total_s = 0.0


class Tally:
    """The counts of one proxy since its start. All but `drain` belongs to the event loop.

    Attributes:
        cells: by label ("" where no key was asked), status and verdict; at most `MAX_CELLS`.
        failed: attempts that were followed by another one, by label and verdict.
        first_byte, whole: how long requests took, to the first byte and to the last.
        waits, waited_s: requests that had to wait for a slot, a rate or a key, and for how long.
        recent: the last `RECENT` requests, the oldest first.
        steps: for the last `STEPS` steps, the number of the step (epoch seconds / `STEP_S`) and
            how many requests each label served in it.
        dropped: lines of the trace that were lost because the disk could not take them.
    """

    def __init__(self, *, max_waiting: int = MAX_WAITING) -> None:
        self.cells: dict[tuple[str, int, str], Cell] = {}
        self.failed: dict[tuple[str, str], int] = {}
        self.first_byte = Histogram()
        self.whole = Histogram()
        self.waits = 0
        self.waited_s = 0.0
        self.recent: deque[Served] = deque(maxlen=RECENT)
        self.steps: deque[tuple[int, dict[str, int]]] = deque(maxlen=STEPS)
        self.dropped = 0
        self._max_waiting = max_waiting
        self._waiting: deque[Served] = deque()
        self._told = 0
        self._step_ends = 0.0
        self._served: dict[str, int] = {}
        self._lines = _Lines()

    def note(self, served: Served) -> None:
        """Count one finished request. Between one and two microseconds."""
        waiting = self._waiting
        waiting.append(served)
        if len(waiting) > self._max_waiting:
            try:
                waiting.popleft()
                self.dropped += 1
            except IndexError:  # whoever writes them has just taken them all
                pass
        self.recent.append(served)
        (at, _, _, _, _, label, _, status, verdict) = served[:9]
        (tried, _, waited_s, first_s, total_s, sent, received, tokens) = served[10:]
        place = (label, status, verdict)
        cell = self.cells.get(place) or self._new_cell(place)
        cell.requests += 1
        cell.sent += sent
        cell.received += received
        if tokens is not None:
            prompt, cached, completion = tokens
            cell.prompt += prompt
            cell.cached += cached
            cell.completion += completion
        if first_s is not None:
            first = self.first_byte
            first.total_s += first_s
            first.counts[bisect_left(BUCKETS_S, first_s)] += 1
        whole = self.whole
        whole.total_s += total_s
        whole.counts[bisect_left(BUCKETS_S, total_s)] += 1
        if at >= self._step_ends or at < self._step_ends - _BACK_S:
            self._new_step(int(at) // STEP_S)
        here = self._served
        here[label] = here.get(label, 0) + 1
        if tried or waited_s:
            self._note_trouble(tried, waited_s)

    def _note_trouble(self, tried: tuple[tuple[str, str], ...], waited_s: float) -> None:
        if waited_s > 0.0:
            self.waits += 1
            self.waited_s += waited_s
        for attempt in tried:
            full = attempt not in self.failed and len(self.failed) >= MAX_CELLS
            known = (OTHER, OTHER) if full else attempt
            self.failed[known] = self.failed.get(known, 0) + 1

    def _new_cell(self, place: tuple[str, int, str]) -> Cell:
        if len(self.cells) >= MAX_CELLS:
            place = (OTHER, 0, OTHER)
        return self.cells.setdefault(place, Cell())

    def _new_step(self, step: int) -> None:
        # Requests are noted when they end; one that began in an earlier step counts here.
        self._step_ends = float((step + 1) * STEP_S)
        self._served = {}
        self.steps.append((step, self._served))

    def by_label(self) -> dict[str, Cell]:
        """The sums of each label; at most `MAX_LABELS`, the rest under `OTHER`."""
        found: dict[str, Cell] = {}
        for (label, _, _), cell in self.cells.items():
            if label not in found and len(found) >= MAX_LABELS:
                label = OTHER  # noqa: PLW2901 - what is counted
            into = found.setdefault(label, Cell())
            for name in Cell.__slots__:
                setattr(into, name, getattr(into, name) + getattr(cell, name))
        return found

    def total(self) -> Cell:
        """The sum of everything."""
        whole = Cell()
        for cell in self.cells.values():
            for name in Cell.__slots__:
                setattr(whole, name, getattr(whole, name) + getattr(cell, name))
        return whole

    def drain(self) -> bytes:
        """The lines of the trace since the last call; b"" without any. For one other thread."""
        waiting, lines = self._waiting, []
        for _ in range(len(waiting)):
            try:
                served = waiting.popleft()
            except IndexError:  # the event loop has just dropped the last one
                break
            lines.append(self._lines.line(served))
        dropped = self.dropped
        if lines and dropped > self._told:
            head = lines[0][: len(_HEAD)]  # the time of the first that was kept
            lines.insert(0, f'{head},"event":"dropped","count":{dropped - self._told}}}\n')
            self._told = dropped
        return "".join(lines).encode("ascii")


#: How each line begins.
_HEAD = '{"schema":1,"ts":"2026-01-31T12:00:00.000Z"'
_LINE = (
    '{"schema":1,"ts":"%s.%03dZ","event":"request","request":"%s","method":%s,"path":%s,'
    '"key":%s,"label":%s,"session":"%s","status":%d,"verdict":%s,"code":%s,"tried":%s,'
    '"eligible":%d,"waited_s":%.3f,"first_s":%s,"total_s":%.4f,"sent":%d,"received":%d,'
    '"tokens":%s}\n'
)
_TOKENS = '{"prompt":%d,"cached":%d,"completion":%d}'


class _Lines:
    """Writes lines. A few words come again and again, so their escaped forms are kept."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}
        self._second = -1
        self._prefix = ""

    def line(self, served: Served) -> str:
        """One request as one line of ASCII."""
        (at, request_id, method, path, key_id, label, session, status, verdict, code) = served[:10]
        (tried, eligible, waited_s, first_s, total_s, sent, received, tokens) = served[10:]
        second = int(at)
        if second != self._second:
            self._second, self._prefix = second, utc_text(second)[:-5]
        words = self._words
        return _LINE % (
            self._prefix,
            int((at - second) * 1000),
            request_id,
            words.get(method) or self._word(method),
            words.get(path) or self._word(path),
            words.get(key_id) or self._word(key_id),
            words.get(label) or self._word(label),
            session,
            status,
            words.get(verdict) or self._word(verdict),
            words.get(code) or self._word(code),
            self._tried(tried) if tried else "[]",
            eligible,
            waited_s,
            "null" if first_s is None else "%.4f" % first_s,  # noqa: UP031 - the fastest form
            total_s,
            sent,
            received,
            "null" if tokens is None else _TOKENS % tokens,
        )

    def _tried(self, tried: tuple[tuple[str, str], ...]) -> str:
        pairs = [f"[{self._word(label)},{self._word(verdict)}]" for label, verdict in tried]
        return f"[{','.join(pairs)}]"

    def _word(self, text: str) -> str:
        """Any text as a JSON string of ASCII without control characters."""
        known = self._words.get(text)
        if known is None:
            from json import dumps

            known = dumps(mask_data(text)).replace("\x7f", "\\u007f")
            if len(self._words) >= 2048:
                self._words.clear()
            self._words[text] = known
        return known
