"""What an upstream error says, read out of whatever form it comes in. Pure, total and bounded.

One error text reaches kmi in many coats: the OpenAI and the Anthropic JSON form, a line of an SSE
stream, the Python repr that kimi-cli prints (``Error code: 403 - {'error': {…}}``), Kimi Code's
``provider.auth_error: 403 …``, an HTML page of something in between, or rubbish (upstream.md).
"""

from __future__ import annotations

import re
from itertools import islice
from typing import NamedTuple

from kmi.digest import sha256_hex
from kmi.masking import mask_keys

#: How much of a body is looked at. The longest error body in upstream.md has under 1 KiB; the rest
#: of a larger one can't change what it means.
BODY_MAX = 64 * 1024
#: How much of a message is matched against the table.
MESSAGE_MAX = 4096
#: How much of a message is kept as evidence.
EVIDENCE_MAX = 200
#: The longest wait that a text may ask for: a month, the longest window of the plan.
AFTER_MAX_S = 31 * 86400.0

# ' ` and the typographic ones: U+2019, U+2018, U+02BC, U+00B4.
_APOSTROPHES = str.maketrans("", "", "'`\u2019\u2018\u02bc\u00b4")
# The inside of a quoted string, up to MESSAGE_MAX characters or escapes.
_STRING = {
    "'": re.compile(rf"(?:[^'\\]|\\.){{0,{MESSAGE_MAX}}}", re.DOTALL),
    '"': re.compile(rf'(?:[^"\\]|\\.){{0,{MESSAGE_MAX}}}', re.DOTALL),
}
_HTML = re.compile(r"\s*<(?:!doctype|html|head|body)\b", re.IGNORECASE)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
# Ids as the rate-limit texts name them: `org-1a2b…`, `proj-…`, `ak-…`. At least one digit, so that
# "org-wide" is not one.
_ID = re.compile(r"\b(org|proj|ak)-(?=[A-Za-z_]*[0-9])([A-Za-z0-9_]{4,})")
# What is left of a longer one that has a dash in it.
_REST_OF_ID = re.compile(r"\b((?:org|proj|ak)-[A-Za-z0-9_]{4}…)[A-Za-z0-9_-]+")
_SECRETS = (
    (re.compile(r"\bsk-[^\s'\"<>,;)}\]]*", re.IGNORECASE), "sk-…"),
    (re.compile(r"\bbearer\s+[^\s'\"<>,;]+", re.IGNORECASE), "Bearer …"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}[A-Za-z0-9_.-]*"), "…"),  # a JSON Web Token
)
_UNIT_S = {"m": 0.001, "s": 1.0, "i": 60.0, "h": 3600.0}
_AFTER = re.compile(
    r"\b(?:after|in)\s{0,3}([0-9]{1,9}(?:\.[0-9]{1,6})?)\s{0,3}"
    r"(?:(?P<m>ms|milliseconds?)|(?P<s>s|secs?|seconds?)|(?P<i>m|mins?|minutes?)|(?P<h>h|hours?))\b"
    r"|(?P<zh>[0-9]{1,9})\s{0,3}秒(?:钟)?(?:之)?后"
)
_STATUS = (
    re.compile(r"\berror code:\s{0,3}([45][0-9]{2})\b", re.IGNORECASE),
    re.compile(r"\bprovider\.[a-z_]{1,40}:\s{0,3}([45][0-9]{2})\b", re.IGNORECASE),
    re.compile(r"\A\s{0,9}([45][0-9]{2})\b"),
    re.compile(r"\b(?:http|status)(?:[ _-]?code)?\s{0,3}[:=]?\s{0,3}([45][0-9]{2})\b", re.I),
)


class ErrorText(NamedTuple):
    """What a body says.

    Attributes:
        message: the words, at most `MESSAGE_MAX` characters; "" for an HTML page.
        kind: ``type`` and ``code`` of the error object, lower case, separated by a space.
        found: whether there was an error object (or its repr), rather than just some text.
        shown: what a person should see of it; not yet fit for a terminal (see `evidence`).
    """

    message: str
    kind: str
    found: bool
    shown: str


def read_error(body: str | bytes) -> ErrorText:
    """Find the error in a body of any form.

    >>> read_error(b'{"error": {"message": "Slow down", "type": "RATE"}}')[:3]
    ('Slow down', 'rate', True)
    """
    part = body[:BODY_MAX]
    text = part.decode("utf-8", "replace") if isinstance(part, bytes) else part
    text = text.lstrip("\ufeff").strip()
    for candidate in _json_texts(text):
        error = _error_object(_parsed(candidate))
        if error is not None:
            return error
    if _HTML.match(text):
        # Not an answer of the API, so its words must not be taken for the API's.
        title = re.search(r"<title[^>]{0,200}>([^<]{0,200})", text, re.IGNORECASE)
        return ErrorText("", "", False, "an HTML page" + (f": {title[1].strip()}" if title else ""))
    return _from_repr(text)


def _json_texts(text: str) -> list[str]:
    """The pieces of a body that may be a JSON document with an error: all of it, or SSE data."""
    if text[:1] in {"{", "["}:
        return [text]
    return [
        line[5:].strip()
        for line in text.splitlines()
        if line.startswith("data:") and "error" in line
    ]


def _parsed(text: str) -> object:
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _error_object(document: object) -> ErrorText | None:
    """The error of a JSON document; None when it has none."""
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, dict):
        return None
    error = document.get("error")
    if isinstance(error, str) and error:
        # {"error": "forbidden", "message": "…"}: the words may be in either.
        words = _text(document.get("message")) or _text(document.get("error_description"))
        return _error_text(words or error, error)
    if isinstance(error, dict):
        words = _text(error.get("message")) or _text(error.get("msg")) or _text(error.get("detail"))
        return _error_text(words, f"{_text(error.get('type'))} {_text(error.get('code'))}")
    for name in ("message", "detail", "msg"):
        words = _text(document.get(name))
        if words:
            return _error_text(
                words, f"{_text(document.get('type'))} {_text(document.get('code'))}"
            )
    return None


def _error_text(message: str, kind: str) -> ErrorText:
    kind = kind.strip().lower()[:200]
    message = message[:MESSAGE_MAX]
    return ErrorText(message, kind, True, message or kind)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _from_repr(text: str) -> ErrorText:
    """A Python repr, or a JSON document that was cut: by its quoted strings, without a parser."""
    words = _strings_of("message", text)
    if not words:
        return ErrorText(text[:MESSAGE_MAX], "", False, text[:MESSAGE_MAX])
    kinds = _strings_of("type", text) + _strings_of("code", text)
    return _error_text(words[0], " ".join(kind[:100] for kind in kinds if kind != "error"))


def _strings_of(name: str, text: str) -> list[str]:
    """The first strings that follow a quoted name; one without its end goes as far as the text.

    Each step is bounded, so that no text makes this slow.
    """
    begin = re.compile(rf"""['"]{name}['"]\s{{0,9}}:\s{{0,9}}(['"])""")
    strings = []
    for match in islice(begin.finditer(text), 4):
        end = _STRING[match[1]].match(text, match.end())
        strings.append(_ESCAPE.sub(_unescape, end[0] if end else ""))
    return strings


def _unescape(match: re.Match[str]) -> str:
    if match[1]:
        return chr(int(match[1], 16))
    return " " if match[2] in "nrt" else match[2]


def split_status(text: str) -> tuple[int | None, str]:
    """The HTTP status that a client's error text begins with, and the rest.

    >>> split_status("provider.auth_error: 403 You've reached")
    (403, "You've reached")
    """
    head = text[:MESSAGE_MAX]
    for pattern in _STATUS:
        match = pattern.search(head)
        if match:
            return int(match[1]), text[match.end() :].lstrip(" -:\t")
    return None, text


def fold(text: str) -> str:
    r"""Lower case, without apostrophes, one space for any space: how texts are compared.

    >>> fold("You\u2019ve  reached\nYour")
    'youve reached your'
    """
    return " ".join(text.lower().translate(_APOSTROPHES).split())


def wait_named(text: str) -> float | None:
    """The seconds of "try again after N seconds" in a folded text, or None.

    >>> wait_named("please try again after 2 seconds")
    2.0
    """
    match = _AFTER.search(text)
    if match is None:
        return None
    unit_s = 1.0 if match["zh"] else _UNIT_S[str(match.lastgroup)]
    seconds = float(match["zh"] or match[1]) * unit_s
    return seconds if 0.0 < seconds <= AFTER_MAX_S else None


def group_named(text: str) -> str | None:
    """A hash of the organisation (else the project) that a text names: 12 hex digits, or None.

    ``ak-…`` is the key's own id as far as known, so it makes no group.
    """
    ids = {match[1]: match[0] for match in reversed(list(_ID.finditer(text)))}
    name = ids.get("org") or ids.get("proj")
    return None if name is None else short_hash(name)


def short_hash(name: str) -> str:
    """The first 12 hex digits of SHA-256: enough to tell accounts apart, none to find one."""
    return sha256_hex(name.encode("utf-8", "replace"))[:12]


def evidence(text: str, secret: str = "") -> str:
    r"""A text that may be stored and shown: no secret, no full id, no control character, short.

    Args:
        text: the upstream's words.
        secret: what the request was sent with; a text may repeat it in any form, or in parts.

    >>> evidence("Account org-1a2b3c4d5e: \x1b[2J\n bad key sk-abc")
    'Account org-1a2b…: \\x1b[2J bad key sk-…'
    """
    text = text[: 2 * MESSAGE_MAX]
    if secret:
        from kmi.redaction import without

        text = without(text, secret)
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    text = _ID.sub(lambda match: f"{match[1]}-{match[2][:4]}…", mask_keys(text))
    text = _REST_OF_ID.sub(r"\1", text)
    text = " ".join(text[: 4 * EVIDENCE_MAX].split())
    shown = "".join(char if char.isprintable() else _escaped(char) for char in text)
    return shown if len(shown) <= EVIDENCE_MAX else f"{shown[: EVIDENCE_MAX - 1]}…"


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else "\\U…"
