"""The grammar of HTTP/1.x as strictly as RFC 9112 allows, its limits, and what breaks it. Pure.

`framing` and `chunks` decide with expressions made of these. Only what they refuse is looked at
line by line, by the functions below, which say why.
"""

from __future__ import annotations

import re

#: Bytes of a request line without its CRLF: what nginx takes by default.
MAX_LINE_BYTES = 8 * 1024
#: Bytes of a head with its empty line, and its fields. Clients of kmi send 20 to 30, below 2 KiB.
MAX_HEAD_BYTES = 64 * 1024
MAX_FIELDS = 100
#: A chunked body is kept in memory, for it is sent on with its length.
MAX_BODY_BYTES = 64 * 1024 * 1024

#: RFC 9110 5.6.2 and 5.5: a name, and a value with the blanks around it. No CR, LF, NUL or other
#: control character; obs-text (0x80 to 0xff) is passed on.
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
VALUE = rb"[\t\x20-\x7e\x80-\xff]*"
FIELD = TOKEN + rb":" + VALUE + rb"\r\n"
#: All fields of a head, as one group, and the empty line.
FIELDS = rb"((?:" + FIELD + rb"){0,%d})\r\n" % MAX_FIELDS

LONG_LINE = f"the request line is longer than {MAX_LINE_BYTES} bytes"
LONG_HEAD = f"the head is longer than {MAX_HEAD_BYTES} bytes or has more than {MAX_FIELDS} fields"
LONG_BODY = f"a chunked body is longer than {MAX_BODY_BYTES} bytes: send its Content-Length"

_REQUEST_LINE = re.compile(
    rb"(" + TOKEN + rb") ([\x21-\x7e]+) HTTP/(?:1\.[01]|([0-9]\.[0-9]))\r"
).fullmatch
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [1-9][0-9]{2}(?: " + VALUE + rb")?\r").fullmatch
_FIELD_LINE = re.compile(TOKEN + rb":" + VALUE + rb"\r").fullmatch


class BadMessage(Exception):  # noqa: N818 - not always an error of kmi's side
    """A message that is not taken: answer, and close the connection.

    Attributes:
        status: what to answer: 400, 413 (body), 414 (request line), 431 (head); 502
            when it came from upstream.
        reason: what is wrong, in plain words, with nothing of the message in it.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


def request_fault(data: bytes) -> BadMessage:
    """Why a head is no request."""
    first, *lines = data.split(b"\n")
    if len(first) > MAX_LINE_BYTES + 1:
        return BadMessage(414, LONG_LINE)
    match = _REQUEST_LINE(first)
    if not match:
        return BadMessage(400, _line_fault(first) or "the request line is malformed")
    method, target, version = match.groups()
    if version:
        return BadMessage(400, "only HTTP/1.1 and HTTP/1.0 are spoken")
    if method.upper() in (b"CONNECT", b"TRACE"):
        return BadMessage(400, "CONNECT and TRACE are not offered")
    if not target.startswith(b"/"):
        return BadMessage(400, "the target does not start with a slash")
    return _fields_fault(data, lines, 400, 431)


def response_fault(data: bytes) -> BadMessage:
    """Why a head is no response."""
    first, *lines = data.split(b"\n")
    if not _STATUS_LINE(first):
        return BadMessage(502, _line_fault(first) or "the status line is malformed")
    return _fields_fault(data, lines, 502, 502)


def _fields_fault(data: bytes, lines: list[bytes], bad: int, long: int) -> BadMessage:
    for number, line in enumerate(lines):
        if line == b"\r":
            break
        if number == MAX_FIELDS:
            return BadMessage(long, LONG_HEAD)
        if not _FIELD_LINE(line):
            return BadMessage(bad, _line_fault(line) or _name_fault(line))
    if len(data) > MAX_HEAD_BYTES:
        return BadMessage(long, LONG_HEAD)
    return BadMessage(bad, "the head goes on after its end")


def _line_fault(line: bytes) -> str:
    """What is wrong with the bytes of a line (without its LF), whichever it is, or nothing."""
    if not line.endswith(b"\r"):
        return "a line does not end with CRLF"
    if b"\r" in line[:-1]:
        return "a CR within a line"
    if re.search(rb"[^\t\x20-\x7e\x80-\xff\r]", line):
        return "a control character"
    return ""


def _name_fault(line: bytes) -> str:
    if line.startswith((b" ", b"\t")):
        return "a folded line"
    if line.partition(b":")[0].endswith((b" ", b"\t")):
        return "a blank before the colon"
    return "a field name is missing or malformed"
