"""Who may ask what: the guards, the paths that go upstream, and the pages of kmi's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from kmi.proxy import answers
from kmi.proxy.guards import METHODS, Refusal
from kmi.proxy.head_reader import HeadReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.proxy.client import Client
    from kmi.proxy.framing import RequestHead
    from kmi.proxy.guards import Guard

#: Connections at once; further ones are ended. 500 streams are a large team.
CONNECTIONS_MAX = 2048

#: A page: its status, media type, body, and further fields.
Page = tuple[int, bytes, bytes, "list[tuple[bytes, bytes]]"]


class Site:
    """What the proxy serves.

    Args:
        guard: who may ask.
        base_path: below it requests go upstream.
        pages: by path: whether it needs the token, and what makes it.
        own: answers a request below the base path in the upstream's place, or gives None.

    Attributes:
        clients: the open connections.
        heads: reads the heads of requests.
        draining: no connection is kept after its answer.
    """

    def __init__(
        self,
        guard: Guard,
        base_path: str,
        pages: Mapping[bytes, tuple[bool, Callable[[], Page]]],
        own: Callable[[bytes, bytes], Page | None],
    ) -> None:
        self._guard = guard
        self._base = base_path.encode()
        self._pages = pages
        self._own = own
        self.clients: set[Client] = set()
        self.draining = False
        self.heads = HeadReader()

    def arrived(self, client: Client) -> None:
        """A connection was made."""
        self.clients.add(client)
        if len(self.clients) > CONNECTIONS_MAX:
            client.abort()
        elif self.draining:
            client.transport.close()

    def left(self, client: Client) -> None:
        """A connection ended."""
        self.clients.discard(client)

    def welcome(self, client: Client, head: RequestHead) -> bool:
        """Whether a request is served; a refusal has been sent if not. Its body was not read."""
        path = head.target.partition(b"?")[0]
        page = self._pages.get(path)
        found = self._guard.refusal(head, page=page is not None)
        if found is None and (page is None or page[0]):
            found = self._guard.unknown(head)
        if found is None and page is None:
            found = self._path_refusal(path)
        if found is None and head.method not in METHODS:
            found = Refusal(405, "method-not-allowed", "this method is not served")
        if found is None and page is not None:
            found = _page_refusal(head)
        if found is None:
            return True
        client.refuse(found)
        return False

    def _path_refusal(self, path: bytes) -> Refusal | None:
        base = self._base
        if path != base and not path.startswith(base + b"/"):
            text = f"there is nothing here: the API is below {base.decode()}"
            return Refusal(404, "no-such-path", text)
        if b"%" in path or b".." in path:
            from urllib.parse import unquote_to_bytes

            plain = unquote_to_bytes(path).replace(b"\\", b"/")
            if b".." in plain.split(b"/"):
                return Refusal(400, "bad-path", "the path leaves the API")
        return None

    def below(self, head: RequestHead) -> bytes:
        """What of a target goes to the upstream: what stands below the base path."""
        return head.target[len(self._base) :]

    def answer(self, client: Client, head: RequestHead) -> bool:
        """Whether a request was answered by kmi itself."""
        path = head.target.partition(b"?")[0]
        found = self._pages.get(path)
        page = found[1]() if found is not None else self._own(head.method, path[len(self._base) :])
        if page is None:
            return False
        status, kind, body, fields = page
        keep = head.keep_alive and not self.draining
        client.reply(
            answers.message(
                status, body, kind, fields, keep_alive=keep, head_only=head.method == b"HEAD"
            ),
            head,
        )
        return True


def _page_refusal(head: RequestHead) -> Refusal | None:
    if head.method not in {b"GET", b"HEAD"}:
        return Refusal(405, "method-not-allowed", "this page can only be read")
    if head.chunked or head.length:
        # Some pages need no token: nobody else may fill the memory.
        return Refusal(400, "no-body", "this page takes no body")
    return None
