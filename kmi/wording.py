"""Sentences for people, put together from `messages` in their language (pure)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kmi.health import MEANINGS, error_rate, left
from kmi.messages import message
from kmi.timezones import show_span

if TYPE_CHECKING:
    from kmi.health import Status
    from kmi.model import KeyState, Problem

_WINDOWS = {"5h", "1d", "7d", "month", "plan"}


class Words:
    """What is said in one language.

    >>> Words("en")("unit.ago", span=Words("en").span(60))
    '1 min ago'
    """

    def __init__(self, locale: str) -> None:
        self.locale = locale

    def __call__(self, name: str, /, **values: object) -> str:
        """The text of a message, with its values."""
        text = message(self.locale, name)
        return text.format(**values) if values else text

    def span(self, seconds: float) -> str:
        """A duration in its two largest units."""
        text = show_span(seconds)
        if self.locale == "en":
            return text
        units = {unit: message(self.locale, f"unit.{unit}") for unit in ("d", "h", "min", "s")}
        return " ".join(units.get(word, word) for word in text.split())

    def ago(self, at: float | None, now: float) -> str:
        """How long ago something was, or that it never was."""
        return self("unit.never") if at is None else self("unit.ago", span=self.span(now - at))

    def ahead(self, at: float, now: float) -> str:
        """How soon something will be."""
        return self("unit.in", span=self.span(at - now))

    def window(self, name: str) -> str:
        """The name of a quota window."""
        return self(f"unit.window-{name}") if name in _WINDOWS else name

    def status(self, name: str) -> str:
        """The name of a status."""
        return self(f"unit.status-{name}")

    def reason(self, status: Status, state: KeyState, now: float) -> str:
        """Why a key has its status; "" when there is nothing to say."""
        if not status.code:
            return ""
        if status.code == "low":
            share = left(state, now) or 0.0
            return self("reason.low", share=math.floor(round(share * 100, 4)))
        if status.code == "errors":
            return self("reason.errors", share=f"{error_rate(state, now):.0%}")
        held = status.name in {"blocked", "exhausted"}
        known = not held or status.code in MEANINGS
        what = self(f"reason.{status.code}") if known else status.code
        if not held:
            return what
        if status.until is None:
            return self("reason.until-reset", what=what)
        return self("reason.back", what=what, span=self.span(status.until - now))

    def sentence(self, text: str) -> str:
        """A sentence that was written in English where it arose: of an error, or a reason."""
        if self.locale == "en" or not text:
            return text
        from kmi.translation import to_russian

        return to_russian(text)

    def problem(self, problem: Problem) -> str:
        """One line: where, what, and the fix."""
        where, what, fix = (self.sentence(text) for text in problem[:3])
        return str(problem._replace(where=where, what=what, fix=fix))
