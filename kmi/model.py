"""The values that the parts of kmi hand to one another.

Times are seconds since the epoch (UTC) as floats, durations seconds, shares 0.0 to 1.0.
Nothing here touches the disk, the clock or the network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.urls import BaseUrl

#: A quota window, and the longest it can last: docs kimi.com, "5 hours", "7 days", "month". The
#: platform counts tokens per day ("1d"); "plan" is a billing period that does not say its length.
#: A deadline that claims a window never outlasts it.
WINDOW_S: Mapping[str, float] = {
    "5h": 5 * 3600.0,
    "1d": 86400.0,
    "7d": 7 * 86400.0,
    "month": 31 * 86400.0,
    "plan": 31 * 86400.0,
}


def masked(secret: str) -> str:
    """The only form in which a secret may be shown: its last four characters, if it is long."""
    return f"…{secret[-4:]}" if len(secret) >= 16 else "…"


#: The default of mappings that are never changed.
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class ApiKey:
    """One API key from one auth file.

    Attributes:
        label: unique name, ``[A-Za-z0-9._@/-]{1,64}``.
        key_id: first 12 hex digits of SHA-256 of the secret; how records name the key.
        secret: the key itself; None until ``command`` has been run.
        base_url: where this key is valid, and the only place it is ever sent to.
        source: the auth file; line: where in it, when known.
        command: the ``api_key_command``, when the secret comes from a program.
        disabled: the auth file says so. (`kmi keys disable` is in the state instead.)
    """

    label: str
    key_id: str
    secret: str | None = field(repr=False)
    base_url: BaseUrl
    source: str = ""
    line: int | None = None
    priority: int = 0
    disabled: bool = False
    email: str | None = None
    max_concurrency: int | None = None
    command: str | None = field(default=None, repr=False)


class Window(NamedTuple):
    """A quota period. ``used`` is a share, 0.0 to 1.0; ``resets_at`` None when not told."""

    used: float
    resets_at: float | None = None

    def left(self, now: float) -> float | None:
        """The share that is left, or None when the reading is older than its own reset."""
        if self.resets_at is not None and self.resets_at <= now:
            return None
        return max(0.0, 1.0 - self.used)


@dataclass(frozen=True)
class Hold:
    """Why a key is not used for now: a hypothesis with its evidence.

    Attributes:
        kind: "cooldown" (a rate limit), "exhausted" (a quota), "blocked" (needs a person or a
            recheck).
        verdict: the name from the classification table.
        since: when it was set.
        until: when it ends by itself; None: by hand (`kmi keys reset`, or an edited key).
        probe_at: from then on one request may try the key ("half open"); None: never.
        source: where ``until`` comes from: "header", "text", "window", "ladder", "setting".
        window: the quota window it claims, or None.
        status: the HTTP status, or None.
        text: the upstream's words, cut and redacted.
        strikes: how many times in a row this key was held by the same kind of verdict.
    """

    kind: str
    verdict: str
    since: float
    until: float | None
    probe_at: float | None = None
    source: str = "setting"
    window: str | None = None
    status: int | None = None
    text: str = ""
    strikes: int = 1

    def active(self, now: float) -> bool:
        """Whether it still holds. A clock that went back makes it end, never last for ever."""
        if now < self.since - 86400.0:
            return False
        return self.until is None or now < self.until

    def half_open(self, now: float) -> bool:
        """Whether one request may try the key already."""
        return self.active(now) and self.probe_at is not None and self.probe_at <= now


@dataclass(frozen=True)
class KeyState:
    """What kmi remembers of a key, by its key id. Never a secret.

    Attributes:
        label: the label at the last sight, for keys whose auth file is gone.
        windows: quota readings by window name ("5h", "7d", "month").
        usage_at: when ``windows`` were read.
        usage_tried_at: when they were last asked for, with whatever result.
        usage_error: why the last reading failed, or "".
        usage_wait_until: before that kmi does not ask again by itself: the upstream asked to wait,
            or several readings failed.
        traffic: minutes with their counts, ``(epoch minute, answers, errors)``, the last hour.
        group: a hash of the organisation that errors or `/usages` named; keys with an equal one
            share their limits.
    """

    label: str = ""
    disabled: bool = False
    hold: Hold | None = None
    windows: Mapping[str, Window] = field(default_factory=dict)
    usage_at: float | None = None
    usage_tried_at: float | None = None
    usage_error: str = ""
    usage_wait_until: float | None = None
    last_used: float | None = None
    traffic: tuple[tuple[int, int, int], ...] = ()
    group: str | None = None


class Decision(NamedTuple):
    """Which key a run gets, and why.

    Attributes:
        key: the pick; None when no key can be used.
        reason: why it was picked, or why none was.
        code: a stable word for the reason.
        rejected: ``{label: why not}`` for every other key.
        back_at: when ``key`` is None: the earliest time at which one comes back, if known.
    """

    key: ApiKey | None
    reason: str
    code: str
    rejected: Mapping[str, str] = _NOTHING
    back_at: float | None = None


class Problem(NamedTuple):
    """Something wrong in a file or a setting, said so that a person can put it right.

    Attributes:
        where: ``path``, ``path:line``, or "environment".
        what: what is wrong, without any secret.
        fix: what to do.
        fatal: whether what it is about can't be used; else it is a warning.
    """

    where: str
    what: str
    fix: str = ""
    fatal: bool = True

    def __str__(self) -> str:
        """One line: where, what, and the fix."""
        return f"{self.where}: {self.what}" + (f" ({self.fix})" if self.fix else "")
