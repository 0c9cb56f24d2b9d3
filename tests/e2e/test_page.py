"""The proxy's web page in a real browser."""

from __future__ import annotations

import http.server
import json
import os
import re
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kmi.demo.fake_api import Behaviour, FakeKimi, usage_windows
from kmi.health import MEANINGS
from kmi.proxy.page import page
from kmi.proxy.status import METRICS_TYPE
from tests.conftest import World, secret_of
from tests.proxy.browser import NAMES, Browser, chromium, squeezed
from tests.proxy.sample import HOSTILE, NOW, SECRET, sample_document
from tests.proxy.test_page import colors
from tests.proxy.test_status import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e

TEXT = page()[0].decode()
PICTURES = Path(__file__).parents[2] / "docs" / "images"
TOKEN = "the-token_of.this~proxy"


class Stand:
    """A server that answers as the proxy does; what it answers can be changed."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = sample_document(time.time())
        self.asked: list[tuple[str, str]] = []
        self.status = 200
        self.port = 0
        self._server: http.server.ThreadingHTTPServer | None = None
        self.open()

    def open(self) -> None:
        """Listen, at the same port as before."""
        stand = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                given = self.headers.get("Authorization", "")
                stand.asked.append((self.path, given))
                body, headers = page() if self.path == "/" else (b"{}", [])
                status = 200 if self.path == "/" else 404
                if self.path == "/status":
                    status = stand.status if given == f"Bearer {TOKEN}" else 401
                    body = json.dumps(stand.document).encode() if status == 200 else b"{}"
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name.decode(), value.decode())
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Do not answer any more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


def started(tmp_path_factory: pytest.TempPathFactory, language: str) -> Iterator[Browser]:
    if chromium() is None:
        if os.environ.get("CI"):
            pytest.fail(f"the page must be tried in a browser: install one of {', '.join(NAMES)}")
        pytest.skip(f"none of {', '.join(NAMES)} is installed")
    browser = Browser(tmp_path_factory.mktemp("browser"), language=language)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    yield from started(tmp_path_factory, "en-US")


@pytest.fixture(scope="module")
def russian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    yield from started(tmp_path_factory, "ru-RU")


@pytest.fixture
def stand() -> Iterator[Stand]:
    found = Stand()
    yield found
    found.close()


@pytest.fixture
def browser(english: Browser, stand: Stand) -> Browser:
    """At the page, without a token."""
    return at(english, stand)


def at(browser: Browser, stand: Stand) -> Browser:
    browser.look()
    browser.call("Page.navigate", url=stand.url)
    browser.until("document.readyState === 'complete' && !!document.getElementById('rows')")
    browser.js("sessionStorage.clear()")
    browser.call("Page.reload")
    browser.until("document.activeElement.id === 'token'")
    browser.events.clear()
    return browser


def enter(browser: Browser, token: str = TOKEN) -> None:
    browser.type(token)
    browser.key("Enter")


def shown(browser: Browser) -> None:
    browser.until("document.querySelectorAll('#rows tr').length > 0")


def text(browser: Browser) -> str:
    found = browser.js("document.body.innerText")
    assert isinstance(found, str)
    return found


def test_by_keyboard_from_the_token_to_the_end(browser: Browser, stand: Stand) -> None:
    enter(browser, "wrong")
    browser.until("document.getElementById('state').textContent.includes('refused')")
    assert browser.js("document.activeElement.id") == "token"
    assert browser.js("sessionStorage.length + localStorage.length") == 0
    enter(browser)
    shown(browser)
    assert browser.js("sessionStorage.getItem('kmi-token')") == TOKEN
    assert browser.js("localStorage.length + document.cookie.length") == 0
    assert TOKEN not in browser.js("location.href + document.documentElement.outerHTML")
    browser.until("document.activeElement.id === 'main'")
    stops = []
    for _ in range(12):
        if "leave" in stops:
            break
        browser.key("Tab")
        if browser.js("document.activeElement === document.body"):
            continue  # the end of the page, where the browser's own buttons would be
        look = browser.js(
            "(() => { const e = document.activeElement, s = getComputedStyle(e);"
            " return [e.id || e.className, s.outlineStyle, parseInt(s.outlineWidth)]; })()"
        )
        stops.append(look[0])
        assert look[1] == "solid", look
        assert look[2] >= 3
    assert stops == ["scroll", "skip", "pause", "leave"]
    browser.js("document.querySelector('.skip').focus()")
    assert browser.js("document.activeElement.getBoundingClientRect().left") >= 0
    browser.key("Enter")
    browser.until("document.activeElement.id === 'main'")


def test_pausing_and_going_on(browser: Browser, stand: Stand) -> None:
    enter(browser)
    shown(browser)
    browser.key("p")
    browser.until("document.getElementById('state').textContent.startsWith('Paused')")
    assert browser.js("document.getElementById('pause').textContent") == "Resume (p)"
    stand.document["recent"][0]["path"] = "/never"
    stand.document["recent"][0]["request"] = "ffffffff"
    browser.js("document.dispatchEvent(new Event('visibilitychange'))")
    assert "/never" not in text(browser)
    browser.js("document.getElementById('pause').focus()")
    browser.key("Enter")
    browser.until("document.body.innerText.includes('/never')")
    assert browser.js("document.getElementById('pause').textContent") == "Pause (p)"


def test_the_token_can_be_forgotten(browser: Browser, stand: Stand) -> None:
    enter(browser)
    shown(browser)
    browser.js("document.getElementById('leave').click()")
    assert browser.js("sessionStorage.length") == 0
    assert browser.js("document.getElementById('all').hidden") is True
    browser.call("Page.reload")
    browser.until("document.activeElement.id === 'token'")


def test_a_reload_keeps_the_token_in_its_tab(browser: Browser, stand: Stand) -> None:
    enter(browser)
    shown(browser)
    browser.call("Page.reload")
    browser.until("document.readyState === 'complete'")
    shown(browser)
    assert browser.js("document.getElementById('login').hidden") is True


def test_nothing_else_is_asked_for_and_nothing_is_complained_of(
    browser: Browser, stand: Stand
) -> None:
    enter(browser)
    shown(browser)
    before = len(stand.asked)
    browser.until("document.getElementById('state').textContent === ''")
    deadline = time.monotonic() + 30.0
    while len(stand.asked) < before + 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(stand.asked) >= before + 2
    assert set(browser.asked()) == {f"{stand.url}status"}
    assert {path for path, _ in stand.asked} == {"/", "/status"}
    assert {given for path, given in stand.asked if path == "/status"} == {f"Bearer {TOKEN}"}
    assert browser.complaints() == []


def test_the_browser_obeys_the_policy(browser: Browser, stand: Stand) -> None:
    """The control: what the page never does would be blocked, and seen here."""
    browser.js(
        "{ const s = document.createElement('script'); s.textContent = 'window.hacked = 1';"
        " document.body.append(s); const i = document.createElement('img');"
        " i.src = 'http://127.0.0.1:9/x'; document.body.append(i); }"
    )
    assert browser.js("window.hacked === undefined") is True
    deadline = time.monotonic() + 30.0
    while len(browser.complaints()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len([c for c in browser.complaints() if "Content Security Policy" in c]) >= 2


def test_what_it_shows(browser: Browser, stand: Stand) -> None:
    enter(browser)
    shown(browser)
    said = text(browser)
    for words in (
        *("work (active)", "healthy", "66 % left", "resets in 1 h 2", "0 % left", "exhausted"),
        *("the 5 hour quota is spent", "account A", "in flight 2", "quota not known", "blocked"),
        *("home2: quota-5h", "12.0k (75 %) + 250", "round robin", "90 in all, 3 in flight"),
    ):
        assert words in said, words
    assert SECRET not in said
    assert browser.js("document.querySelectorAll('#rows tr').length") == 50
    assert browser.js("document.querySelectorAll('#served svg').length") == 2
    assert browser.js("document.querySelectorAll('#served rect').length") > 40
    assert browser.js("document.querySelectorAll('[role=meter]').length") == 9
    assert (
        browser.js("document.querySelector('[role=meter]').getAttribute('aria-valuenow')") == "66"
    )
    assert browser.js("[...document.querySelectorAll('th')].every((th) => th.scope === 'col')")


def test_strange_texts_stay_texts(browser: Browser, stand: Stand) -> None:
    document = stand.document
    document["keys"][0] |= {"label": HOSTILE, "reason": HOSTILE, "last_verdict": HOSTILE}
    document["keys"][0]["windows"][0]["name"] = HOSTILE
    document["keys"][1] |= {"status": HOSTILE, "account": HOSTILE}
    document["problems"] = [HOSTILE]
    document["version"] = document["strategy"] = document["listening"] = HOSTILE
    document["timeline"]["keys"] = {HOSTILE: [1] * 60}
    strange = {"path": HOSTILE, "label": HOSTILE, "verdict": HOSTILE, "session": HOSTILE}
    document["recent"][0] |= {**strange, "tried": [[HOSTILE, HOSTILE]]}
    browser.js("window.alert = () => { window.hacked = 1; }")
    enter(browser)
    shown(browser)
    said = text(browser)
    assert said.count("<img src=x onerror=alert(1)>") >= 10
    assert said.count("\\u202egnp\\u000a</script>&amp;") >= 10
    assert "\u202e" not in said
    assert "\x1b" not in browser.js("document.documentElement.outerHTML")
    assert browser.js("document.querySelectorAll('img').length") == 0
    assert browser.js("window.hacked === undefined") is True
    assert browser.complaints() == []
    assert browser.js("document.documentElement.scrollWidth <= innerWidth")


def test_a_proxy_that_is_gone_is_told_and_seen_again(browser: Browser, stand: Stand) -> None:
    enter(browser)
    shown(browser)
    stand.close()
    browser.until("document.getElementById('state').textContent.includes('does not answer')")
    assert "healthy" in text(browser), "what was known stays there"
    stand.document["version"] = "9.9.9"
    stand.open()
    browser.until("document.body.innerText.includes('9.9.9')")
    browser.until("!document.getElementById('state').textContent.includes('does not answer')")


def test_a_refusal_is_told(browser: Browser, stand: Stand) -> None:
    stand.status = 503
    enter(browser)
    browser.until("document.getElementById('state').textContent.includes('503')")
    stand.status = 200
    shown(browser)
    stand.document["draining"] = True
    browser.until("document.getElementById('state').textContent.includes('open streams')")


def test_an_empty_proxy_is_shown(browser: Browser, stand: Stand) -> None:
    stand.document |= {"keys": [], "recent": []}
    stand.document["timeline"]["keys"] = {}
    enter(browser)
    browser.until("document.body.innerText.includes('There is no key')")
    assert "There was no request yet" in text(browser)
    assert browser.complaints() == []


def test_it_fits_and_follows_the_theme(browser: Browser, stand: Stand) -> None:
    enter(browser)
    shown(browser)
    for dark in (False, True):
        for width in (360, 800, 1600):
            browser.look(dark=dark, width=width)
            assert browser.js("document.documentElement.scrollWidth <= innerWidth")
            found = colors(dark)
            rgb = "rgb({}, {}, {})".format(*(int(found["bg"][i : i + 2], 16) for i in (1, 3, 5)))
            assert browser.js("getComputedStyle(document.body).backgroundColor") == rgb


def test_motion_is_for_those_who_want_it(browser: Browser, stand: Stand) -> None:
    enter(browser)
    shown(browser)
    moving = "getComputedStyle(document.querySelector('.bar > i')).transitionDuration"
    assert browser.js(moving) == "0s"
    browser.look(still=False)
    assert browser.js(moving) != "0s"


def test_both_languages_say_everything(russian: Browser, browser: Browser, stand: Stand) -> None:
    keys = "JSON.stringify(Object.keys(T).sort())"
    english = set(json.loads(browser.js(keys)))
    at(russian, stand)
    assert russian.js("document.documentElement.lang") == "ru"
    assert set(json.loads(russian.js(keys))) == english | {"why", "backin", "byhand"}
    codes = set(json.loads(russian.js("JSON.stringify(Object.keys(T.why))")))
    assert codes == {*MEANINGS, "low", "errors", "no-usage", "auth-file", "by-hand"}
    enter(russian)
    shown(russian)
    said = text(russian)
    for words in ("в порядке", "исчерпана квота 5 часов; вернётся через", "Уверенность", "Пауза"):
        assert words in said
    left = set(re.findall(r"[a-z]{3,}", re.sub(r"[/`].*", "", said))) - {
        *("kmi", "proxy", "round", "robin", "work", "home", "team", "upstream", "quota", "ctrl")
    }
    assert left == set(), "English words in the Russian page"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_pictures_of_the_manual(browser: Browser, stand: Stand, dark: bool) -> None:
    """`WRITE_GOLDEN=1 pytest` takes them anew. Fonts differ from machine to machine."""
    path = PICTURES / f"proxy-{'dark' if dark else 'light'}.png"
    stand.document = sample_document(NOW)
    browser.call("Emulation.setTimezoneOverride", timezoneId="UTC")
    browser.look(dark=dark, width=1200)
    enter(browser)
    shown(browser)
    drawn = browser.picture(height=705)
    if os.environ.get("WRITE_GOLDEN"):
        path.write_bytes(squeezed(drawn))
    kept = path.read_bytes()
    assert len(kept) < 60_000
    assert kept[:8] == drawn[:8] == b"\x89PNG\r\n\x1a\n"
    assert kept[16:24] == drawn[16:24], "another size"


def test_the_real_proxy_shows_what_it_does(english: Browser, world: World) -> None:
    labels = {"alpha": 0.25, "beta": 0.5}
    behaviours = {
        secret_of(label): Behaviour(usages=usage_windows(used, 0.1, 0.1, user=label))
        for label, used in labels.items()
    }
    with FakeKimi(behaviours) as api:
        for label in labels:
            world.add_key(label, UPSTREAM_BASE_URL=api.base_url)
        world.env |= {
            "KMI_UPSTREAM_BASE_URL": api.base_url,
            "KMI_PROXY_LISTEN": "127.0.0.1:0",
            "KMI_AUTO_ROTATE_ALLOWED": "1",
            "KMI_STRATEGY": "round-robin",
        }
        assert world.kmi("health", "--refresh").returncode == 0
        assert world.kmi("proxy", "start").returncode == 0
        try:
            token = (world.state / "proxy.token").read_text().strip()
            base = world.document("proxy", "status")["address"]
            for number in range(24):
                ask(base, token, number)
            watch(english, base, token)
        finally:
            assert world.kmi("proxy", "stop").returncode == 0
    found = world.document("trace", "--lines", "1")
    assert found["served"] == {"alpha": 12, "beta": 12}
    assert found["confidence"] == {"percent": 100, "placements": 24, "needed": 20}
    assert world.files_with(token, world.state) == ["proxy.token"]


def ask(base: str, token: str, number: int) -> None:
    """One request of a session of its own."""
    body = {"prompt_cache_key": f"s{number}", "messages": [{"role": "user", "content": "hi"}]}
    request = urllib.request.Request(
        f"{base}/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.headers["x-kmi-key"] in {"alpha", "beta"}
        answer.read()


def watch(browser: Browser, base: str, token: str) -> None:
    """Its page, and its metrics."""
    origin = base.partition("/kmi-rotor")[0]
    browser.call("Page.navigate", url=f"{origin}/")
    browser.until("document.activeElement.id === 'token'")
    browser.events.clear()
    enter(browser, token)
    browser.until("document.querySelectorAll('#rows tr').length === 24")
    said = text(browser)
    for words in ("alpha", "75 % left", "50 % left", "served 12", "over 24 placements"):
        assert words in said, words
    assert set(browser.asked()) == {f"{origin}/status"}
    assert browser.complaints() == []
    wanted = urllib.request.Request(
        f"{origin}/metrics", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(wanted, timeout=30) as answer:
        assert answer.headers["content-type"] == METRICS_TYPE
        _, values = parse(answer.read().decode())
    assert sum(v for (name, _), v in values.items() if name == "kmi_requests_total") == 24
