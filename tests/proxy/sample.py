"""A proxy's counts and sight, made up: for the page, `/status` and `/metrics`."""

from __future__ import annotations

import random
from typing import Any

from kmi.model import ApiKey, Hold, KeyState, Window
from kmi.proxy.limits import Caps
from kmi.proxy.records import Served, Tokens
from kmi.proxy.status import Live, status_document
from kmi.proxy.tally import Tally
from kmi.proxy.view import View
from kmi.selection import Policy
from kmi.state import Active
from kmi.urls import parse_base_url

NOW = 1_790_000_000.0
HOUR, DAY = 3600.0, 86400.0
URL = parse_base_url("https://api.kimi.com/coding/v1")
#: Nothing of it may do anything but be shown.
HOSTILE = "<img src=x onerror=alert(1)>\x1b]0;a\x07\u202egnp\n</script>&amp;"
SECRET = "sk-kimi-CANARYofthesample0123456789"


def windows(now: float, five_hours: float, week: float) -> dict[str, Window]:
    return {
        "5h": Window(five_hours, now + 1.4 * HOUR),
        "7d": Window(week, now + 3.1 * DAY),
        "month": Window(0.2, now + 17.0 * DAY),
    }


def view(now: float = NOW, *more: str) -> View:
    """Four keys, one for each important status, and those named besides."""
    full: dict[str, Any] = {"usage_at": now - 130.0, "usage_tried_at": now - 130.0}
    states = {
        "work": KeyState(windows=windows(now, 0.34, 0.52), **full),
        "home": KeyState(windows=windows(now, 0.85, 0.61), group="g1", **full),
        "home2": KeyState(
            windows=windows(now, 1.0, 0.61),
            hold=Hold("exhausted", "quota-5h", now - 900.0, now + 1.4 * HOUR, source="window"),
            group="g1",
            **full,
        ),
        "team/ci": KeyState(
            hold=Hold("blocked", "no-money", now - 600.0, now + 3000.0, status=403)
        ),
        **{label: KeyState() for label in more},
    }
    keys = [
        ApiKey(label, f"id-{label}", SECRET, URL, priority=int(label == "work")) for label in states
    ]
    return View(
        tuple(keys),
        {f"id-{label}": state for label, state in states.items()},
        Active("id-work", "work", now - HOUR),
        Policy(strategy="round-robin"),
        may_change=True,
    )


def served(number: int, at: float, **changes: Any) -> Served:
    """An ordinary request."""
    values: dict[str, Any] = {
        "at": at,
        "request_id": f"{number:08x}",
        "method": "POST",
        "path": "/chat/completions",
        "key_id": "id-work",
        "label": "work",
        "session": f"{number % 5:08x}",
        "status": 200,
        "verdict": "ok",
        "code": "session",
        "tried": (),
        "eligible": 2,
        "waited_s": 0.0,
        "first_s": 0.4,
        "total_s": 3.2,
        "sent": 2000,
        "received": 900,
        "tokens": Tokens(12000, 9000, 250),
    }
    return Served(**{**values, **changes})


def tally(now: float = NOW, count: int = 90) -> Tally:
    """Some minutes of work on two keys, with a few troubles."""
    found, rng = Tally(), random.Random(7)
    for number in range(count):
        at = now - 590.0 + number * 590.0 / count
        label = ("work", "home")[number % 2]
        changes: dict[str, Any] = {
            "label": label,
            "key_id": f"id-{label}",
            "code": "next" if number % 3 else "session",
            "first_s": rng.uniform(0.2, 3.0),
            "total_s": rng.uniform(3.0, 60.0),
        }
        if number % 30 == 29:
            changes |= {"tried": (("home2", "quota-5h"),), "code": "retry", "waited_s": 0.5}
        if number % 45 == 44:
            changes |= {"status": 502, "verdict": "upstream", "first_s": None, "tokens": None}
        found.note(served(number, at, **changes))
    return found


def live(seen: View, now: float = NOW, **changes: Any) -> Live:
    """The rest, of a proxy that was started two hours ago."""
    values: dict[str, Any] = {
        "now": now,
        "started_at": now - 2 * HOUR,
        "version": "0.1.0",
        "listening": "127.0.0.1:54123",
        "base_path": "/kmi-rotor/v1",
        "states": seen.states,
        "in_flight": {"id-work": 2, "id-home": 1},
        "queued": 0,
        "sessions": 7,
        "caps": Caps(rps=5),
    }
    return Live(**{**values, **changes})


def sample_document(now: float = NOW, *more: str) -> dict[str, Any]:
    """The whole of `/status`."""
    seen = view(now, *more)
    return status_document(seen, tally(now), live(seen, now))
