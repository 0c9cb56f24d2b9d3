"""Which key paid for a call: what kmi's records and the proxy's trace tell of its session (pure).

Exact is what the proxy saw itself, and what a run did that kept one key: its session is known from
the client's hook, or because no other run can have begun it. All else is told by the times at which
keys were swapped, and says so. Where nothing tells, nobody is blamed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

from kmi.usage.rows import BY_TIME, EXACT, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: A run that began no session for so long begins none.
WAIT_S = 12 * 3600.0
#: A session that was silent for so long may have been taken up by a run that nobody recorded.
QUIET_S = 1800.0
#: A session's first hook comes within this time.
HOOK_S = 60.0
#: How long after an answer's end a client writes down what it cost; more on a busy machine.
LATE_S = 60.0
#: The same where only time and cost say that a request and a call are the same.
CLOSE_S = 3.0
#: How long before an answer's end that may be: clocks are read a moment apart.
EARLY_S = 1.0


class Run(NamedTuple):
    """A run of the ledger; ``mode`` is pinned, following, swapped or proxy."""

    run: str
    time: float
    mode: str
    key: str


class Start(NamedTuple):
    """What a client's hook told of a session; ``how`` is pin, config or proxy."""

    time: float
    key: str
    how: str
    follows: bool
    run: str


class Session(NamedTuple):
    """A session of one client in one directory.

    Attributes:
        number: of the session.
        born: when it began.
        runs: ids of pinned runs that its folder names.
        times: when its calls ended, in order.
        starts: what hooks told, in order.
    """

    number: int
    born: float
    runs: frozenset[str]
    times: Sequence[float]
    starts: Sequence[Start]


class Spell(NamedTuple):
    """From when on a session had which key.

    Attributes:
        since: seconds since the epoch.
        mode: of the run; "config" and "follows" for what a hook told of one that is not pinned.
        key: the key of its beginning.
        until: up to then it is exact; never for what is not pinned.
    """

    since: float
    mode: str
    key: str
    until: float


class Request(NamedTuple):
    """What the proxy saw: ``tokens`` are the new ones of the prompt, the cached, the answer's."""

    uid: int
    time: float
    ended: float
    session: str
    key: str
    tokens: tuple[int, int, int]


class Paid(NamedTuple):
    """Who paid, and how sure that is."""

    key: str | None
    sure: str


NOBODY = Paid(None, UNKNOWN)
Requests = dict[tuple[int, int, int], list[tuple[float, int, Request]]]


def spells(runs: Sequence[Run], sessions: Sequence[Session]) -> dict[int, list[Spell]]:
    """Which key each session of a directory had, and from when on.

    Args:
        runs: of the client in this directory.
        sessions: the same.
    """
    told = {start.run for session in sessions for start in session.starts if start.run}
    found: dict[int, list[Spell]] = {s.number: _by_hooks(s) for s in sessions}
    untold = [run for run in runs if run.run not in told]
    births = [s for s in sessions if not any(t.time <= s.born + HOOK_S for t in s.starts)]
    events: list[tuple[float, int, Run | Session]] = [(run.time, 0, run) for run in untold]
    events += [(session.born, 1, session) for session in births]
    waiting: list[Run] = []
    last: Run | None = None
    for moment, _, event in sorted(events, key=lambda item: item[:2]):
        if isinstance(event, Run):
            waiting = _settle(waiting, moment, sessions, found)
            waiting.append(event)
            continue
        waiting = [run for run in waiting if moment - run.time <= WAIT_S]
        run, sure = _beginner(event, waiting, last)
        if run is not None:
            found[event.number].append(_spell(event, event.born, run, sure=sure))
            waiting = [other for other in waiting if other is not run]
            last = run
    _settle(waiting, float("inf"), sessions, found)
    for spell in found.values():
        spell.sort(key=lambda item: item.since)
    return found


def _by_hooks(session: Session) -> list[Spell]:
    modes = {"pin": "pinned", "proxy": "proxy"}
    return [
        Spell(
            start.time,
            modes.get(start.how, "follows" if start.follows else "config"),
            start.key,
            float("inf") if start.how == "pin" and start.key else 0.0,
        )
        for start in session.starts
    ]


def _beginner(
    session: Session, waiting: Sequence[Run], last: Run | None
) -> tuple[Run | None, bool]:
    """The run that began a session, and whether no other can have."""
    named = [run for run in waiting if run.run in session.runs]
    if named:
        return named[-1], True
    if waiting:
        return waiting[-1], len({(run.mode, run.key) for run in waiting}) == 1
    return last, False


def _settle(
    waiting: Sequence[Run],
    until: float,
    sessions: Sequence[Session],
    found: Mapping[int, list[Spell]],
) -> list[Run]:
    """Give each run that began no session the one that it resumed; the others wait on."""
    left = []
    for run in waiting:
        session = _resumed(run, until, sessions)
        if session is None:
            left.append(run)
            continue
        before = {(spell.mode, spell.key) for spell in found[session.number]}
        sure = run.run in session.runs or before == {(run.mode, run.key)}
        found[session.number].append(_spell(session, run.time, run, sure=sure))
    return left


def _resumed(run: Run, until: float, sessions: Sequence[Session]) -> Session | None:
    """Of the sessions that went on after a run began, the one that was used last before."""
    best, latest = None, -1.0
    for session in sessions:
        times = session.times
        at = bisect_left(times, run.time)
        if session.born >= run.time or at == len(times) or times[at] >= until:
            continue
        used = times[at - 1] if at else session.born
        if run.run in session.runs:
            return session
        if used > latest:
            best, latest = session, used
    return best


def _spell(session: Session, since: float, run: Run, *, sure: bool) -> Spell:
    """A run's share of a session: exact as long as the session is not silent for long."""
    if not (sure and run.mode == "pinned" and run.key):
        return Spell(since, run.mode, run.key, 0.0)
    last = since
    for moment in session.times[bisect_left(session.times, since) :]:
        if moment - last > QUIET_S:
            break
        last = moment
    return Spell(since, run.mode, run.key, last)


def payer(
    client: str,
    at: float,
    spells: Sequence[Spell],
    swaps: Sequence[tuple[float, str]],
    own: Paid | None = None,
) -> Paid:
    """Who paid for a call.

    Args:
        client: who made it.
        at: when it ended.
        spells: of its session, in order.
        swaps: when which key was swapped into the client's config, in order.
        own: the key of the model that was called, where it has one of its own.
    """
    spell = None
    for item in spells:
        if item.since > at:
            break
        spell = item
    if spell is not None:
        if spell.mode == "proxy":
            return NOBODY  # which key served it, only the proxy's trace knows
        if spell.mode == "pinned" and spell.key:
            return Paid(spell.key, EXACT if at <= spell.until else BY_TIME)
        if own is None and spell.mode in {"config", "swapped"} and client == "kimi-cli":
            return Paid(spell.key, BY_TIME) if spell.key else NOBODY  # it reads its config once
    if own is not None:
        return own
    key = active(swaps, at) or (spell.key if spell is not None else "")
    return Paid(key, BY_TIME) if key else NOBODY


def active(swaps: Sequence[tuple[float, str]], at: float) -> str:
    """The key in the config at a time; "" when it is not known."""
    number = bisect_right(swaps, (at, "\uffff"))
    return swaps[number - 1][1] if number else ""


def matched(
    calls: Iterable[tuple[int, float, tuple[int, int, int]]],
    session: str | None,
    requests: Requests,
) -> dict[int, Request]:
    """Which request of the proxy each call was, as far as there is one.

    Args:
        calls: number, time and tokens of calls, in order.
        session: the session's name as the proxy shortens it; None: requests of any session may be
            meant, if their time and their cost leave no doubt.
        requests: what is found is taken out of them.
    """
    found: dict[int, Request] = {}
    for uid, at, tokens in calls:
        same = requests.get(tokens, [])
        late_s, early_s = (CLOSE_S, CLOSE_S) if session is None else (LATE_S, EARLY_S)
        best, least_s = -1, float("inf")
        for number in range(bisect_left(same, (at - late_s,)), len(same)):
            ended, _, request = same[number]
            if ended > at + early_s:
                break
            if session in {None, request.session} and abs(at - ended) < least_s:
                best, least_s = number, abs(at - ended)
        if best >= 0:
            found[uid] = same.pop(best)[2]
    return found


def by_cost(requests: Iterable[Request]) -> Requests:
    """Requests by what they cost, and by when they ended."""
    found: Requests = {}
    for request in requests:
        found.setdefault(request.tokens, []).append((request.ended, request.uid, request))
    for same in found.values():
        same.sort()
    return found
