"""What has to start quickly: `kmi init`, `prompt` and `completion` for shells, and `--version`.

Each understands its plain calls and gives None for any other: then the whole command line runs,
which knows every option and every error. May import only what is cheap (see `kmi.quick`).
"""

from __future__ import annotations

import os
import sys

from kmi.quick import read_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: The env file: `kmi.files.SMALL_FILE_BYTES`.
LIMIT_BYTES = 1024 * 1024


def try_light(words: list[str], env: Mapping[str, str]) -> int | None:
    """Do the whole command, if it is a plain one; None when the whole way has to run."""
    from kmi import shells

    text: str | None = None
    try:
        if words[0] == "prompt" and len(words) == 1:
            text = _prompt(env)
        elif words[0] == "completion" and len(words) == 2 and words[1] in shells.SHELLS:
            text = shells.completion_script(words[1])
        elif words[0] == "init":
            text = _init(words[1:], env)
        elif words in (["--version"], ["-V"]):
            text = _version()
    except (OSError, ValueError, KeyError):
        return None
    if text is None:
        return None
    # Bytes: a path may hold what is no text.
    view = memoryview(os.fsencode(text) if os.name != "nt" else text.encode())
    try:
        while view:
            view = view[os.write(1, view) :]
    except BrokenPipeError:
        return 1  # nobody reads it any more
    except OSError:
        return None  # the whole way fails, too, and tells why
    return 0


def state_dir(env: Mapping[str, str]) -> str | None:
    """The state directory; None when the env file or an error has something to say about it."""
    from kmi.errors import KmiError
    from kmi.paths import default_env_file, default_state_dir

    if env.get("KMI_STATE_DIR"):
        return env["KMI_STATE_DIR"]
    try:
        data, _ = read_plain(env.get("KMI_ENV_PATH") or default_env_file(env), LIMIT_BYTES)
        if b"KMI_STATE_DIR" in data:
            return None
    except FileNotFoundError:
        pass
    except KmiError:
        return None
    return default_state_dir(env)


def _prompt(env: Mapping[str, str]) -> str | None:
    from kmi.shells import shown

    directory = state_dir(env)
    if directory is None or not os.path.isabs(directory):
        return None
    try:
        line = read_plain(f"{directory}/prompt", 4096)[0].decode("ascii", "replace")
    except FileNotFoundError:
        line = ""
    text = shown(line, env.get("KMI_ACTIVE_KEY", "") if env.get("KMI_RUN_ID") else "")
    return text and text + "\n"


def _version() -> str | None:
    from kmi.origin import version_line

    text = version_line(sys.argv[0])
    return text + "\n" if text.isascii() and text.isprintable() else None


def _init(words: list[str], env: Mapping[str, str]) -> str | None:
    from kmi import shells

    shell, name, without = "", "kimi", []
    rest = iter(words)
    for word in rest:
        if word in shells.SHELLS and not shell:
            shell = word
        elif word == "--cmd":
            name = next(rest, "")
        elif word.startswith("--no-") and word[5:] in shells.SECTIONS:
            without.append(word[5:])
        else:
            return None
    if not shell or not shells.valid_name(name) or state_dir(env) is None:
        return None
    command = shells.own_command(sys.argv[0], sys.executable)
    return shells.init_script(shell, command, name, "", without)
