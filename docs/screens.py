"""Draw the pictures of `kmi health` in `docs/images/`: `python -m docs.screens`.

The keys are made up, and so is the moment: the pictures change only when the drawing does.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmi.health_rich import console, page
from kmi.health_text import lines
from kmi.model import ApiKey, Hold, KeyState, Window
from kmi.overview import look_over
from kmi.polling import Pace
from kmi.timezones import find_timezone, show_time
from kmi.urls import parse_base_url
from kmi.wording import Words

if TYPE_CHECKING:
    from kmi.overview import Overview

HERE = Path(__file__).parent / "images"
NOW = 1_790_000_000.0
HOUR, DAY = 3600.0, 86400.0
PLAN = parse_base_url("https://api.kimi.com/coding/v1")
PLATFORM = parse_base_url("https://api.moonshot.ai/v1")
#: name: columns, language, and whether it is drawn or plain text.
SCREENS = {
    "health-wide": (112, "en", True),
    "health-narrow": (60, "en", True),
    "health-ru": (112, "ru", True),
    "health-ru-narrow": (60, "ru", True),
    "health-plain": (60, "en", False),
}


def _windows(five_hours: float, week: float, month: float) -> dict[str, Window]:
    return {
        "5h": Window(five_hours, NOW + 1.4 * HOUR),
        "7d": Window(week, NOW + 3.1 * DAY),
        "month": Window(month, NOW + 17.3 * DAY),
    }


def sample() -> Overview:
    """Six keys, one for each status."""
    full: dict[str, Any] = {"usage_at": NOW - 130.0, "usage_tried_at": NOW - 130.0}
    states = {
        "work": KeyState(windows=_windows(0.34, 0.52, 0.2), last_used=NOW - 190.0, **full),
        "home": KeyState(
            windows=_windows(1.0, 0.61, 0.4),
            hold=Hold("exhausted", "quota-5h", NOW - 900.0, NOW + 1.4 * HOUR, source="window"),
            last_used=NOW - 2 * HOUR,
            group="g1",
            **full,
        ),
        "home2": KeyState(windows=_windows(0.85, 0.61, 0.4), group="g1", **full),
        "team": KeyState(
            hold=Hold("blocked", "no-money", NOW - 600.0, NOW + 50 * 60.0, status=403),
            last_used=NOW - 3 * DAY,
            usage_tried_at=NOW - 600.0,
        ),
        "old/trial": KeyState(
            windows=_windows(0.1, 0.2, 0.3),
            usage_at=NOW - 5 * HOUR,
            usage_tried_at=NOW - 130.0,
            usage_error="no answer from api.kimi.com in time",
            usage_wait_until=NOW + 170.0,
            last_used=NOW - 9 * DAY,
        ),
        "spare": KeyState(disabled=True),
    }
    keys = [
        ApiKey(label, f"id-{label}", "sk-kimi-made-up", PLATFORM if label == "team" else PLAN)
        for label in states
    ]
    return look_over(
        keys,
        {f"id-{label}": state for label, state in states.items()},
        active={"kimi-cli": "id-work"},
        barred={},
        pace=Pace(),
        now=NOW,
    )


def _time(at: float) -> str:
    return show_time(at, find_timezone("UTC"))


def draw(name: str) -> str:
    """One picture, as SVG."""
    from rich.text import Text

    width, locale, drawn = SCREENS[name]
    target = console(io.StringIO(), color=True, width=width, record=True)
    view, words = sample(), Words(locale)
    if not drawn:
        for line in lines(view, words, _time, width):
            target.print(Text(line))
    else:
        target.print(page(view, words, _time, width=width))
    svg = target.export_svg(title="kmi health", unique_id=name)
    # Without the fonts that rich would fetch from elsewhere: the viewer's own do.
    svg = re.sub(r"\s*@font-face \{[^}]*\}", "", svg)
    return svg.replace("Fira Code, monospace", "DejaVu Sans Mono, Menlo, Consolas, monospace")


def main() -> None:
    """Write every picture."""
    HERE.mkdir(exist_ok=True)
    for name in SCREENS:
        (HERE / f"{name}.svg").write_text(draw(name), encoding="utf-8")


if __name__ == "__main__":
    main()
