"""A fake Kimi API on loopback, for `kmi demo` and for the tests.

What is imitated: the shapes of the streamed and the plain chat answer, of ``/models``, of both
generations of ``/usages``, of the balance and of the search and fetch services, as the real
clients (kimi-cli 1.51.0, Kimi Code 2.1.0) accept them; and the texts of the errors. They come from
kimi-api.md 2 to 6. Nothing was checked against the live service, and what is
made up says so (*invented*). Nothing ever leaves this machine: the server binds 127.0.0.1.
"""

from __future__ import annotations

import argparse
import json
import socketserver
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

MODEL = "kimi-for-coding"
#: How much of a request body is kept: Kimi Code sends 84 KB for "hi".
BODY_KEPT = 4096
#: Bytes of a request body beyond which the connection is dropped.
BODY_LIMIT = 16 * 1024 * 1024

#: The texts of real answers: kimi-api.md 4, whose row numbers stand behind them.
QUOTA_CYCLE = (  # row 10
    "You've reached your usage limit for this billing cycle. Your quota will be refreshed in the "
    "next cycle. To continue now, purchase extra usage or upgrade your plan: "
    "https://www.kimi.com/code/#pricing"
)
QUOTA_PERIOD = "You've reached your usage limit for this period."  # row 8; the rest is not known
QUOTA_WEEK = "You've reached your weekly (7-day) usage limit."  # row 7; the rest is not known
INVALID_KEY = "The API Key appears to be invalid or may have expired."  # row 3
NO_MEMBERSHIP = "We're unable to verify your membership benefits at this time."  # row 5
CODING_AGENTS_ONLY = "Kimi For Coding is currently only available for Coding Agents"  # row 6
TOO_MANY_REQUESTS = (  # row 18
    "We're receiving too many requests at the moment. Please wait a moment and try again."
)
OVERLOADED = "The engine is currently overloaded, please try again later"  # row 19
NO_BALANCE = "You exceeded your current quota, please check your account balance"  # row 11


def error_body(message: str, type_: str) -> dict[str, Any]:
    """An error as the API wraps it."""
    return {"error": {"message": message, "type": type_}}


@dataclass(frozen=True)
class Behaviour:
    """How the fake answers one API key.

    Attributes:
        text: the answer of a successful chat.
        status: the status of chat answers; ``error`` is its body unless it is 200.
        headers: more headers of a failing chat answer, such as ``Retry-After``.
        failures: how many chat requests fail before they succeed; None: all.
        everywhere: the failure holds for every endpoint, as with a bad key.
        usages: the answer of ``/usages``; None: 404, as on the pay-as-you-go platform.
        balance: what ``/users/me/balance`` reports as available; None: 404, as on the plan.
        latency_s: seconds to wait before any answer.
        tool: a tool and its arguments that the model "calls" first; then it answers ``text``.
    """

    text: str = "Hello from the fake Kimi API."
    status: int = 200
    error: Mapping[str, Any] | str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    failures: int | None = None
    everywhere: bool = False
    usages: Mapping[str, Any] | None = field(default_factory=lambda: usage_windows())
    balance: float | None = None
    latency_s: float = 0.0
    tool: tuple[str, Mapping[str, Any]] | None = None


def quota_403(message: str = QUOTA_CYCLE, **more: Any) -> Behaviour:
    """A key whose quota is spent."""
    more.setdefault("usages", usage_windows(five_hours=1.0))
    return Behaviour(status=403, error=error_body(message, "access_terminated_error"), **more)


def rate_429(
    message: str = TOO_MANY_REQUESTS, *, retry_after: str | None = None, **more: Any
) -> Behaviour:
    """A key that is rate limited; a real answer with ``Retry-After`` is not known."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Behaviour(
        status=429,
        error=error_body(message, "rate_limit_reached_error"),
        headers=headers,
        **more,
    )


def invalid_401(message: str = INVALID_KEY, **more: Any) -> Behaviour:
    """A key that the service does not know."""
    error = error_body(message, "invalid_authentication_error")
    return Behaviour(status=401, error=error, everywhere=True, **more)


def payment_402(message: str = NO_MEMBERSHIP, **more: Any) -> Behaviour:
    """A key whose membership could not be verified."""
    error = error_body(message, "invalid_request_error")
    return Behaviour(status=402, error=error, everywhere=True, **more)


def server_5xx(status: int = 503, message: str = OVERLOADED, **more: Any) -> Behaviour:
    """A server at fault; the type is *invented*."""
    return Behaviour(status=status, error=error_body(message, "server_error"), **more)


def usage_windows(
    five_hours: float = 0.01,
    seven_days: float = 0.02,
    month: float = 0.03,
    *,
    generation: str = "both",
    resets_in: tuple[float, float, float] = (2 * 3600.0, 3 * 86400.0, 20 * 86400.0),
    now: float | None = None,
    user: str = "u-fake",
) -> dict[str, Any]:
    """The answer of ``/usages`` with these used shares.

    Args:
        five_hours: used share of the rolling window, 0.0 to 1.0.
        seven_days: of the week.
        month: of the month.
        generation: "old" (strings, no month), "new" (ratios), or "both", as the service mixes.
        resets_in: seconds from now to the resets of the three windows.
        now: the time these count from; the wall clock if None.
        user: the account; keys of one account share their limits.
    """
    start = time.time() if now is None else now
    at5, at7, at31 = (_rfc3339(start + seconds) for seconds in resets_in)
    row = {
        "window": {"duration": 300, "timeUnit": "TIME_UNIT_MINUTE"},
        "detail": _detail(five_hours, at5),
    }
    old = {
        "user": {"userId": user, "membership": {"level": "LEVEL_STANDARD"}},
        "usage": _detail(seven_days, at7),
        "limits": [row],
        "parallel": {"limit": "30"},
        "totalQuota": {},
        "subType": "TYPE_PURCHASE",
        "authentication": {"method": "METHOD_API_KEY", "scope": "FEATURE_CODING"},
    }
    new = {
        "usages": {
            "limit_5h": {"used_ratio": five_hours, "reset_time": at5},
            "limit_7d": {"used_ratio": str(seven_days), "reset_time": at7},
            "limit_month_total": {"used_ratio": month, "reset_time": at31},
        },
        "limits": [row],
    }
    shapes: dict[str, dict[str, Any]] = {"old": old, "new": new, "both": {**old, **new}}
    return shapes[generation]


def _detail(used: float, reset: str) -> dict[str, str]:
    spent = round(used * 100)
    return {"limit": "100", "used": str(spent), "remaining": str(100 - spent), "resetTime": reset}


def _rfc3339(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True)
class Request:
    """One request that reached the fake.

    Attributes:
        key: what followed ``Bearer``; "" without it. A secret only of the test's own making.
        prompt: what the user said in a chat request since the last answer, cut.
        body: the beginning of the body.
        at: seconds since the epoch.
        status: of the answer; 0 until it is known.
    """

    method: str
    path: str
    key: str
    headers: Mapping[str, str]
    body: str
    model: str = ""
    prompt: str = ""
    session: str = ""
    at: float = 0.0
    status: int = 0


class FakeKimi:
    """The server, as a context manager.

    >>> with FakeKimi({"sk-kimi-a": Behaviour(text="hi")}) as fake:
    ...     fake.base_url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(
        self,
        keys: Mapping[str, Behaviour] | None = None,
        *,
        port: int = 0,
        models: Sequence[str] = (MODEL,),
    ) -> None:
        self.models = tuple(models)
        self._keys = dict(keys or {})
        self._failed: dict[str, int] = {}
        self._requests: dict[int, Request] = {}
        self._count = 0
        self._lock = threading.Lock()
        self._port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    # The server's life.

    def __enter__(self) -> FakeKimi:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Listen on a free port of 127.0.0.1 and serve in a thread."""
        server = _Server(self, self._port)
        self._server, self._port = server, server.server_address[1]
        self._thread = threading.Thread(
            target=server.serve_forever,
            kwargs={"poll_interval": 0.02},
            name="fake-kimi",
            daemon=True,
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving and break what is still connected."""
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is not None and thread is not None:
            server.closing.set()
            server.shutdown()
            thread.join()
            server.server_close()

    @property
    def origin(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def base_url(self) -> str:
        """The base URL of the coding plan; requests go to ``{base_url}/chat/completions``."""
        return f"{self.origin}/coding/v1"

    @property
    def platform_url(self) -> str:
        """The base URL of the pay-as-you-go platform."""
        return f"{self.origin}/v1"

    # What it answers, and what it was asked.

    def set(self, key: str, behaviour: Behaviour) -> None:
        """Let a key behave so from now on."""
        with self._lock:
            self._keys[key] = behaviour
            self._failed.pop(key, None)

    @property
    def requests(self) -> list[Request]:
        """A copy of all requests so far, in order of arrival."""
        with self._lock:
            return list(self._requests.values())

    def clear(self) -> None:
        """Forget the requests so far."""
        with self._lock:
            self._requests.clear()

    def find(self, ending: str, *, key: str | None = None) -> list[Request]:
        """The requests to a path that ends so, of one key if it is given."""
        return [
            seen
            for seen in self.requests
            if seen.path.partition("?")[0].endswith(ending) and key in {None, seen.key}
        ]

    def chats(self, *, prompt: str | None = None) -> list[Request]:
        """The chat requests, of those whose prompt holds this text if it is given."""
        found = self.find("/chat/completions")
        return [seen for seen in found if prompt is None or prompt in seen.prompt]

    def chat_keys(self, *, prompt: str | None = None) -> list[str]:
        """The keys that chat requests came with, in order of arrival."""
        return [seen.key for seen in self.chats(prompt=prompt)]

    def wait_for_chats(self, count: int, timeout_s: float = 30.0) -> list[Request]:
        """Wait until so many chat requests have arrived.

        Raises:
            TimeoutError: with the number that did arrive.
        """
        deadline = time.monotonic() + timeout_s
        while len(found := self.chats()) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(found)} of {count} chat requests arrived")
            time.sleep(0.01)
        return found

    def _record(self, request: Request) -> int:
        with self._lock:
            self._count += 1
            self._requests[self._count] = request
            return self._count

    def _answered(self, index: int, status: int) -> None:
        with self._lock:
            if index in self._requests:
                self._requests[index] = replace(self._requests[index], status=status)

    def _behaviour(self, key: str) -> Behaviour:
        with self._lock:
            return self._keys.get(key) or invalid_401()

    def _fails(self, key: str, behaviour: Behaviour, *, chat: bool) -> bool:
        if behaviour.status == 200 or not (chat or behaviour.everywhere):
            return False
        if behaviour.failures is None or not chat:
            return True
        with self._lock:
            self._failed[key] = self._failed.get(key, 0) + 1
            return self._failed[key] <= behaviour.failures


class _Server(socketserver.ThreadingMixIn, HTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, fake: FakeKimi, port: int) -> None:
        self.fake = fake
        self.closing = threading.Event()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's: that one asks the resolver for the name of 127.0.0.1.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        me = threading.current_thread()
        with self._open_lock:
            self._open[me] = request
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._open_lock:
                self._open.pop(me, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: a client that went away is no news here."""

    def server_close(self) -> None:
        super().server_close()
        with self._open_lock:
            still = dict(self._open)
        for connection in still.values():
            with suppress(OSError):
                connection.shutdown(2)
        for thread in still:
            thread.join(timeout=2.0)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "fake-kimi"
    sys_version = ""
    wbufsize = 64 * 1024
    server: _Server
    index = 0

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_LIMIT or self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            self._send_json(411, error_body("needs a Content-Length", "invalid_request_error"))
            return
        raw = self.rfile.read(length)
        body = _parsed(raw)
        scheme, _, key = (self.headers.get("Authorization") or "").partition(" ")
        key = key.strip() if scheme.lower() == "bearer" else ""
        fake = self.server.fake
        self.index = fake._record(
            Request(
                method=self.command,
                path=self.path,
                key=key,
                headers={name.lower(): value for name, value in self.headers.items()},
                body=raw[:BODY_KEPT].decode("utf-8", "replace"),
                model=str(body.get("model", "")),
                prompt=_last_prompt(body),
                session=str(body.get("prompt_cache_key", "")),
                at=time.time(),
            )
        )
        behaviour = fake._behaviour(key)
        if behaviour.latency_s:
            self.server.closing.wait(behaviour.latency_s)
        path = self.path.partition("?")[0]
        chat = path.endswith("/chat/completions")
        if not path.startswith(("/coding/v1/", "/v1/")):
            self._not_found()
        elif fake._fails(key, behaviour, chat=chat):
            self._send_error_of(behaviour)
        elif chat and self.command == "POST":
            self._chat(behaviour, body)
        else:
            self._other(behaviour, path)

    def _other(self, behaviour: Behaviour, path: str) -> None:
        plan = path.startswith("/coding/")
        call = (self.command, path.split("/v1", 1)[1])
        if call == ("GET", "/models"):
            self._send_json(200, _models(self.server.fake.models))
        elif call == ("GET", "/usages") and plan and behaviour.usages is not None:
            self._send_json(200, behaviour.usages)
        elif call == ("GET", "/users/me/balance") and behaviour.balance is not None:
            self._send_json(200, _balance(behaviour.balance))
        elif call == ("POST", "/search"):
            self._send_json(200, {"search_results": [_SEARCH_RESULT]})
        elif call == ("POST", "/fetch"):
            self._send(200, b"# A page\n\nFetched by the fake.\n", "text/markdown; charset=utf-8")
        elif call in {("GET", "/me"), ("POST", "/client_configs"), ("POST", "/resource_configs")}:
            self._send_json(200, {})  # invented: the clients live with an empty answer
        else:
            self._not_found()

    def _chat(self, behaviour: Behaviour, body: Mapping[str, Any]) -> None:
        model = str(body.get("model", MODEL))
        message, finish = _message(behaviour, body)
        head = {"id": f"chatcmpl-fake-{self.index}", "created": int(time.time()), "model": model}
        # Invented numbers, as constant as a test wants them.
        usage = {
            "prompt_tokens": 12,
            "completion_tokens": 5,
            "total_tokens": 17,
            "cached_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": 4},
        }
        if not body.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": finish}
            answer = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
            self._send_json(200, answer)
            return
        self._begin(200, "text/event-stream; charset=utf-8", {"Transfer-Encoding": "chunked"})
        head["object"] = "chat.completion.chunk"
        for delta, end, spent in (
            ({"role": "assistant", "content": ""}, None, None),
            (_as_delta(message), None, None),
            ({}, finish, usage),
        ):
            choice = {"index": 0, "delta": delta, "finish_reason": end}
            # The service puts the usage into the last choice as well: kimi-api.md 2.
            extra = {} if spent is None else {"usage": spent}
            self._event({**head, "choices": [{**choice, **extra}], **extra})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _event(self, value: Mapping[str, Any]) -> None:
        self._chunk(b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _send_error_of(self, behaviour: Behaviour) -> None:
        if isinstance(behaviour.error, str):
            data, kind = behaviour.error.encode(), "text/plain; charset=utf-8"
        else:
            data, kind = json.dumps(behaviour.error).encode(), "application/json"
        self._send(behaviour.status, data, kind, behaviour.headers)

    def _not_found(self) -> None:
        self._send_json(404, error_body("method not found", "resource_not_found_error"))

    def _send_json(self, status: int, value: Mapping[str, Any]) -> None:
        self._send(status, json.dumps(value, ensure_ascii=False).encode(), "application/json")

    def _send(
        self, status: int, data: bytes, kind: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self._begin(status, kind, {"Content-Length": str(len(data)), **(headers or {})})
        self.wfile.write(data)
        self.wfile.flush()

    def _begin(self, status: int, kind: str, headers: Mapping[str, str]) -> None:
        self.server.fake._answered(self.index, status)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _last_prompt(body: Mapping[str, Any]) -> str:
    """What the user said since the last answer; clients add reminders of their own to it."""
    messages = body.get("messages")
    said: list[str] = []
    for message in reversed(messages if isinstance(messages, list) else []):
        if not isinstance(message, dict):
            continue
        if message.get("role") == "assistant" and not message.get("tool_calls"):
            break
        if message.get("role") == "user":
            said.insert(0, _text_of(message.get("content"))[:BODY_KEPT])
    return "\n".join(said)


def _text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def _message(behaviour: Behaviour, body: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    messages = body.get("messages")
    called = any(
        isinstance(message, dict) and message.get("role") == "tool"
        for message in (messages if isinstance(messages, list) else [])
    )
    if behaviour.tool is None or called:
        return {"role": "assistant", "content": behaviour.text}, "stop"
    name, arguments = behaviour.tool
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"id": "call_fake_0", "type": "function", "function": function}
    return {"role": "assistant", "content": "", "tool_calls": [call]}, "tool_calls"


def _as_delta(message: Mapping[str, Any]) -> dict[str, Any]:
    delta = {name: value for name, value in message.items() if name != "role"}
    if "tool_calls" in delta:
        delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(delta["tool_calls"])]
    return delta


def _models(names: Sequence[str]) -> dict[str, Any]:
    rows = [
        {
            "id": name,
            "object": "model",
            "created": 1760000000,
            "owned_by": "fake",
            "context_length": 262144,
            "display_name": name,
            "supports_reasoning": True,
            "supports_image_in": True,
            "supports_video_in": False,
        }
        for name in names
    ]
    return {"object": "list", "data": rows}


def _balance(available: float) -> dict[str, Any]:
    money = {"available_balance": available, "voucher_balance": 0.0, "cash_balance": available}
    return {"code": 0, "data": money, "scode": "0x0", "status": True}


_SEARCH_RESULT = {
    "site_name": "Fake",
    "title": "A result of the fake",
    "url": "http://127.0.0.1/result",
    "snippet": "Found by the fake.",
    "content": "",
    "date": "",
    "icon": "",
    "mime": "text/html",
}

#: What ``--key SECRET=NAME`` accepts.
SCRIPTS: dict[str, Callable[[], Behaviour]] = {
    "ok": Behaviour,
    "quota": quota_403,
    "rate": rate_429,
    "invalid": invalid_401,
    "payment": payment_402,
    "server": server_5xx,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until standard input ends or Ctrl-C, after one JSON line with the base URL."""
    parser = argparse.ArgumentParser(prog="python -m kmi.demo.fake_api", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--key", action="append", default=[], metavar="SECRET=SCRIPT", help=", ".join(SCRIPTS)
    )
    options = parser.parse_args(argv)
    keys = {}
    for item in options.key:
        secret, _, script = item.rpartition("=")
        if not secret or script not in SCRIPTS:
            parser.error(f"--key needs SECRET=SCRIPT with one of: {', '.join(SCRIPTS)}")
        keys[secret] = SCRIPTS[script]()
    with FakeKimi(keys, port=options.port) as fake, suppress(KeyboardInterrupt):
        sys.stdout.write(json.dumps({"base_url": fake.base_url}) + "\n")
        sys.stdout.flush()
        while sys.stdin.readline():
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
