"""A real Chromium without a network, driven over its debugging pipe: opens a file, clicks, types, tells what is shown."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
"""The browser's path; empty when there is none."""

_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
    # Nothing has an address, and what asks for one all the same is told by `requests`.
    "--host-resolver-rules=MAP * ~NOTFOUND",
]
_START = "import os, sys; a, b, *run = sys.argv[1:]; os.dup2(int(a), 3); os.dup2(int(b), 4); os.execv(run[0], run)"
_KEYS = {
    "Enter": ("\r", 13),
    "Escape": ("", 27),
    "ArrowDown": ("", 40),
    "ArrowUp": ("", 38),
    "Tab": ("", 9),
    " ": (" ", 32),
}


class Browser:
    """One page in one browser; use it as a context manager."""

    def __init__(self, width: int = 1400, height: int = 1000):
        self._folder = tempfile.mkdtemp()
        # The browser reads commands from descriptor 3 and writes to 4; ours must not be those when they are moved there.
        theirs, self._out = os.pipe()
        self._in, answers = os.pipe()
        high = [fcntl.fcntl(number, fcntl.F_DUPFD, 20) for number in (theirs, answers)]
        os.close(theirs), os.close(answers)
        command = [CHROMIUM, *_FLAGS, f"--user-data-dir={self._folder}", f"--window-size={width},{height}"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, *map(str, high), *command],
            pass_fds=high,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for number in high:
            os.close(number)
        self._rest, self._number, self._session = b"", 0, ""
        self._events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._out), os.close(self._in)
        shutil.rmtree(self._folder, ignore_errors=True)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command of the Chrome DevTools Protocol and waits for its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._in, 1 << 16)
            assert more, "the browser is gone"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        read = json.loads(message)
        if "method" in read:
            self._events.append(read)
        return read

    def open(self, path: Any) -> None:
        """Opens a file and waits until it is loaded."""
        self._events.clear()
        self.call("Page.navigate", url=f"file://{path}")
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._receive()

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def press(self, key: str) -> None:
        """Presses a key: one character, or Enter, Escape, Tab, ArrowDown, ArrowUp."""
        text, code = _KEYS.get(key, (key, 0))
        event = {"key": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def type(self, text: str) -> None:
        """Types text, key by key."""
        for key in text:
            self.press(key)

    def click(self, selector: str) -> None:
        """Clicks the middle of the first element that fits, after scrolling to it."""
        place = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    @property
    def requests(self) -> list[str]:
        """The addresses that were asked for since `open`, the page's own among them."""
        self.run("0")
        return [
            event["params"]["request"]["url"]
            for event in self._events
            if event["method"] == "Network.requestWillBeSent"
        ]

    @property
    def complaints(self) -> list[str]:
        """What the browser complained of since `open`: exceptions, and breaches of the page's own policy."""
        self.run("0")
        thrown = [
            e["params"]["exceptionDetails"]["text"] for e in self._events if e["method"] == "Runtime.exceptionThrown"
        ]
        return thrown + [e["params"]["entry"]["text"] for e in self._events if e["method"] == "Log.entryAdded"]
