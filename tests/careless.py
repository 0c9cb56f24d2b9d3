"""The negative control: a program that swaps keys as one writes it without thinking.

It truncates the config in place, takes no lock, makes its backup with whatever mode the umask
gives, narrows modes after the writing, catches no error, and lets the client read the shared
file. A sweep that finds nothing wrong with it proves nothing about kmi.

``careless.py use LABEL`` and ``careless.py run -k LABEL -- COMMAND ARGS...``, as kmi.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path


def swap(label: str) -> None:
    """Put a key into kimi-cli's config."""
    auth = (Path(os.environ["KMI_AUTHS_DIR"]) / f"{label}.env").read_text()
    secret = auth.partition("KMI_API_KEY=")[2].split()[0]
    config = Path(os.environ["HOME"]) / ".kimi" / "config.toml"
    text = config.read_text()

    state = Path(os.environ["KMI_STATE_DIR"])
    (state / "backups").mkdir(parents=True, exist_ok=True)
    backup = state / "backups" / f"{os.getpid()}.toml"
    backup.write_text(text)
    backup.chmod(0o600)

    with open(config, "wb", buffering=0) as file:
        file.write(re.sub(r'(api_key *= *)"[^"]*"', rf'\1"{secret}"', text).encode())
    config.chmod(0o600)

    (state / "state.json").write_text(json.dumps({"schema": 1, "label": label}))
    with open(state / "audit.jsonl", "a") as audit:
        audit.write(json.dumps({"command": "use", "after": label}) + "\n")


def main(words: list[str] | None = None) -> None:
    """Swap, and become the command if there is one."""
    words = sys.argv[1:] if words is None else words
    if words[0] == "use":
        swap(words[1])
        return
    if "-k" in words:
        swap(words[words.index("-k") + 1])
    command = words[words.index("--") + 1 :]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
