"""JSON by what `json` is made of, without its start-up, which is half that of Python."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class _Reading:
    """How `_json` reads; the same as `json.loads` does."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def parsed(data: bytes) -> Any:
    """A JSON document, without the start-up of `json`.

    Raises:
        ValueError: it is none.
    """
    try:
        from _json import make_scanner
    except ImportError:
        from json import loads

        return loads(data)
    text = data.decode().strip(" \t\r\n")
    try:
        value, end = make_scanner(_Reading)(text, 0)  # type: ignore[arg-type]  # any such object
    except StopIteration:
        raise ValueError("it is no JSON") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if end != len(text):
        raise ValueError("there is something behind the JSON")
    return value


def line_of(fields: Mapping[str, str | bool | int | None]) -> bytes:
    """One line of JSON: ASCII, with escapes, as `kmi.store.record_line` writes it."""
    try:
        from _json import encode_basestring_ascii as quoted
    except ImportError:
        from json.encoder import encode_basestring_ascii as quoted
    words: dict[object, str] = {None: "null", True: "true", False: "false"}
    parts = []
    for name, value in fields.items():
        shown = quoted(value) if isinstance(value, str) else None
        if shown is None:
            shown = words[value] if value is None or value is True or value is False else str(value)
        parts.append(f"{quoted(name)}:{shown}")
    return ("{" + ",".join(parts) + "}\n").encode("ascii")
