"""A real Chromium, driven by the DevTools protocol over a pipe; nothing but the standard library.

It talks to loopback only: every other name resolves to nothing.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Longer than a slow machine needs for anything here.
LIMIT_S = 30.0
NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    """The browser, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page in a fresh profile."""

    def __init__(self, folder: Path, *, language: str = "en-US") -> None:
        program = chromium()
        assert program is not None
        here, theirs = os.pipe(), os.pipe()
        self._out, self._in = here[1], theirs[0]
        # The protocol is spoken on descriptors 3 and 4. (dash knows no numbers of two digits.)
        start = f'exec "$@" 3<&{here[0]} 4>&{theirs[1]}'
        self._process = subprocess.Popen(
            [
                *("bash", "-c", start, "bash", program, "--headless", "--no-sandbox"),
                *("--remote-debugging-pipe", f"--user-data-dir={folder}", "--disable-gpu"),
                *("--no-first-run", "--disable-background-networking", "--disable-sync"),
                *("--disable-component-update", "--no-proxy-server", f"--accept-lang={language}"),
                *("--disable-dev-shm-usage", "--disable-lcd-text", f"--lang={language}"),
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                "about:blank",
            ],
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "LANGUAGE": language},
            pass_fds=(here[0], theirs[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(here[0])
        os.close(theirs[1])
        self._buffer = b""
        self._last = 0
        self._session = ""
        self.events: list[dict[str, Any]] = []
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.call("Emulation.setScrollbarsHidden", hidden=True)
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End it."""
        os.close(self._out)
        os.close(self._in)
        self._process.terminate()
        try:
            self._process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(LIMIT_S)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command, and its answer."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._last:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + LIMIT_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            block = os.read(self._in, 1 << 16)
            assert block, "the browser ended"
            self._buffer += block
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def look(self, *, dark: bool = False, width: int = 1200, still: bool = True) -> None:
        """How the person likes it, and how wide the window is."""
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )

    def go(self, url: str) -> None:
        """Open a page."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def js(self, expression: str) -> Any:
        """The value of an expression in the page."""
        done = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, expression: str) -> Any:
        """Wait until an expression is true."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            try:
                value = self.js(expression)
            except AssertionError:
                value = None  # the page is just being replaced by another one
            if value:
                return value
            assert time.monotonic() < deadline, (expression, self.js("document.body.innerText"))
            time.sleep(0.05)

    def key(self, key: str) -> None:
        """Press a key."""
        codes = {"Tab": 9, "Enter": 13}
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        # The codes of other signs are those of keys like Delete.
        code = codes.get(key, ord(key.upper()) if key.isalnum() and len(key) == 1 else 0)
        common = {"key": key, "windowsVirtualKeyCode": code}
        down = {"type": "keyDown" if text else "rawKeyDown", **({"text": text} if text else {})}
        self.call("Input.dispatchKeyEvent", **down, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        for char in text:
            self.key(char)

    def asked(self) -> list[str]:
        """The URL of every request that the page made or tried."""
        self.js("0")  # what came before is there then
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        """What the console says: errors, warnings, exceptions, violations of the policy."""
        self.js("0")
        found = []
        for event in self.events:
            params = event.get("params", {})
            if event.get("method") == "Log.entryAdded":
                found.append(f"{params['entry']['level']}: {params['entry']['text']}")
            elif event.get("method") in {"Runtime.exceptionThrown", "Runtime.consoleAPICalled"}:
                found.append(json.dumps(params))
        return found

    def picture(self, *, height: int | None = None) -> bytes:
        """The page as a PNG, whole or its top."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"]}
        shot = self.call(
            "Page.captureScreenshot", captureBeyondViewport=True, clip={**clip, "scale": 1}
        )
        return base64.b64decode(shot["data"])


def squeezed(png: bytes) -> bytes:
    """The same picture, 8 bits of RGB, in 32 shades a channel: half the size."""
    chunks, at = [], 8
    while at < len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        chunks.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + size]))
        at += 12 + size
    head = next(data for kind, data in chunks if kind == b"IHDR")
    assert head[8:13] == bytes([8, 2, 0, 0, 0])
    data = zlib.decompress(b"".join(data for kind, data in chunks if kind == b"IDAT"))
    shades = bytes(min(31, (shade + 4) // 8) * 255 // 31 for shade in range(256))
    rows = (
        b"\0" + row.translate(shades) for row in _rows(data, 3 * int.from_bytes(head[:4], "big"))
    )
    made = png[:8]
    for kind, data in (
        (b"IHDR", head),
        (b"IDAT", zlib.compress(b"".join(rows), 9)),
        (b"IEND", b""),
    ):
        crc = zlib.crc32(kind + data).to_bytes(4, "big")
        made += len(data).to_bytes(4, "big") + kind + data + crc
    return made


def _rows(data: bytes, width: int) -> Iterator[bytes]:
    """The rows of a PNG's pixels, three bytes each, without their filters (PNG 9.2)."""
    above = bytes(width)
    for start in range(0, len(data), width + 1):
        kind, row = data[start], bytearray(data[start + 1 : start + 1 + width])
        for i in range(width) if kind else ():
            left, up, corner = (row[i - 3], above[i], above[i - 3]) if i > 2 else (0, above[i], 0)
            if kind == 4:
                guess = left + up - corner
                near = min((abs(guess - v), n, v) for n, v in enumerate((left, up, corner)))[2]
            else:
                near = (0, left, up, (left + up) // 2)[kind]
            row[i] = (row[i] + near) & 255
        above = bytes(row)
        yield above
