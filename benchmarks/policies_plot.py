"""The picture of `docs/explanation/strategies.md`: an SVG of lines, written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

WIDTH, HEIGHT = 860, 400
#: Colours that people who see few colours tell apart (Okabe and Ito), and readable on both themes.
COLOURS = {
    "sticky": "#d55e00",
    "most-remaining": "#e69f00",
    "round-robin": "#56b4e9",
    "least-recently-used": "#0072b2",
    "soonest-reset": "#cc79a7",
    "spread": "#009e73",
}
TEXT = 'font-family="sans-serif" font-size="12" fill="#808080"'


class Panel(NamedTuple):
    """One chart: where it is, its ranges, and what it says."""

    x: float
    y: float
    width: float
    height: float
    loads: tuple[float, float]
    values: tuple[float, float]
    title: str
    label: Callable[[float], str]

    def at(self, load: float, value: float) -> tuple[float, float]:
        """A point of the picture."""
        share = (load - self.loads[0]) / (self.loads[1] - self.loads[0])
        up = (value - self.values[0]) / (self.values[1] - self.values[0])
        return self.x + share * self.width, self.y + self.height - up * self.height


def plot(sweeps: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Two charts by load: what a small pool serves, and what a larger one reads anew."""
    small, large = sweeps["3 keys"], sweeps["30 keys"]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" '
        'aria-label="Served requests and cache misses of each strategy, by load">',
        *_chart(small, 60.0, "of_bound", "3 keys: served, of the bound", _percent),
        *_chart(large, 490.0, "misses", "30 keys: cache misses, of the fewest", _times),
    ]
    for number, (name, colour) in enumerate(COLOURS.items()):
        x, y = 60 + 260 * (number % 3), 362 + 22 * (number // 3)
        parts += [
            f'<rect x="{x}" y="{y - 9}" width="18" height="4" fill="{colour}"/>',
            f'<text x="{x + 26}" y="{y}" {TEXT}>{escape(name)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def _percent(value: float) -> str:
    return f"{value:.0%}"


def _times(value: float) -> str:
    return f"{value:.2f}"


def _chart(
    sweep: Sequence[Mapping[str, Any]],
    x: float,
    field: str,
    title: str,
    label: Callable[[float], str],
) -> list[str]:
    loads = [point["load"] for point in sweep]
    values = [row[field] for point in sweep for row in point["rows"].values()]
    low, high = min([*values, 1.0]), max([*values, 1.0])
    room = 0.05 * (high - low)
    span = (min(loads), max(loads))
    panel = Panel(x, 40.0, 340.0, 270.0, span, (low - room, high + room), title, label)
    parts = [f'<text x="{x:.0f}" y="24" {TEXT} font-weight="bold">{escape(title)}</text>']
    for step in range(5):
        value = low + (high - low) * step / 4
        _, y = panel.at(span[0], value)
        parts += [
            f'<line x1="{x:.1f}" x2="{x + panel.width:.1f}" y1="{y:.1f}" y2="{y:.1f}" '
            'stroke="#808080" stroke-opacity="0.3"/>',
            f'<text x="{x - 8:.1f}" y="{y + 4:.1f}" {TEXT} text-anchor="end">{label(value)}</text>',
        ]
    for load in loads:
        at, _ = panel.at(load, low)
        parts.append(
            f'<text x="{at:.1f}" y="330" {TEXT} text-anchor="middle">load {load:.2f}</text>'
        )
    for name, colour in COLOURS.items():
        points = [panel.at(point["load"], point["rows"][name][field]) for point in sweep]
        line = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        wide = 3 if name == "spread" else 2
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="{wide}"/>'
        )
        parts += [
            f'<circle cx="{px:.1f}" cy="{py:.1f}" r="{wide}" fill="{colour}"/>' for px, py in points
        ]
    return parts
