"""What the proxy is measured with: an upstream, other relays, and a load, each its own process.

nginx is the upstream, and one worker of it is the relay to compare to; wrk is the load. What a
plain Python program costs that does the same, shows a relay of asyncio's streams and h11: this
module, started as a program.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Where the API is, upstream and at the relays.
UPSTREAM_PATH, RELAY_PATH = "/coding/v1", "/kmi-rotor/v1"
CHAT = "/chat/completions"
TOKEN = "bench-token-0123456789-0123456789-0123456789"
SECRET = "sk-kimi-bench-0000-0123456789abcdef"

#: A chat answer of about 500 bytes.
ANSWER = json.dumps(
    {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion",
        "model": "kimi-for-coding",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "lorem ipsum dolor sit " * 11},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1200, "completion_tokens": 60, "cached_tokens": 1024},
    },
    separators=(",", ":"),
)

_NGINX = """\
daemon off; master_process off; pid {prefix}/pid; error_log /dev/null crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; tcp_nodelay on; default_type application/json;
  keepalive_requests 1000000000; client_max_body_size 64m; client_body_buffer_size 512k;
  client_body_temp_path {prefix}/body; proxy_temp_path {prefix}/proxy;
  fastcgi_temp_path {prefix}/fastcgi; uwsgi_temp_path {prefix}/uwsgi;
  scgi_temp_path {prefix}/scgi;
  {site}
}}
"""
_AS_UPSTREAM = "server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{answer}'; }} }}"
_AS_RELAY = """\
upstream behind {{
    server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port};
    location {relay}/ {{
      proxy_pass http://behind{path}/; proxy_http_version 1.1; proxy_buffering off;
      proxy_set_header Connection ""; proxy_set_header Authorization "Bearer {secret}";
    }}
  }}
"""
# Bodies are made once; the session's name is at their end, where clients put it.
_LUA = """\
local requests, turn = {}, 0
function init()
  local sessions, size = tonumber(os.getenv("SESSIONS")), tonumber(os.getenv("SIZE"))
  local headers = {["Content-Type"] = "application/json",
                   ["Authorization"] = "Bearer " .. os.getenv("TOKEN")}
  for i = 1, sessions do
    local head = '{"model":"kimi-for-coding","messages":[{"role":"user","content":"'
    local tail = '"}],"prompt_cache_key":"session-' .. i .. '"}'
    local body = head .. string.rep("lorem ", size / 6):sub(1, size - #head - #tail) .. tail
    requests[i] = wrk.format("POST", wrk.path, headers, body)
  end
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\\n{"requests": %d, "seconds": %f, "p50_s": %f, "errors": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class Relay(NamedTuple):
    """A process that answers, and where."""

    name: str
    pid: int
    port: int
    path: str

    def cpu_s(self) -> float:
        """The processor time that it has used, all threads together."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def rss_mib(self) -> float:
        """Its resident memory."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


class Load(NamedTuple):
    """What wrk measured."""

    requests: int
    seconds: float
    p50_s: float
    errors: int

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def nginx_binary() -> str | None:
    """Where nginx is; Debian puts it where only root looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def wrk(
    relay: Relay, folder: Path, *, connections: int, size: int, seconds: int, sessions: int = 1
) -> Load:
    """Put load on a relay, from this process's core.

    Raises:
        SystemExit: a request failed.
    """
    script = folder / "load.lua"
    script.write_text(_LUA)
    url = f"http://127.0.0.1:{relay.port}{relay.path}{CHAT}"
    env = {
        "PATH": os.environ["PATH"],
        "SIZE": str(size),
        "SESSIONS": str(sessions),
        "TOKEN": TOKEN,
    }
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    load = Load(**json.loads(done.stdout.splitlines()[-1]))
    if load.errors or not load.requests:
        raise SystemExit(f"{relay.name}: {load.errors} of {load.requests} requests failed")
    return load


@contextmanager
def process(
    words: Sequence[str], env: Mapping[str, str], core: int, *, stdout: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[str]]:
    """A process on one core, ended with SIGTERM."""
    started = subprocess.Popen(
        words, env=dict(env), stdout=stdout, stderr=subprocess.DEVNULL, text=True
    )
    try:
        os.sched_setaffinity(started.pid, {core})
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextmanager
def nginx_upstream(folder: Path, core: int) -> Iterator[Relay]:
    """One worker that answers every request with `ANSWER`."""
    port = free_port()
    site = _AS_UPSTREAM.format(port=port, answer=ANSWER)
    with _nginx(folder / "upstream", site, core) as pid:
        yield _when_it_listens(Relay("direct", pid, port, UPSTREAM_PATH))


@contextmanager
def nginx_relay(folder: Path, upstream: int, core: int) -> Iterator[Relay]:
    """One worker that does what the proxy does, but for keys."""
    port = free_port()
    site = _AS_RELAY.format(
        port=port, upstream=upstream, relay=RELAY_PATH, path=UPSTREAM_PATH, secret=SECRET
    )
    with _nginx(folder / f"relay-{upstream}", site, core) as pid:
        yield _when_it_listens(Relay("nginx", pid, port, RELAY_PATH))


@contextmanager
def _nginx(prefix: Path, site: str, core: int) -> Iterator[int]:
    prefix.mkdir()
    conf = prefix / "nginx.conf"
    conf.write_text(_NGINX.format(prefix=prefix, site=site))
    words = [str(nginx_binary()), "-p", str(prefix), "-c", str(conf), "-e", "/dev/null"]
    with process(words, {"PATH": "/usr/bin:/bin"}, core) as started:
        yield started.pid


@contextmanager
def h11_relay(upstream: int, core: int) -> Iterator[Relay]:
    """The relay of this module, as a process."""
    words = [sys.executable, "-m", __spec__.name, str(upstream)]
    with process(words, os.environ, core, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        port = int(started.stdout.readline())
        yield Relay("h11", started.pid, port, RELAY_PATH)


@contextmanager
def kmi_relay(words: Sequence[str], env: Mapping[str, str], core: int) -> Iterator[Relay]:
    """The proxy in the foreground; it says where it listens as soon as it does.

    Raises:
        SystemExit: it does not start.
    """
    with process(words, env, core, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        line = started.stdout.readline().strip()
        if not line.startswith("http://127.0.0.1:"):
            raise SystemExit(f"the proxy did not start: {' '.join(words)}")
        yield Relay("kmi", started.pid, int(line.split(":")[2].split("/")[0]), RELAY_PATH)


def free_port() -> int:
    """A port that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _when_it_listens(relay: Relay) -> Relay:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", relay.port), 1.0).close()
        except OSError:
            time.sleep(0.01)
        else:
            return relay
    raise SystemExit(f"{relay.name} does not listen")


# The relay of asyncio's streams and h11.


async def _relay(upstream: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one client with a connection of its own to the upstream."""
    import h11

    client = h11.Connection(h11.SERVER)
    up_reader, up_writer = await asyncio.open_connection("127.0.0.1", upstream)
    server = h11.Connection(h11.CLIENT)
    try:
        while True:
            if not await _pass_on(client, reader, server, up_writer, _to_upstream):
                return
            if not await _pass_on(server, up_reader, client, writer, lambda event: event):
                return
            client.start_next_cycle()
            server.start_next_cycle()
    except (OSError, h11.ProtocolError):
        return
    finally:
        writer.close()
        up_writer.close()


async def _pass_on(
    source: Any,
    reader: asyncio.StreamReader,
    target: Any,
    writer: asyncio.StreamWriter,
    change: Any,
) -> bool:
    """One message; False when the connection ended instead."""
    import h11

    while True:
        event = source.next_event()
        if event is h11.NEED_DATA:
            source.receive_data(await reader.read(65536))
        elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
            return False
        else:
            writer.write(target.send(change(event)))
            await writer.drain()
            if isinstance(event, h11.EndOfMessage):
                return True


def _to_upstream(event: Any) -> Any:
    """A request's head with the other path, host and key."""
    import h11

    if not isinstance(event, h11.Request):
        return event
    kept = [(n, v) for n, v in event.headers if n not in {b"host", b"authorization"}]
    own = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {SECRET}".encode())]
    target = event.target.replace(RELAY_PATH.encode(), UPSTREAM_PATH.encode(), 1)
    return h11.Request(method=event.method, target=target, headers=own + kept)


async def _serve(upstream: int) -> None:
    server = await asyncio.start_server(
        lambda reader, writer: _relay(upstream, reader, writer), "127.0.0.1", 0, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
