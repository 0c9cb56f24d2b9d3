"""`/usages` of all keys in one answer (pure): what a client shows that knows one key only.

With a loopback base URL Kimi Code would lose its `/usage` (clients.md). The sum is kmi's, and the
answer says so. Only while keys may be changed: else the active key's own quota is what counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmi.health import window_left
from kmi.model import KeyState
from kmi.selection import unusable
from kmi.timezones import utc_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.proxy.view import View

#: The pools of the newer form (upstream.md), and the minutes of the older one.
_POOLS = {"5h": "limit_5h", "7d": "limit_7d", "month": "limit_month_total"}
_MINUTES = {"5h": 300, "7d": 10080}


def aggregated(view: View, states: Mapping[str, KeyState], now: float) -> dict[str, Any] | None:
    """The quotas of all keys as one `/usages` answer in both of its forms; None to ask upstream.

    Per window: the mean of the used shares of all keys whose reading counts, and the earliest
    reset. A key that is out counts as used up, whatever its reading says.
    """
    if not view.may_change or len(view.keys) < 2:
        return None
    used: dict[str, list[float]] = {}
    resets: dict[str, list[float]] = {}
    labels = []
    for key in view.keys:
        state = states.get(key.key_id) or KeyState()
        if key.disabled or state.disabled or not state.windows:
            continue
        if key.label in view.policy.unavailable:
            continue
        labels.append(key.label)
        out = bool(unusable(key, state, view.policy, now))
        for name, window in state.windows.items():
            left = window_left(name, window, state.usage_at, now)
            if name in _POOLS and left is not None:
                used.setdefault(name, []).append(1.0 if out else 1.0 - left)
                if window.resets_at is not None:
                    resets.setdefault(name, []).append(window.resets_at)
    if not used:
        return None
    return _document(used, resets, labels)


def _document(
    used: Mapping[str, list[float]], resets: Mapping[str, list[float]], labels: list[str]
) -> dict[str, Any]:
    pools, limits = {}, []
    for name, shares in sorted(used.items()):
        share = round(sum(shares) / len(shares), 4)
        reset = utc_text(min(resets[name])) if name in resets else None
        pools[_POOLS[name]] = {"used_ratio": share, "reset_time": reset}
        if name in _MINUTES:
            total = 100 * len(shares)
            spent = round(share * total)
            detail = {"limit": str(total), "used": str(spent), "remaining": str(total - spent)}
            if reset is not None:
                detail["resetTime"] = reset
            window = {"duration": _MINUTES[name], "timeUnit": "TIME_UNIT_MINUTE"}
            limits.append({"window": window, "detail": detail})
    return {"usages": pools, "limits": limits, "kmi": {"sum_of": labels}}
