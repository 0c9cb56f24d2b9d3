"""What the tests of the relay drive: a scripted upstream, a raw client, and the real proxy.

All three speak in bytes. The upstream plays one script for each request; a script sends, waits for
an event of the test, resets, closes, or hangs. Nothing here knows kmi, but for how it is started.
"""

from __future__ import annotations

import json
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from tests.conftest import Process, World

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

#: What hangs for so long has failed.
LIMIT_S = 20.0
TOKEN = "test-Token_" + "t0k3n" * 8
BASE = "/kmi-rotor/v1"
CHAT = f"{BASE}/chat/completions"
#: The answer of an upstream without a script.
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
QUOTA = json.dumps(
    {"error": {"type": "access_terminated_error", "message": "Weekly (7-day) usage limit reached"}}
).encode()
_RESET = struct.pack("ii", 1, 0)


class Seen(NamedTuple):
    """A request as it reached the upstream, and on which of its connections."""

    head: bytes
    body: bytes
    connection: int

    @property
    def line(self) -> bytes:
        """The request line."""
        return self.head.partition(b"\r\n")[0]

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """The header, in order, names as they came."""
        lines = self.head.split(b"\r\n")[1:-2]
        return [(line.partition(b":")[0], line.partition(b":")[2].strip()) for line in lines]

    def get(self, name: bytes) -> bytes | None:
        """The value of a header that is there at most once."""
        values = [value for found, value in self.fields if found.lower() == name]
        assert len(values) <= 1, values
        return values[0] if values else None


class Link:
    """What a script does with one request.

    Attributes:
        head: of the request.
        go_on: what `Upstream.go_on` sets.
        ended_at: `Upstream.ended_at`.
        over: the connection has ended.
    """

    def __init__(
        self, upstream: Upstream, own: socket.socket, head: bytes, keep: Callable[[bytes], None]
    ) -> None:
        self.head = head
        self.go_on = upstream.gate
        self.ended_at = upstream.ended_at
        self._keep = keep
        self.over = False
        self._socket = own
        self._body: bytes | None = None

    def body(self) -> bytes:
        """The request's body, read to its end."""
        if self._body is None:
            match = re.search(rb"\r\ncontent-length: *([0-9]+)\r\n", self.head, re.IGNORECASE)
            assert b"transfer-encoding" not in self.head.lower()
            self._body = self.read(int(match[1]) if match else 0)
            self._keep(self._body)
        return self._body

    def forget_body(self) -> None:
        """The script read as much of the body as it wanted."""
        self._body = b""

    def read(self, count: int) -> bytes:
        """So many bytes, or what came before the end."""
        data = bytearray()
        while len(data) < count:
            part = self._socket.recv(min(count - len(data), 1 << 20))
            if not part:
                break
            data += part
        return bytes(data)

    def send(self, *parts: bytes) -> None:
        """Send each part with a call of its own."""
        for part in parts:
            self._socket.sendall(part)

    def close(self) -> None:
        """End the connection in order."""
        self.over = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def reset(self) -> None:
        """End the connection with a reset."""
        self.over = True
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._socket.close()

    def gone(self) -> float:
        """Wait until the other side ended the connection; when that was seen (monotonic)."""
        try:
            while self._socket.recv(65536):
                pass
        except ConnectionError:
            pass
        self.over = True
        return time.monotonic()


Script = Callable[[Link], object]


def sends(*parts: bytes) -> Script:
    """A script: read the whole request, then send."""

    def play(link: Link) -> None:
        link.body()
        link.send(*parts)

    return play


def hangs(link: Link) -> None:
    """A script: read the request and say nothing until the other side ends it."""
    link.body()
    link.gone()


def closes(link: Link) -> None:
    """A script: read the request and end."""
    link.body()
    link.close()


def resets(link: Link) -> None:
    """A script: read the request and reset."""
    link.body()
    link.reset()


def answer(
    body: bytes, *fields: bytes, status: bytes = b"200 OK", kind: bytes = b"application/json"
) -> bytes:
    """A whole answer with a length."""
    lines = [b"HTTP/1.1 " + status, b"Content-Type: " + kind, *fields]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    """A body in these chunks."""
    parts = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return b"".join([*parts, b"0\r\n", trailers, b"\r\n"])


CHUNKED_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


class Upstream:
    """A server that does as it is told.

    Attributes:
        scripts: for the next requests, in the order in which their heads come.
        default: for those after.
        seen: the requests.
        connections: how many were made.
        gate: what scripts wait for.
        ended_at: for scripts: when they saw the other side go (monotonic).
        errors: what went wrong in scripts.
    """

    def __init__(self, wrap: Callable[[socket.socket], socket.socket] | None = None) -> None:
        self.scripts: deque[Script] = deque()
        self.default: Script = sends(OK)
        self.seen: list[Seen] = []
        self.connections = 0
        self.gate = threading.Event()
        self.ended_at: list[float] = []
        self.errors: list[BaseException] = []
        self._wrap = wrap
        self._lock = threading.Lock()
        self._generation = 0
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def base_url(self) -> str:
        """Of the keys."""
        scheme = "http" if self._wrap is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}/coding/v1"

    def close(self) -> None:
        """Stop listening, and end all connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for own in list(self._open):
            with suppress(OSError):
                own.shutdown(socket.SHUT_RDWR)

    def clear(self) -> None:
        """Forget what was seen, and what was to be played."""
        self.scripts.clear()
        with self._lock:
            self._generation += 1
            self.seen = []
        self.gate = threading.Event()
        self.ended_at = []
        self.default = sends(OK)

    def go_on(self) -> None:
        """Let the scripts go on that wait for it."""
        self.gate.set()

    def play(self, *scripts: Script) -> None:
        """Set the scripts of the next requests."""
        self.scripts.extend(scripts)

    def wait_for(self, count: int) -> None:
        """Wait until so many requests were seen."""
        until(lambda: len(self.seen) >= count)

    def _accept(self) -> None:
        while True:
            try:
                own, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(own, self.connections), daemon=True).start()

    def _serve(self, own: socket.socket, number: int) -> None:
        own.settimeout(LIMIT_S * 3)
        # Without it a second small write waits for the first one's acknowledgement.
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._wrap is not None:
                own = self._wrap(own)
            self._open.add(own)
            rest = b""
            while True:
                head, rest = _head(own, rest)
                if not head:
                    return
                assert not rest or b"content-length" in head.lower()
                link = self._link(_Prefixed(own, rest), number, head)  # type: ignore[arg-type]  # a reader
                rest = b""
                script = self.scripts.popleft() if self.scripts else self.default
                script(link)
                if link.over:
                    return
                link.body()
        except OSError:
            pass
        except BaseException as error:  # noqa: BLE001 - it is the test's to know
            self.errors.append(error)
        finally:
            self._open.discard(own)
            own.close()

    def _link(self, own: socket.socket, number: int, head: bytes) -> Link:
        with self._lock:
            index, generation = len(self.seen), self._generation
            self.seen.append(Seen(head, b"", number))

        def keep(body: bytes) -> None:
            with self._lock:
                if generation == self._generation:
                    self.seen[index] = self.seen[index]._replace(body=body)

        return Link(self, own, head, keep)


class _Prefixed:
    """A socket of which some bytes were read already."""

    def __init__(self, own: socket.socket, data: bytes) -> None:
        self._own = own
        self._data = data

    def recv(self, count: int) -> bytes:
        if self._data:
            part, self._data = self._data[:count], self._data[count:]
            return part
        return self._own.recv(count)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)


def _head(own: socket.socket, data: bytes) -> tuple[bytes, bytes]:
    while b"\r\n\r\n" not in data:
        part = own.recv(65536)
        if not part:
            return b"", b""
        data += part
    end = data.index(b"\r\n\r\n") + 4
    return data[:end], data[end:]


def until(condition: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    """Wait for something that must come; how long it takes is not judged."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.005)


class Answer(NamedTuple):
    """An answer as the client got it; ``body`` is framed as it came."""

    head: bytes
    body: bytes

    @property
    def status(self) -> int:
        """The number."""
        return int(self.head.split(b" ", 2)[1])

    def get(self, name: bytes) -> bytes | None:
        """The value of a header that is there at most once."""
        return Seen(self.head, b"", 0).get(name)

    @property
    def document(self) -> dict[str, Any]:
        """A body of JSON with a length."""
        table = json.loads(self.body)
        assert isinstance(table, dict)
        return table


class Wire:
    """A client that writes and reads bytes."""

    def __init__(self, port: int, *, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(LIMIT_S)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> Wire:
        """Send each part with a call of its own."""
        for part in parts:
            self.socket.sendall(part)
        return self

    def read(self, count: int) -> bytes:
        """Exactly so many bytes."""
        while len(self._data) < count:
            part = self.socket.recv(65536)
            assert part, f"ended after {self._data!r}"
            self._data += part
        found, self._data = self._data[:count], self._data[count:]
        return found

    def read_past(self, mark: bytes) -> bytes:
        """All up to a mark, with it."""
        while mark not in self._data:
            part = self.socket.recv(65536)
            assert part, f"ended after {self._data[-500:]!r}"
            self._data += part
        return self.read(self._data.index(mark) + len(mark))

    def head(self) -> bytes:
        """The head of an answer."""
        return self.read_past(b"\r\n\r\n")

    def answer(self, *, method: bytes = b"POST") -> Answer:
        """The next answer, which must have a length, chunks, or no body."""
        head = self.head()
        status = int(head.split(b" ", 2)[1])
        found = Answer(head, b"")
        if method == b"HEAD" or status in (204, 304):
            return found
        if found.get(b"transfer-encoding") == b"chunked":
            return Answer(head, self._chunked())
        length = found.get(b"content-length")
        assert length is not None, head
        return Answer(head, self.read(int(length)))

    def _chunked(self) -> bytes:
        body = b""
        while True:
            line = self.read_past(b"\r\n")
            body += line
            size = int(line, 16)
            if not size:
                break
            body += self.read(size + 2)
        while not body.endswith(b"\r\n\r\n"):
            body += self.read_past(b"\r\n")
        return body

    def rest(self) -> tuple[bytes, str]:
        """All that still comes, and how it ends: "end" in order, or "reset"."""
        data, self._data = bytearray(self._data), b""
        while True:
            try:
                part = self.socket.recv(1 << 20)
            except ConnectionResetError:
                return bytes(data), "reset"
            if not part:
                return bytes(data), "end"
            data += part

    def readable(self) -> bool:
        """Whether something waits to be read, or the end."""
        return bool(select.select([self.socket], [], [], 0)[0])

    def reset(self) -> None:
        """Go away without a word."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.socket.close()


class Proxy:
    """A proxy in the foreground, as a process of its own.

    Attributes:
        world: its home.
        port, token: where and how it is asked.
        process: the process.
    """

    def __init__(
        self,
        world: World,
        *,
        command: list[str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.world = world
        self.token = TOKEN
        world.env.update(
            {"KMI_PROXY_LISTEN": "127.0.0.1:0", "KMI_PROXY_TOKEN": TOKEN, "KMI_UPSTREAM_BASE_URL":
             "http://127.0.0.1:9/coding/v1", **(env or {})}
        )  # fmt: skip
        self._wires: list[Wire] = []
        self.errors_path = world.root / "proxy.err"
        self.process: Process
        with open(self.errors_path, "ab") as errors:
            if command is None:
                words = ("proxy", "start", "--foreground")
                self.process = world.start(*words, stdout=errors, stderr=errors)
            else:
                self.process = subprocess.Popen(
                    command,
                    cwd=world.cwd,
                    env=world.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                )
        self.port = self._listening_port()

    def _listening_port(self) -> int:
        record = self.world.state / "proxy.json"
        deadline = time.monotonic() + LIMIT_S
        while True:
            with suppress(OSError, ValueError):
                table = json.loads(record.read_bytes())
                if table["pid"] == self.process.pid:
                    return int(table["port"])
            assert self.process.poll() is None, self.errors
            assert time.monotonic() < deadline, self.errors
            time.sleep(0.01)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for wire in self._wires:
            wire.socket.close()
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            if kind is None:
                raise
        if kind is None:
            # A bug is told once, and goes on to serve: it must not hide in a log.
            assert "proxy-bug" not in self.errors, self.errors
            assert "keeper-failed" not in self.errors or "bug" not in self.errors, self.errors
            assert "Traceback" not in self.errors, self.errors

    @property
    def errors(self) -> str:
        """What it said on stderr."""
        return self.errors_path.read_text(encoding="utf-8", errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """The records of ``logs/kmi.jsonl`` with this event."""
        path: Path = self.world.state / "logs" / "kmi.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [record for record in map(json.loads, lines) if record["event"] == name]

    def wire(self, *, receive_buffer: int = 0) -> Wire:
        """A connection; it is closed with the proxy at the latest."""
        wire = Wire(self.port, receive_buffer=receive_buffer)
        self._wires.append(wire)
        return wire

    def request(
        self,
        *fields: bytes,
        body: bytes | None = b"{}",
        line: bytes = b"POST " + CHAT.encode() + b" HTTP/1.1",
        host: bytes | None = None,
        auth: bytes | None = None,
    ) -> bytes:
        """A request with a good host and token, unless told otherwise."""
        host = host if host is not None else b"Host: 127.0.0.1:%d" % self.port
        auth = auth if auth is not None else b"Authorization: Bearer " + self.token.encode()
        lines = [line, *filter(None, [host, auth]), *fields]
        if body is not None:
            lines.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join([*lines, b"", body or b""])

    def ask(self, data: bytes, *, method: bytes = b"POST") -> Answer:
        """Send a request on a connection of its own; its whole answer."""
        with self.wire() as wire:
            return wire.send(data).answer(method=method)

    def memory_kib(self, name: str = "VmRSS") -> int:
        """Its memory, or with VmHWM the most that it had since `forget_peak`."""
        with open(f"/proc/{self.process.pid}/status") as file:
            match = re.search(name + r":\s+([0-9]+) kB", file.read())
        assert match
        return int(match[1])

    def forget_peak(self) -> int:
        """Begin to measure: the memory of now."""
        with open(f"/proc/{self.process.pid}/clear_refs", "w") as file:
            file.write("5")
        return self.memory_kib()

    def trace(self) -> list[dict[str, Any]]:
        """The records of finished requests; they come a moment after the answer."""
        return [record for record in self.world.records("trace.jsonl")
                if record["event"] == "request"]  # fmt: skip


@contextmanager
def running(
    root: Path,
    *labels: str,
    rotate: bool = True,
    command: list[str] | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """A world with keys on one scripted upstream, and a proxy in front of them."""
    world = World(root)
    with Upstream() as upstream:
        for label in labels or ("one",):
            world.add_key(label, UPSTREAM_BASE_URL=upstream.base_url)
        settings = {"KMI_AUTO_ROTATE_ALLOWED": "1" if rotate else "0", **(env or {})}
        with Proxy(world, command=command, env=settings) as proxy:
            yield Running(world, upstream, proxy)
        assert upstream.errors == []


def until_held(world: World, label: str) -> dict[str, Any]:
    """The hold of a key in ``state.json``, once it is there."""
    holds: list[dict[str, Any]] = []

    def look() -> bool:
        keys = world.saved_state().get("keys", {})
        holds[:] = [x["hold"] for x in keys.values() if x.get("label") == label and x.get("hold")]
        return bool(holds)

    until(look)
    return holds[0]


class Running(NamedTuple):
    """A world, its upstream, its proxy."""

    world: World
    upstream: Upstream
    proxy: Proxy


def own_words(code: str) -> list[str]:
    """A command line that runs this code with kmi on its path."""
    return [sys.executable, "-c", code]
