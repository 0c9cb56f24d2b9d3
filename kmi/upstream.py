"""One HTTP request to the upstream: an answer, or words for why there is none.

The edge of the network: no httpx exception leaves this module, no redirect is followed, and a
secret goes to its own base URL and nowhere else, not into a message either.

Of the environment only ``HTTPS_PROXY`` with ``NO_PROXY`` is honoured: for https base URLs, where
the tunnel hides the key from the proxy, and never for loopback. ``SSL_CERT_FILE``, ``ALL_PROXY``
and ``.netrc`` are not read: the certificates are certifi's, or ``cafile``.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, NamedTuple

from kmi.connection_words import connection_words
from kmi.error_texts import evidence
from kmi.redaction import without
from kmi.retry_after import retry_after
from kmi.urls import is_loopback

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping

    import httpx

    from kmi.model import ApiKey
    from kmi.urls import BaseUrl

#: The largest answer that is read, decompressed. A real one has 2 KiB.
BODY_MAX = 1024 * 1024

_SENDABLE = re.compile(r"[\x21-\x7e]+")


class Reply(NamedTuple):
    """An HTTP answer, or words for why there is none, or why it can't be used.

    Attributes:
        status: None when no answer came.
        body: at most `BODY_MAX` bytes, without the secret, should the answer repeat it.
        failure: one line for people, or "".
        wait_s: the seconds that the headers ask to wait, or None.
    """

    status: int | None
    body: bytes = b""
    failure: str = ""
    wait_s: float | None = None


class _UnusableError(Exception):
    """An answer that can't be used; its text is for people."""


class Clients:
    """At most two connection pools: one direct, one through the proxy.

    Raises nothing: what is wrong with the proxy or the certificates is told as ``failure``.
    """

    def __init__(
        self,
        keys: Iterable[ApiKey],
        user_agent: str,
        env: Mapping[str, str],
        cafile: str | None,
    ) -> None:
        self._env = env
        self._agent = user_agent
        self.failure = ""
        self._open: dict[str, httpx.Client] = {}
        urls = [key.base_url for key in keys]
        try:
            self._verify = tls_context(any(url.scheme == "https" for url in urls), cafile)
            for url in urls:
                proxy = self.proxy_of(url)
                if proxy not in self._open:
                    self._open[proxy] = self._client(proxy)
        except OSError:
            self.failure = (
                "can't read the certificates of the package certifi"
                if cafile is None
                else f"can't read the certificates in {cafile}"
            )
        except ValueError:
            self.failure = "HTTPS_PROXY is not of the form http://host:port"

    def get(self, url: BaseUrl) -> httpx.Client:
        """The pool for a base URL."""
        return self._open[self.proxy_of(url)]

    def close(self) -> None:
        """Close all connections."""
        for client in self._open.values():
            client.close()

    def proxy_of(self, url: BaseUrl) -> str:
        """The proxy for a base URL, or ""."""
        if url.scheme != "https" or is_loopback(url.host):
            return ""
        proxy = self._env.get("https_proxy") or self._env.get("HTTPS_PROXY") or ""
        exempt = self._env.get("no_proxy") or self._env.get("NO_PROXY") or ""
        return "" if _exempt(url.host, exempt) else proxy

    def _client(self, proxy: str) -> httpx.Client:
        import http.cookiejar

        import httpx

        if proxy and not proxy.lower().startswith(("http://", "https://")):
            raise ValueError("an unknown kind of proxy")
        none = http.cookiejar.DefaultCookiePolicy(allowed_domains=[])
        try:
            return httpx.Client(
                verify=self._verify,
                proxy=proxy or None,
                trust_env=False,
                follow_redirects=False,
                # One pool serves several keys: a cookie of one must not go with another.
                cookies=http.cookiejar.CookieJar(none),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
                headers={
                    "user-agent": self._agent,
                    "accept": "application/json",
                    "accept-encoding": "gzip",
                },
            )
        except httpx.InvalidURL:
            raise ValueError("not a URL") from None


def _exempt(host: str, exempt: str) -> bool:
    """Whether ``NO_PROXY`` names a host: ``*``, the host itself, or a domain that it is in.

    >>> _exempt("api.kimi.com", "localhost, .kimi.com")
    True
    """
    names = [name.strip().lower().partition(":")[0].lstrip(".") for name in exempt.split(",")]
    return any(name and (name in {"*", host} or host.endswith(f".{name}")) for name in names)


def tls_context(https: bool, cafile: str | None = None) -> ssl.SSLContext:
    """The TLS settings. Loading the certificates takes 40 ms or more, so plain http does without.

    Without certificates nothing is trusted, so leaving them out can't weaken a connection.
    """
    import ssl

    if not https:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    import certifi

    return ssl.create_default_context(cafile=cafile or certifi.where())


def obstacle(clients: Clients, key: ApiKey) -> str:
    """Why nothing can be sent with a key at all, or ""."""
    if key.secret is None:
        return "its secret is not known"
    if not _SENDABLE.fullmatch(key.secret):
        return "its secret has a character that can't be sent"
    return clients.failure


def send(
    clients: Clients,
    key: ApiKey,
    method: str,
    path: str,
    *,
    deadline: float,
    document: object = None,
) -> Reply:
    """Send one request with a key, to its own base URL.

    Args:
        clients: where the connections come from.
        key: its secret goes into ``Authorization``.
        method: "GET" or "POST".
        path: what follows the base URL.
        deadline: when the whole answer must be there, on `time.monotonic`.
        document: the JSON body, or None.
    """
    import zlib

    import httpx

    secret = key.secret or ""
    words = obstacle(clients, key)
    if words:
        return Reply(None, failure=words)
    status = None
    left_s = max(0.001, deadline - time.monotonic())
    try:
        with clients.get(key.base_url).stream(
            method,
            f"{key.base_url}{path}",
            headers={"authorization": f"Bearer {secret}"},
            json=document,
            timeout=left_s,
        ) as response:
            status = response.status_code
            body = _body(response, deadline).replace(secret.encode("ascii"), "…".encode())
            return Reply(status, body, "", retry_after(response.headers, time.time()))
    except _UnusableError as error:
        return Reply(status, failure=without(str(error), secret))
    except zlib.error:
        return Reply(status, failure="the answer is not the gzip that it says")
    except httpx.TimeoutException:
        return Reply(None, failure=f"no answer from {key.base_url.netloc} in time")
    except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError, ValueError) as error:
        # Never the error's own text: it may repeat the header with the secret.
        return Reply(None, failure=f"{key.base_url.netloc}: {_failure_words(error)}")


def _body(response: httpx.Response, deadline: float) -> bytes:
    """The body, decompressed as far as it is read, at most `BODY_MAX` bytes."""
    import zlib

    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip"}:
        raise _UnusableError(f"the answer is compressed as {evidence(encoding)[:20]!r}")
    inflate = zlib.decompressobj(16 + zlib.MAX_WBITS) if "gzip" in encoding else None
    body = bytearray()
    for chunk in response.iter_raw():
        if time.monotonic() > deadline:
            raise _UnusableError("the answer takes too long")
        room = BODY_MAX + 1 - len(body)
        body += inflate.decompress(chunk, room) if inflate else chunk[:room]
        if len(body) > BODY_MAX:
            raise _UnusableError("the answer is larger than 1 MiB")
    return bytes(body)


def _failure_words(error: BaseException) -> str:
    """Words for a failed connection, taken from the system's error beneath httpx's."""
    import httpx

    seen: BaseException | None = error
    for _ in range(10):
        if seen is None:
            break
        words = connection_words(seen)
        if words:
            return words
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, httpx.ProxyError):
        return "the proxy in HTTPS_PROXY refused the connection"
    if isinstance(error, httpx.RemoteProtocolError):
        return "the connection ended before an HTTP answer"
    return "the connection failed"


__all__ = ["BODY_MAX", "Clients", "Reply", "obstacle", "send", "tls_context"]
