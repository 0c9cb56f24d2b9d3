"""How the fake API answers a key: behaviours, with the texts of real answers.

What is made up says so (*invented*).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The texts of real answers: upstream.md, whose row numbers stand behind them.
QUOTA_CYCLE = (  # row 10
    "You've reached your usage limit for this billing cycle. Your quota will be refreshed in the "
    "next cycle. To continue now, purchase extra usage or upgrade your plan: "
    "https://www.kimi.com/code/#pricing"
)
QUOTA_PERIOD = "You've reached your usage limit for this period."  # row 8; the rest is not known
QUOTA_WEEK = "You've reached your weekly (7-day) usage limit."  # row 7; the rest is not known
INVALID_KEY = "The API Key appears to be invalid or may have expired."  # row 3
NO_MEMBERSHIP = "We're unable to verify your membership benefits at this time."  # row 5
CODING_AGENTS_ONLY = "Kimi For Coding is currently only available for Coding Agents"  # row 6
TOO_MANY_REQUESTS = (  # row 18
    "We're receiving too many requests at the moment. Please wait a moment and try again."
)
OVERLOADED = "The engine is currently overloaded, please try again later"  # row 19


def error_body(message: str, type_: str) -> dict[str, Any]:
    """An error as the API wraps it."""
    return {"error": {"message": message, "type": type_}}


@dataclass(frozen=True)
class Behaviour:
    """How the fake answers one API key.

    Attributes:
        text: the answer of a successful chat.
        status: the status of chat answers; ``error`` is its body unless it is 200.
        headers: more headers of a failing chat answer, such as ``Retry-After``.
        failures: how many chat requests fail before they succeed; None: all.
        everywhere: the failure holds for every endpoint, as with a bad key.
        in_stream: the failure comes as the first event of a stream, after a status of 200.
        usages: the answer of ``/usages``; None: 404, as on the pay-as-you-go platform.
        balance: what ``/users/me/balance`` reports as available; None: 404, as on the plan.
        latency_s: seconds to wait before any answer.
        tool: a tool and its arguments that the model "calls" first; then it answers ``text``.
    """

    text: str = "Hello from the fake Kimi API."
    status: int = 200
    error: Mapping[str, Any] | str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    failures: int | None = None
    everywhere: bool = False
    in_stream: bool = False
    usages: Mapping[str, Any] | None = field(default_factory=lambda: usage_windows())
    balance: float | None = None
    latency_s: float = 0.0
    tool: tuple[str, Mapping[str, Any]] | None = None


def quota_403(message: str = QUOTA_CYCLE, **more: Any) -> Behaviour:
    """A key whose quota is spent."""
    more.setdefault("usages", usage_windows(five_hours=1.0))
    return Behaviour(status=403, error=error_body(message, "access_terminated_error"), **more)


def rate_429(
    message: str = TOO_MANY_REQUESTS, *, retry_after: str | None = None, **more: Any
) -> Behaviour:
    """A key that is rate limited; a real answer with ``Retry-After`` is not known."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Behaviour(
        status=429,
        error=error_body(message, "rate_limit_reached_error"),
        headers=headers,
        **more,
    )


def invalid_401(message: str = INVALID_KEY, **more: Any) -> Behaviour:
    """A key that the service does not know."""
    error = error_body(message, "invalid_authentication_error")
    return Behaviour(status=401, error=error, everywhere=True, **more)


def payment_402(message: str = NO_MEMBERSHIP, **more: Any) -> Behaviour:
    """A key whose membership could not be verified."""
    error = error_body(message, "invalid_request_error")
    return Behaviour(status=402, error=error, everywhere=True, **more)


def server_5xx(status: int = 503, message: str = OVERLOADED, **more: Any) -> Behaviour:
    """A server at fault; the type is *invented*."""
    return Behaviour(status=status, error=error_body(message, "server_error"), **more)


def usage_windows(
    five_hours: float = 0.01,
    seven_days: float = 0.02,
    month: float = 0.03,
    *,
    generation: str = "both",
    resets_in: tuple[float, float, float] = (2 * 3600.0, 3 * 86400.0, 20 * 86400.0),
    now: float | None = None,
    user: str = "u-fake",
) -> dict[str, Any]:
    """The answer of ``/usages`` with these used shares.

    Args:
        five_hours: used share of the rolling window, 0.0 to 1.0.
        seven_days: of the week.
        month: of the month.
        generation: "old" (strings, no month), "new" (ratios), or "both", as the service mixes.
        resets_in: seconds from now to the resets of the three windows.
        now: the time these count from; the wall clock if None.
        user: the account; keys of one account share their limits.
    """
    start = time.time() if now is None else now
    at5, at7, at31 = (_rfc3339(start + seconds) for seconds in resets_in)
    row = {
        "window": {"duration": 300, "timeUnit": "TIME_UNIT_MINUTE"},
        "detail": _detail(five_hours, at5),
    }
    old = {
        "user": {"userId": user, "membership": {"level": "LEVEL_STANDARD"}},
        "usage": _detail(seven_days, at7),
        "limits": [row],
        "parallel": {"limit": "30"},
        "totalQuota": {},
        "subType": "TYPE_PURCHASE",
        "authentication": {"method": "METHOD_API_KEY", "scope": "FEATURE_CODING"},
    }
    new = {
        "usages": {
            "limit_5h": {"used_ratio": five_hours, "reset_time": at5},
            "limit_7d": {"used_ratio": str(seven_days), "reset_time": at7},
            "limit_month_total": {"used_ratio": month, "reset_time": at31},
        },
        "limits": [row],
    }
    shapes: dict[str, dict[str, Any]] = {"old": old, "new": new, "both": {**old, **new}}
    return shapes[generation]


def _detail(used: float, reset: str) -> dict[str, str]:
    spent = round(used * 100)
    return {"limit": "100", "used": str(spent), "remaining": str(100 - spent), "resetTime": reset}


def _rfc3339(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
