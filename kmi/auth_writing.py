"""Writing auth files: new ones, another label in an old one (text to text, pure)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kmi.errors import KmiError

if TYPE_CHECKING:
    from collections.abc import Mapping

_BARE = re.compile(r"[A-Za-z0-9._@/:-]+")


def env_text(fields: Mapping[str, str]) -> str:
    r"""The text of a new `.env` auth file.

    >>> print(env_text({"KMI_KEY_LABEL": "work", "KMI_API_KEY_COMMAND": "pass show 'k'"}), end="")
    KMI_KEY_LABEL=work
    KMI_API_KEY_COMMAND='pass show \'k\''
    """
    return "".join(f"{name}={_quoted(value)}\n" for name, value in fields.items())


def _quoted(value: str) -> str:
    if _BARE.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def file_name(label: str) -> str:
    """The name of the `.env` file of a label, which may hold slashes.

    >>> file_name("team/alpha")
    'team__alpha.env'
    """
    return label.replace("/", "__") + ".env"


def relabelled(path: str, data: bytes, label: str) -> bytes:
    """An auth file with another label in it; everything else stays.

    Raises:
        KmiError: the file is a client config, which has no place for a label.
    """
    text = data.decode("utf-8-sig")
    if path.endswith(".env"):
        return _relabelled_env(text, label).encode()
    if path.endswith(".toml"):
        import tomlkit

        document = tomlkit.parse(text)
        _refuse_client_config(path, "providers" in document)
        document["label"] = label
        return tomlkit.dumps(document).encode()
    import json

    table = json.loads(text)
    _refuse_client_config(path, "providers" in table)
    table["label"] = label
    try:
        return json.dumps(table, indent=2, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair, as JSON may escape it
        return json.dumps(table, indent=2).encode() + b"\n"


def _refuse_client_config(path: str, is_one: bool) -> None:
    if is_one:
        raise KmiError(
            f"{path} is a client config, whose keys are named after the file",
            "rename the file, or move the key into a file of its own with `kmi keys add`",
            code="not-renamable",
        )


def _relabelled_env(text: str, label: str) -> str:
    line = f"KMI_KEY_LABEL={_quoted(label)}"
    lines = text.splitlines(keepends=True)
    for index, old in enumerate(lines):
        if re.match(r"\s*(export\s+)?KMI_KEY_LABEL\s*=", old):
            ending = old[len(old.rstrip("\r\n")) :]
            lines[index] = line + ending
            return "".join(lines)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return "".join([*lines, line + "\n"])
