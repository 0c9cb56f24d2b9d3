"""Reading request heads that come again and again (pure).

A client sends the same head with every request of a session, but for its Content-Length. What was
read of the one is true of the other: `request_head` looks at nothing else that could differ.
"""

from __future__ import annotations

import re

from kmi.proxy.framing import RequestHead, request_head

#: Heads that are remembered; then all are forgotten. A client has a handful.
CAPACITY = 64
#: Longer heads are read anew each time.
LONGEST_BYTES = 4096
_LENGTH = re.compile(rb"\r\ncontent-length: ?([0-9]{1,15})\r\n", re.IGNORECASE).search
_AT_FIELDS = RequestHead._fields.index("fields")
_AT_LENGTH = RequestHead._fields.index("length")


class HeadReader:
    """`request_head`, with a memory."""

    def __init__(self) -> None:
        self._known: dict[bytes, RequestHead] = {}

    def __len__(self) -> int:
        return len(self._known)

    def read(self, data: bytes) -> RequestHead:
        """Read one head, with its empty line and nothing behind it.

        Raises:
            BadMessage: for everything that is not plainly right.
        """
        line = _LENGTH(data) if len(data) <= LONGEST_BYTES else None
        if line is None:
            return request_head(data)
        frame = data[: line.start(1)] + data[line.end(1) :]
        known = self._known.get(frame)
        if known is not None:
            fields = data[data.index(b"\n") + 1 : -2]
            return RequestHead._make(
                (
                    *known[:_AT_FIELDS],
                    fields,
                    *known[_AT_FIELDS + 1 : _AT_LENGTH],
                    int(line[1]),
                    *known[_AT_LENGTH + 1 :],
                )
            )
        head = request_head(data)
        if len(self._known) >= CAPACITY:
            self._known.clear()
        self._known[frame] = head
        return head
