"""Questions to the upstream, over real sockets."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import socket
import ssl
import threading
import time
import tracemalloc
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from kmi import __version__
from kmi.api import Answer, check_keys
from kmi.checking import apply_check
from kmi.model import ApiKey, Hold, KeyState, Window
from kmi.quotas import Balance
from kmi.transitions import BACKOFF_S
from kmi.upstream import BODY_MAX, Clients
from kmi.urls import parse_base_url
from kmi.verdicts import parse_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "sk-kimi-canary-0123456789abcdef"
USAGES = {"usages": {"limit_5h": {"used_ratio": 0.25}}}
BALANCE = {"code": 0, "data": {"available_balance": 49.5, "cash_balance": 3}}

NOW = 1_795_000_000.0


def key(base: str, label: str = "alpha", secret: str | None = SECRET) -> ApiKey:
    key_id = hashlib.sha256(f"{label}{secret}".encode()).hexdigest()[:12]
    return ApiKey(label, key_id, secret, parse_base_url(base))


def base(server: HTTPServer) -> str:
    return f"http://127.0.0.1:{server.port}/v1"


def ask(server: HTTPServer, **more: Any) -> Answer:
    """The answer for one key, which never holds its secret."""
    one = key(base(server))
    answer = check_keys([one], env={}, timeout_s=more.pop("timeout_s", 5.0), **more)[one.key_id]
    assert SECRET not in repr(answer)
    assert "canary" not in repr(answer)
    return answer


def checked(answer: Answer, before: KeyState | None = None) -> KeyState:
    """The state of a key after this answer about it."""
    states = {} if before is None else {"k": before}
    after = apply_check(
        states,
        "k",
        answer,
        now=NOW,
        sent_at=NOW - 1.0,
        rng=random.Random(1),
        cooldown_s=300.0,
        payment_block_s=3600.0,
    )
    return after["k"]


@pytest.fixture(name="one_server", scope="module")
def _one_server() -> Iterator[HTTPServer]:
    # One for all tests: stopping one takes half a second.
    with HTTPServer(host="127.0.0.1", threaded=True) as server:
        yield server


@pytest.fixture(name="server")
def _server(one_server: HTTPServer) -> HTTPServer:
    one_server.clear()
    return one_server


@pytest.fixture(name="raw_server")
def _raw_server() -> Iterator[Callable[[bytes], str]]:
    """Starts servers that answer any connection with given bytes, and then close it."""
    sockets: list[socket.socket] = []

    def serve(listener: socket.socket, answer: bytes) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5.0)
                connection.recv(65536)
                connection.sendall(answer)

    def start(answer: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        sockets.append(listener)
        threading.Thread(target=serve, args=(listener, answer), daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in sockets:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def error(message: str, kind: str = "") -> str:
    return json.dumps({"error": {"message": message, "type": kind}})


# What goes out.


def test_a_plan_key_asks_for_usages(server: HTTPServer) -> None:
    server.expect_oneshot_request("/v1/usages", method="GET").respond_with_json(USAGES)
    answer = ask(server)
    assert answer.reading is not None
    assert answer.reading.windows == {"5h": Window(0.25)}
    assert (answer.status, answer.error, answer.verdict, answer.balance) == (200, "", None, None)
    sent = server.log[0][0].headers
    assert sent["Authorization"] == f"Bearer {SECRET}"
    assert sent["User-Agent"] == f"kmi/{__version__}"
    assert "Cookie" not in sent


def test_a_key_of_the_platform_has_a_balance(server: HTTPServer) -> None:
    server.expect_request("/v1/users/me/balance").respond_with_json(BALANCE)
    server.expect_request("/v1/usages").respond_with_data("", status=404)
    assert ask(server).balance == Balance(49.5, "")
    assert [entry[0].path for entry in server.log] == ["/v1/usages", "/v1/users/me/balance"]


def test_neither_endpoint_means_a_wrong_base_url(server: HTTPServer) -> None:
    server.expect_request("/v1/usages").respond_with_data("", status=404)
    server.expect_request("/v1/users/me/balance").respond_with_data("", status=404)
    answer = ask(server)
    assert (answer.status, answer.verdict) == (404, None)
    assert "check the base URL" in answer.error
    assert len(server.log) == 2


def test_all_keys_are_asked_at_once(server: HTTPServer) -> None:
    together = threading.Barrier(30, timeout=20.0)

    def handler(request: Request) -> Response:
        together.wait()
        share = int(request.headers["Authorization"].rpartition("-")[2]) / 100
        return Response(json.dumps({"usages": {"limit_5h": {"used_ratio": share}}}))

    server.expect_request("/v1/usages").respond_with_handler(handler)
    keys = [key(base(server), f"k{n}", f"sk-canary-{n}") for n in range(30)]
    seen: list[tuple[str, int, int]] = []
    answers = check_keys(keys, env={}, timeout_s=30.0, on_progress=lambda *args: seen.append(args))
    assert list(answers) == [one.key_id for one in keys]
    for n, one in enumerate(keys):
        reading = answers[one.key_id].reading
        assert reading is not None
        assert reading.windows["5h"].used == n / 100
    assert [done for _, done, _ in seen] == list(range(1, 31))
    assert {(key_id, total) for key_id, _, total in seen} == {(k.key_id, 30) for k in keys}


def test_no_keys() -> None:
    assert check_keys([]) == {}


def test_a_cookie_of_one_key_does_not_go_with_another(server: HTTPServer) -> None:
    server.expect_request("/v1/usages").respond_with_json(
        {}, status=404, headers={"Set-Cookie": "session=1; Path=/"}
    )
    server.expect_request("/v1/users/me/balance").respond_with_json(BALANCE)
    assert ask(server).balance is not None
    assert "Cookie" not in server.log[1][0].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server: HTTPServer, status: int) -> None:
    with HTTPServer(host="127.0.0.1") as other:
        server.expect_request("/v1/usages").respond_with_data(
            "", status=status, headers={"Location": f"{base(other)}/usages"}
        )
        answer = ask(server)
        assert other.log == []
    assert (answer.status, answer.verdict and answer.verdict.name) == (status, "redirect")
    assert "never follows" in answer.error


# What comes back.


@pytest.mark.parametrize(
    "status, body, verdict, says",
    [
        (401, error("Invalid Authentication"), "dead-key", "may belong to another host"),
        (401, "<html><title>Log in</title></html>", "unknown-401", "an HTML page: Log in"),
        (402, error("unable to verify your membership benefits"), "payment", "membership"),
        (403, error("only available for Coding Agents"), "client-identity", "Coding Agents"),
        (403, error("Access terminated"), "banned", "Access terminated"),
        (403, error("weekly (7-day) usage limit"), "quota-7d", "weekly"),
        (403, error("words", "access_terminated_error"), "unknown-403", "words"),
        (429, error("receiving too many requests"), "rate-or-5h", "too many"),
        (429, error("engine is currently overloaded"), "overloaded", "overloaded"),
        (429, error("no", "exceeded_current_quota_error"), "no-money", "no"),
        (429, "", "rate", "no text"),
        (500, "boom", "server", "boom"),
        (502, "<html>", "server", "an HTML page"),
    ],
)
def test_a_refusal(server: HTTPServer, status: int, body: str, verdict: str, says: str) -> None:
    server.expect_request("/v1/usages").respond_with_data(body, status=status)
    answer = ask(server)
    assert answer.verdict is not None
    assert (answer.status, answer.verdict.name, answer.reading) == (status, verdict, None)
    assert answer.error.startswith(f"{status} from 127.0.0.1:{server.port}: ")
    assert says in answer.error


def test_users_patterns_count(server: HTTPServer) -> None:
    server.expect_request("/v1/usages").respond_with_data(error("odd words"), status=403)
    extra = parse_rules('[[pattern]]\nverdict = "quota-7d"\ncontains = ["odd words"]')
    answer = ask(server, extra=extra)
    assert answer.verdict is not None
    assert answer.verdict.name == "quota-7d"


def test_retry_after_in_seconds_and_as_a_date(server: HTTPServer) -> None:
    server.expect_oneshot_request("/v1/usages").respond_with_data(
        "", status=429, headers={"Retry-After": "7"}
    )
    assert ask(server).retry_after_s == 7.0
    then = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 120.0))
    server.expect_oneshot_request("/v1/usages").respond_with_data(
        "", status=429, headers={"Retry-After": then}
    )
    wait = ask(server).retry_after_s
    assert wait is not None
    assert 100.0 < wait <= 120.0


@pytest.mark.parametrize(
    "body, says",
    [
        (b"not json", "is not JSON"),
        (b"[1]", "neither usages"),
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"<html><title>Welcome</title></html>", "is not JSON"),
    ],
)
def test_a_200_that_is_no_reading(server: HTTPServer, body: bytes, says: str) -> None:
    server.expect_request("/v1/usages").respond_with_data(body)
    answer = ask(server)
    assert (answer.status, answer.reading, answer.verdict) == (200, None, None)
    assert says in answer.error


def test_an_error_that_comes_with_a_200(server: HTTPServer) -> None:
    server.expect_request("/v1/usages").respond_with_data(error("usage limit for this period"))
    answer = ask(server)
    assert answer.verdict is not None
    assert answer.verdict.name == "quota-5h"


def test_gzip_is_read(server: HTTPServer) -> None:
    server.expect_request("/v1/usages").respond_with_data(
        gzip.compress(json.dumps(USAGES).encode()), headers={"Content-Encoding": "gzip"}
    )
    assert ask(server).reading is not None


def test_a_compressed_error_is_read_too(server: HTTPServer) -> None:
    server.expect_request("/v1/usages").respond_with_data(
        gzip.compress(error("weekly (7-day) usage limit").encode()),
        status=403,
        headers={"Content-Encoding": "gzip"},
    )
    answer = ask(server)
    assert answer.verdict is not None
    assert answer.verdict.name == "quota-7d"


@pytest.mark.parametrize(
    "body, encoding, says",
    [
        (b"x" * (BODY_MAX + 1), "", "larger than 1 MiB"),
        (gzip.compress(b" " * (64 * BODY_MAX), mtime=0), "gzip", "larger than 1 MiB"),
        (zlib.compress(b"{}"), "deflate", "compressed as 'deflate'"),
        (b"{}", "br", "compressed as 'br'"),
        (b"{}", "gzip", "not the gzip that it says"),
    ],
    ids=["large", "bomb", "deflate", "br", "no gzip"],
)
def test_a_body_that_is_not_read(server: HTTPServer, body: bytes, encoding: str, says: str) -> None:
    server.expect_request("/v1/usages").respond_with_data(
        body, headers={"Content-Encoding": encoding} if encoding else {}
    )
    answer = ask(server)
    assert (answer.status, answer.reading, answer.verdict) == (200, None, None)
    assert says in answer.error


def test_a_gzip_bomb_does_not_fill_the_memory(server: HTTPServer) -> None:
    bomb = gzip.compress(b" " * (64 * BODY_MAX))
    server.expect_request("/v1/usages").respond_with_data(
        bomb, headers={"Content-Encoding": "gzip"}
    )
    tracemalloc.start()
    ask(server)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * BODY_MAX


def test_a_huge_refusal_still_counts_by_its_status(server: HTTPServer) -> None:
    server.expect_request("/v1/usages").respond_with_data(b"x" * (BODY_MAX + 1), status=402)
    answer = ask(server)
    assert answer.verdict is not None
    assert answer.verdict.name == "payment"


def test_the_largest_body_that_is_read(server: HTTPServer) -> None:
    body = json.dumps(USAGES).encode()
    server.expect_request("/v1/usages").respond_with_data(body + b" " * (BODY_MAX - len(body)))
    assert ask(server).reading is not None


def test_an_answer_that_repeats_the_secret_is_scrubbed(server: HTTPServer) -> None:
    plain = key(base(server), secret="canary-without-a-prefix")
    server.expect_request("/v1/usages").respond_with_data(
        error("x" * 180 + f"bad key {plain.secret}"), status=401
    )
    answer = check_keys([plain], env={})[plain.key_id]
    assert "canary" not in repr(answer)


def test_control_characters_stay_out_of_messages(server: HTTPServer) -> None:
    server.expect_request("/v1/usages").respond_with_data(error("a\x1b[2J\nb"), status=403)
    answer = ask(server)
    assert answer.error.isprintable()


# No answer.


def test_a_refused_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    one = key(f"http://127.0.0.1:{port}/v1")
    answer = check_keys([one], env={})[one.key_id]
    assert answer.error == f"127.0.0.1:{port}: connection refused"
    assert answer.verdict is not None
    assert (answer.status, answer.verdict.name) == (None, "network")


def test_a_slow_answer_is_given_up(server: HTTPServer) -> None:
    let_go = threading.Event()

    def handler(_: Request) -> Response:
        let_go.wait(10.0)
        return Response("{}")

    server.expect_request("/v1/usages").respond_with_handler(handler)
    answer = ask(server, timeout_s=0.2)
    let_go.set()
    assert answer.error == f"no answer from 127.0.0.1:{server.port} in time"


def test_an_answer_in_drops_is_given_up(server: HTTPServer) -> None:
    let_go = threading.Event()

    def drops() -> Iterator[bytes]:
        while not let_go.wait(0.02):
            yield b" "

    server.expect_request("/v1/usages").respond_with_handler(lambda _: Response(drops()))
    answer = ask(server, timeout_s=0.5)
    let_go.set()
    assert "takes too long" in answer.error


@pytest.mark.parametrize(
    "answer, says",
    [
        (b"", "ended before an HTTP answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "ended before an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "ended before an HTTP answer"),
    ],
)
def test_what_is_no_http(raw_server: Callable[[bytes], str], answer: bytes, says: str) -> None:
    one = key(f"http://{raw_server(answer)}/v1")
    found = check_keys([one], env={}, timeout_s=5.0)[one.key_id]
    assert found.status is None
    assert says in found.error or "reset by peer" in found.error


def test_tls_that_is_none(raw_server: Callable[[bytes], str]) -> None:
    one = key(f"https://{raw_server(b'HTTP/1.1 400 Bad Request')}/v1")
    answer = check_keys([one], env={}, timeout_s=5.0)[one.key_id]
    assert "TLS failed" in answer.error
    assert "canary" not in answer.error


def test_a_certificate_that_no_one_signed(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with HTTPServer(host="localhost", ssl_context=context) as server:
        server.expect_request("/v1/usages").respond_with_json(USAGES)
        one = key(f"https://localhost:{server.port}/v1")
        answer = check_keys([one], env={})[one.key_id]
        assert "certificate is not accepted: unable to get local issuer" in answer.error
        assert server.log == []
        trusted = check_keys([one], env={}, cafile=str(tmp_path / "ca.pem"))[one.key_id]
        assert trusted.reading is not None


def test_certificates_that_can_not_be_read(tmp_path: Path) -> None:
    one = key("https://api.example/v1")
    answer = check_keys([one], env={}, cafile=str(tmp_path / "none.pem"))[one.key_id]
    assert answer.error == f"can't read the certificates in {tmp_path / 'none.pem'}"


def test_certificates_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("certifi.where", lambda: str(tmp_path / "none.pem"))
    one = key("https://api.example/v1")
    answer = check_keys([one], env={})[one.key_id]
    assert answer.error == "can't read the certificates of the package certifi"


@pytest.mark.parametrize(
    "secret, says",
    [(None, "is not known"), ("sk-canary\r\nx: y", "can't be sent"), ("sk-canaryé", "can't be")],
)
def test_a_secret_that_can_not_be_sent(server: HTTPServer, secret: str | None, says: str) -> None:
    one = key(base(server), secret=secret)
    answer = check_keys([one], env={})[one.key_id]
    assert says in answer.error
    assert "canary" not in repr(answer)
    assert answer.verdict is None
    assert server.log == []


# Proxies.


def test_the_proxy_of_https_gets_a_tunnel_and_no_key(server: HTTPServer) -> None:
    seen: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            seen.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    one = key("https://api.example/v1")
    env = {"HTTPS_PROXY": f"http://user:canary@127.0.0.1:{listener.getsockname()[1]}"}
    answer = check_keys([one], env=env, timeout_s=5.0)[one.key_id]
    thread.join()
    listener.close()
    assert seen[0].startswith(b"CONNECT api.example:443 ")
    assert SECRET.encode() not in seen[0]
    assert "the proxy in HTTPS_PROXY refused" in answer.error
    assert "canary" not in repr(answer)


def test_loopback_is_never_asked_through_a_proxy(server: HTTPServer) -> None:
    server.expect_request("/v1/usages").respond_with_json(USAGES)
    one = key(base(server))
    env = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    env["ALL_PROXY"] = "http://127.0.0.1:9"
    assert check_keys([one], env=env)[one.key_id].reading is not None


def test_httpx_itself_reads_nothing_from_the_environment(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    server.expect_request("/v1/usages").respond_with_json(USAGES)
    assert ask(server).reading is not None


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "nonsense", "http://proxy:canary"])
def test_a_proxy_that_can_not_be_used(proxy: str) -> None:
    one = key("https://api.example/v1")
    answer = check_keys([one], env={"https_proxy": proxy})[one.key_id]
    assert answer.error == "HTTPS_PROXY is not of the form http://host:port"


@pytest.mark.parametrize(
    "url, exempt, through",
    [
        ("https://api.kimi.com", "", True),
        ("https://api.kimi.com", "localhost, .kimi.com", False),
        ("https://api.kimi.com", "kimi.com", False),
        ("https://api.kimi.com", "API.kimi.com:443", False),
        ("https://api.kimi.com", "imi.com", True),
        ("https://api.kimi.com", "*", False),
        ("https://127.0.0.1", "", False),
        ("https://localhost", "", False),
    ],
)
def test_no_proxy(url: str, exempt: str, through: bool) -> None:
    one = key(url)
    proxy = "http://proxy.example:3128"
    clients = Clients([one], "kmi/0", {"HTTPS_PROXY": proxy, "NO_PROXY": exempt}, None)
    assert clients.proxy_of(one.base_url) == (proxy if through else "")
    clients.close()


# One chat, when asked for.


def test_a_chat_proves_a_quota(server: HTTPServer) -> None:
    server.expect_request("/v1/usages").respond_with_json(USAGES)
    server.expect_request("/v1/chat/completions", method="POST").respond_with_json({"choices": []})
    answer = ask(server, chat=True, model="kimi-x")
    assert (answer.chat_status, answer.chat_verdict, answer.chat_error) == (200, None, "")
    assert answer.reading is not None
    sent = server.log[1][0]
    assert sent.json == {
        "model": "kimi-x",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 1,
        "stream": False,
    }
    assert sent.headers["User-Agent"] == f"kmi/{__version__}"


def test_a_chat_may_be_refused_where_usage_is_not(server: HTTPServer) -> None:
    server.expect_request("/v1/usages").respond_with_json(USAGES)
    server.expect_request("/v1/chat/completions").respond_with_data(
        error("usage limit for this period"), status=403, headers={"Retry-After": "60"}
    )
    answer = ask(server, chat=True)
    assert answer.reading is not None
    assert answer.chat_verdict is not None
    assert (answer.chat_status, answer.chat_verdict.name) == (403, "quota-5h")
    assert (answer.verdict, answer.error, answer.retry_after_s) == (None, "", None)
    assert answer.chat_retry_after_s == 60.0
    assert "usage limit" in answer.chat_error
    assert not answer.chatted


@pytest.mark.parametrize("usages_s", [None, 3600])
@pytest.mark.parametrize("chat_s", [None, 60])
def test_the_header_of_one_question_is_not_that_of_the_other(
    server: HTTPServer, usages_s: int | None, chat_s: int | None
) -> None:
    for path, wait_s in (("usages", usages_s), ("chat/completions", chat_s)):
        headers = {} if wait_s is None else {"Retry-After": str(wait_s)}
        server.expect_request(f"/v1/{path}").respond_with_data(
            error("too many requests"), status=429, headers=headers
        )
    answer = ask(server, chat=True)
    assert (answer.retry_after_s, answer.chat_retry_after_s) == (usages_s, chat_s)
    state = checked(answer)
    asked_again_s = (state.usage_wait_until or 0.0) - NOW
    assert asked_again_s == (usages_s or BACKOFF_S)
    assert state.hold is not None
    assert state.hold == checked(replace(answer, retry_after_s=None)).hold


def test_a_wait_for_usage_stays_where_the_chat_was_answered(server: HTTPServer) -> None:
    server.expect_request("/v1/usages").respond_with_data(
        error("too many requests"), status=429, headers={"Retry-After": "3600"}
    )
    server.expect_request("/v1/chat/completions").respond_with_json({"choices": []})
    answer = ask(server, chat=True)
    state = checked(answer)
    assert (answer.chatted, state.usage_wait_until) == (True, NOW + 3600.0)


def test_any_good_status_of_a_chat_proves_the_quota(server: HTTPServer) -> None:
    server.expect_request("/v1/usages").respond_with_json(USAGES)
    server.expect_request("/v1/chat/completions").respond_with_json({"choices": []}, status=201)
    answer = ask(server, chat=True)
    assert (answer.chat_status, answer.chatted) == (201, True)
    held = Hold("cooldown", "rate", NOW - 60.0, NOW + 60.0)
    assert checked(answer, KeyState(hold=held)).hold is None
    assert checked(replace(answer, chat_status=None), KeyState(hold=held)).hold is not None
    assert not Answer(status=200).chatted


def test_an_error_event_in_a_chat_counts(server: HTTPServer) -> None:
    server.expect_request("/v1/usages").respond_with_json(USAGES)
    server.expect_request("/v1/chat/completions").respond_with_data(
        error("usage limit for this period")
    )
    answer = ask(server, chat=True)
    assert answer.chat_verdict is not None
    assert answer.chat_verdict.name == "quota-5h"


def test_no_chat_with_a_key_that_was_refused(server: HTTPServer) -> None:
    server.expect_request("/v1/usages").respond_with_data("", status=401)
    answer = ask(server, chat=True)
    assert len(server.log) == 1
    assert (answer.chat_status, answer.chat_verdict) == (None, None)


def test_no_chat_unless_asked_for(server: HTTPServer) -> None:
    server.expect_request("/v1/usages").respond_with_json(USAGES)
    ask(server)
    assert [entry[0].path for entry in server.log] == ["/v1/usages"]
