"""Whether a script of `kmi init` that a person keeps in a file is what this kmi would write."""

from __future__ import annotations

import shlex
from itertools import combinations
from typing import NamedTuple

from kmi import shells


class Form(NamedTuple):
    """A line that `kmi init` writes differently for each person: what stands around the part."""

    mark: str
    before: str
    after: str


#: The part of a marked line that is changed, by its mark (see `shells.render`).
_CHANGED = {"kmi": (" kmi run",), "name": (" kimi", ":kimi"), "state": ("''",)}


def kept_command(shell_name: str, text: str) -> tuple[str, ...] | None:
    """What a kept script starts kmi with ("kmi" where it starts none); None when it is old."""
    forms = _forms(shells.read_script(shells.SCRIPTS[shell_name]))
    lines = text.rstrip("\n").split("\n")
    kept = [_normal(line, forms) for line in lines]
    for count in range(len(shells.SECTIONS) + 1):
        for without in combinations(shells.SECTIONS, count):
            script = shells.init_script(shell_name, ["kmi"], "kimi", "", without)
            now = script.rstrip("\n").split("\n")
            if [_normal(line, forms) for line in now] == kept:
                return _command(lines, forms)
    return None


def _forms(template: str) -> list[Form]:
    forms = []
    for line in template.split("\n"):
        text, _, mark = line.partition("#: ")
        for part in _CHANGED.get(mark.strip(), ()):
            before, found, after = text.rstrip().partition(part)
            if found:
                forms.append(Form(mark.strip(), before, after))
                break
    return forms


def _normal(line: str, forms: list[Form]) -> str:
    """A line without what differs from person to person."""
    form = next((form for form in forms if _fits(line, form)), None)
    return line if form is None else f"{form.before}\0{form.after}"


def _fits(line: str, form: Form) -> bool:
    long_enough = len(line) > len(form.before) + len(form.after)
    return long_enough and line.startswith(form.before) and line.endswith(form.after)


def _command(lines: list[str], forms: list[Form]) -> tuple[str, ...]:
    """The words that start kmi."""
    for form in forms:
        for line in lines if form.mark == "kmi" else ():
            if _fits(line, form):
                inner = line[len(form.before) : len(line) - len(form.after)]
                try:
                    words = shlex.split(inner.rpartition(" run")[0])
                except ValueError:
                    continue
                if words:
                    return tuple(words)
    return ("kmi",)
