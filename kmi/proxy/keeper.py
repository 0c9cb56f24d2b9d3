"""The thread between the proxy and the disk: nothing that a request waits for is done there.

It looks at state, auth files and settings a few times a second and makes a new `View` when
something changed; it writes what requests taught into ``state.json`` under kmi's lock, and their
records into ``trace.jsonl``. What can't be written waits for the next try, and is bounded.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Callable, NamedTuple

from kmi.errors import KmiError
from kmi.proxy.picker import Lesson, learn
from kmi.proxy.sighting import Programs, Stamps, look, stamps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.app import App
    from kmi.model import ApiKey
    from kmi.proxy.desk import Rules
    from kmi.proxy.sighting import Stamp
    from kmi.proxy.view import View
    from kmi.state import State

#: How often the disk is looked at; a look takes about 10 us a file.
LOOK_S = 0.25
#: A look takes this share of the time at most, and so happens less often with many files.
LOOK_SHARE = 0.05
LOOK_MAX_S = 2.0
#: Lessons that wait for a disk that can't be written.
LESSONS_MAX = 10_000


class Batch(NamedTuple):
    """What the event loop hands over.

    Attributes:
        number: counts up; a sight says which batches are on the disk.
        ask: key ids about whose quota an answer was ambiguous.
    """

    number: int
    lessons: list[Lesson]
    ask: frozenset[str]


#: Nothing new, but a wish that the disk be looked at.
_NUDGE = Batch(0, [], frozenset())
#: A wish that everything be looked at anew.
_RELOAD = Batch(0, [], frozenset())


class Sight(NamedTuple):
    """What the keeper hands back: a view, its rules, and up to which batch it holds.

    Attributes:
        state: what `sighting.stamp` said of ``state.json`` before it was read.
    """

    view: View
    rules: Rules
    saved: int
    state: Stamp


class Keeper:
    """The thread.

    Args:
        app: the world as the proxy found it; settings and keys are read anew when files change.
        renew: makes such a world.
        log: where events go.
        trace: called in the thread: append the records of finished requests.
        publish: called in the thread with every new sight.
        refresh: called in the thread now and then, with the time of the last request and the keys
            whose quota is in question: ask about what is due.
    """

    def __init__(
        self,
        app: App,
        renew: Callable[[], App],
        *,
        log: Callable[[Mapping[str, object]], None],
        trace: Callable[[], None],
        publish: Callable[[Sight], None],
        refresh: Callable[[App, float, frozenset[str]], None],
    ) -> None:
        self._app = app
        self._renew = renew
        self._log = log
        self._trace = trace
        self._publish = publish
        self._refresh = refresh
        self._inbox: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._programs = Programs()
        self._rules: Rules
        self._stamps: Stamps | None = None
        self._unsaved: list[Lesson] = []
        self._ask: frozenset[str] = frozenset()
        self._taken = self._saved = 0
        self._busy_at = 0.0
        self._complaints: dict[str, str] = {}
        self._keys: tuple[ApiKey, ...] = ()
        self._problems: tuple[str, ...] = ()
        self._ended = False

    def first(self) -> Sight:
        """The first sight, in the caller's thread, before it listens.

        Raises:
            KmiError: the settings, the state or the auth files can't be used.
        """
        self._stamps = stamps(self._app)
        view, self._rules = look(self._app, self._programs)
        self._note(view)
        return Sight(view, self._rules, 0, self._stamps.state)

    def _note(self, view: View) -> None:
        """Keep what the next look needs, and log what is newly wrong."""
        self._keys = view.keys
        for problem in view.problems:
            if problem not in self._problems:
                self._log({"event": "problem", "level": "warning", "text": problem})
        self._problems = view.problems

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def submit(self, batch: Batch) -> None:
        """Hand over what was learnt."""
        self._inbox.put(batch)

    def nudge(self) -> None:
        """Look now."""
        self._inbox.put(_NUDGE)

    def stop(self, timeout_s: float = 12.0) -> None:
        """Write what is left, and end; the lock may have to be waited for."""
        self._inbox.put(None)
        self._thread.join(timeout_s)

    def reload(self) -> None:
        """Look at everything anew, now."""
        # By the inbox: a look that is under way would overwrite what is set here.
        self._inbox.put(_RELOAD)

    def _run(self) -> None:
        pause_s = LOOK_S
        while not self._ended:
            self._take(pause_s)
            started = time.monotonic()
            for step in (self._append_trace, self._save, self._look, self._ask_upstream):
                self._try(step)
            pause_s = max(LOOK_S, (time.monotonic() - started) / LOOK_SHARE)
            pause_s = min(pause_s, LOOK_MAX_S)

    def _try(self, step: Callable[[], None]) -> None:
        """Do something that the disk may refuse, and say so once until it succeeds."""
        name = step.__name__
        try:
            step()
        except KmiError as error:
            complaint = error.message
        except OSError as error:
            complaint = f"{error.filename or 'the disk'}: {error.strerror or error}"
        except Exception as error:  # noqa: BLE001 - the proxy goes on with what it knows
            complaint = f"a bug in the proxy's keeper: {type(error).__name__}"
        else:
            if name != "_ask_upstream":  # that nothing is due to be asked is no success
                self._complaints.pop(name, None)
            return
        known = complaint in self._complaints.values()  # two steps may fail for one reason
        self._complaints[name] = complaint
        if not known:
            self._log({"event": "keeper-failed", "level": "error", "text": complaint})

    def _take(self, pause_s: float) -> None:
        """Wait for batches, and take all that are there."""
        try:
            batch = self._inbox.get(timeout=pause_s)
            while True:
                if batch is None:
                    self._ended = True
                elif batch is _RELOAD:
                    self._stamps = None
                elif batch is not _NUDGE:
                    self._unsaved += batch.lessons
                    self._ask |= batch.ask
                    self._taken = batch.number
                    self._busy_at = max((x.at for x in batch.lessons), default=self._busy_at)
                batch = self._inbox.get_nowait()
        except queue.Empty:
            pass
        if len(self._unsaved) > LESSONS_MAX:
            dropped = len(self._unsaved) - LESSONS_MAX
            del self._unsaved[:dropped]
            self._log({"event": "lessons-dropped", "level": "warning", "count": dropped})

    def _append_trace(self) -> None:
        self._trace()

    def _save(self) -> None:
        """Put lessons into the state as it is now on the disk."""
        fresh = self._programs.fresh
        if not self._unsaved and not fresh:
            return
        labels = {key.key_id: key.label for key in (*self._app.keyring.keys, *self._keys)}
        with self._app.store.transaction() as transaction:
            for key in fresh:
                self._learn_id(transaction.state, key)
            keys = transaction.state.keys
            for lesson in self._unsaved:
                changed = learn(
                    keys,
                    lesson,
                    cooldown_s=self._rules.cooldown_s,
                    payment_block_s=self._rules.payment_block_s,
                )
                for key_id, known in changed.items():
                    keys[key_id] = replace(known, label=known.label or labels.get(key_id, ""))
            transaction.save()
        for lesson in self._unsaved:
            if lesson.verdict is not None and lesson.verdict.name == "dead-key":
                self._programs.forget(lesson.key_id)
        self._programs.fresh = []
        self._unsaved = []
        self._saved = self._taken

    def _learn_id(self, state: State, key: ApiKey) -> None:
        """Let the CLI know a program's key by the id of its secret."""
        known = next((k for k in self._app.known(state) if k.label == key.label), None)
        if known is None or known.key_id == key.key_id:
            return
        self._app.learn_key_id(state, known, key)
        moved = state.keys.get(key.key_id)
        if moved is not None and moved.hold is not None and moved.hold.verdict == "dead-key":
            # That was said of the secret that the program gave before.
            state.keys[key.key_id] = replace(moved, hold=None)

    def _look(self) -> None:
        """Make a new sight if anything changed."""
        before, now = self._stamps, stamps(self._app)
        if now == before and not self._programs.due:
            return
        app = self._app
        if before is None or now.files != before.files:
            app = self._renew()
            now = stamps(app)
        view, rules = look(app, self._programs, self._keys)
        self._app, self._rules, self._stamps = app, rules, now
        self._note(view)
        self._complaints.pop("_ask_upstream", None)
        self._publish(Sight(view, rules, self._saved, now.state))

    def _ask_upstream(self) -> None:
        ask, self._ask = self._ask, frozenset()
        self._refresh(self._app, self._busy_at, ask)
