"""The HTTP side of the fake API: one thread per connection, on loopback only."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

from kmi.demo.answers import (
    BODY_KEPT,
    SEARCH_RESULT,
    as_delta,
    balance,
    chat_message,
    last_prompt,
    models,
    parsed,
)
from kmi.demo.behaviours import error_body
from kmi.demo.requests import Request

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from kmi.demo.behaviours import Behaviour
    from kmi.demo.fake_api import FakeKimi

MODEL = "kimi-for-coding"
#: Bytes of a request body beyond which the connection is dropped.
BODY_LIMIT = 16 * 1024 * 1024


class Server(socketserver.ThreadingMixIn, HTTPServer):
    """The listener; it belongs to one fake."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, fake: FakeKimi, port: int) -> None:
        self.fake = fake
        self.closing = threading.Event()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), Handler)

    def server_bind(self) -> None:
        """Bind without asking the resolver for the name of 127.0.0.1, as HTTPServer would."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, and know that it is open."""
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
        """Close every connection and wait for their threads."""
        super().server_close()
        with self._open_lock:
            still = dict(self._open)
        for connection in still.values():
            with suppress(OSError):
                connection.shutdown(2)
        for thread in still:
            thread.join(timeout=2.0)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "fake-kimi"
    sys_version = ""
    wbufsize = 64 * 1024
    server: Server
    index = 0

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        """Answer a GET."""
        self._handle()

    def do_POST(self) -> None:
        """Answer a POST."""
        self._handle()

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_LIMIT or self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            self._send_json(411, error_body("needs a Content-Length", "invalid_request_error"))
            return
        raw = self.rfile.read(length)
        body = parsed(raw)
        scheme, _, key = (self.headers.get("Authorization") or "").partition(" ")
        key = key.strip() if scheme.lower() == "bearer" else ""
        fake = self.server.fake
        self.index = fake.record(
            Request(
                method=self.command,
                path=self.path,
                key=key,
                headers={name.lower(): value for name, value in self.headers.items()},
                body=raw[:BODY_KEPT].decode("utf-8", "replace"),
                model=str(body.get("model", "")),
                prompt=last_prompt(body),
                session=str(body.get("prompt_cache_key", "")),
                at=time.time(),
            )
        )
        behaviour = fake.behaviour(key)
        if behaviour.latency_s:
            self.server.closing.wait(behaviour.latency_s)
        path = self.path.partition("?")[0]
        chat = path.endswith("/chat/completions")
        if not path.startswith(("/coding/v1/", "/v1/")):
            self._not_found()
        elif fake.fails(key, behaviour, chat=chat):
            self._send_error_of(behaviour)
        elif chat and self.command == "POST":
            self._chat(behaviour, body)
        else:
            self._other(behaviour, path)

    def _other(self, behaviour: Behaviour, path: str) -> None:
        plan = path.startswith("/coding/")
        call = (self.command, path.split("/v1", 1)[1])
        if call == ("GET", "/models"):
            self._send_json(200, models(self.server.fake.models))
        elif call == ("GET", "/usages") and plan and behaviour.usages is not None:
            self._send_json(200, behaviour.usages)
        elif call == ("GET", "/users/me/balance") and behaviour.balance is not None:
            self._send_json(200, balance(behaviour.balance))
        elif call == ("POST", "/search"):
            self._send_json(200, {"search_results": [SEARCH_RESULT]})
        elif call == ("POST", "/fetch"):
            self._send(200, b"# A page\n\nFetched by the fake.\n", "text/markdown; charset=utf-8")
        elif call in {("GET", "/me"), ("POST", "/client_configs"), ("POST", "/resource_configs")}:
            self._send_json(200, {})  # invented: the clients live with an empty answer
        else:
            self._not_found()

    def _chat(self, behaviour: Behaviour, body: Mapping[str, Any]) -> None:
        model = str(body.get("model", MODEL))
        message, finish = chat_message(behaviour, body)
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
            (as_delta(message), None, None),
            ({}, finish, usage),
        ):
            choice = {"index": 0, "delta": delta, "finish_reason": end}
            # The service puts the usage into the last choice as well: upstream.md.
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
        if behaviour.in_stream and not isinstance(behaviour.error, str):
            self._begin(200, "text/event-stream; charset=utf-8", {"Transfer-Encoding": "chunked"})
            self._event(behaviour.error)
            self._chunk(b"")
            return
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
        self.server.fake.answered(self.index, status)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
