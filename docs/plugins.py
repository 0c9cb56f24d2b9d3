"""What fisher, the plugin manager of fish, copies: `fisher install …/shell/fish`."""

from __future__ import annotations

import re
from pathlib import Path

from docs import completions

SCRIPT = Path(__file__).parents[1] / "shell" / "kmi.fish"
HEADER = """\
# kmi for fisher, made by `make docs` from shell/kmi.fish; do not edit.
#
# Does what `kmi init fish | source` does, without starting kmi, whose `kmi` has to be on PATH;
# without it nothing happens, and `kimi` stays what it is.
"""
#: fisher says so before it removes the files; shells that run then keep nothing of kmi.
FOOTER = """\

function __kmi_uninstall --on-event kmi_uninstall
    functions -e kimi __kmi_prompt __kmi_uninstall
    set -e KMI_PROMPT
    set -e __kmi_state
end
"""


def conf() -> str:
    """`conf.d/kmi.fish`: the script that works as it stands, without the marks of `kmi init`."""
    lines = []
    for line in SCRIPT.read_text(encoding="utf-8").split("\n"):
        text, marked, mark = line.partition("#: ")
        if not marked:
            lines.append(line)
        elif mark.split()[0] not in ("begin", "end", "completion"):
            lines.append(text.rstrip())
    whole = "\n".join(lines)
    head, found, body = whole.partition("\nif status is-interactive\n")
    if not found or not head.startswith("#"):
        raise ValueError(f"{SCRIPT} does not begin as it did")
    body = re.sub(r"\n{3,}", "\n\n", body).replace("\n\nend\n", "\nend").rstrip("\n")
    return f"{HEADER}\nif status is-interactive; and command -q kmi\n{body}\n{FOOTER}"


FILES = {
    "shell/fish/conf.d/kmi.fish": conf,
    "shell/fish/completions/kmi.fish": completions.fish,
}
