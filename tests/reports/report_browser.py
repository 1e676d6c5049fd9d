"""A real headless Chromium over the DevTools pipe: what a page logs, requests and measures, and what it looks like.

Stdlib only (no Playwright): commands are JSON objects that end in a zero byte, written to the browser's descriptor 3;
its replies and events come from its descriptor 4.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-pipe", "about:blank",
)  # fmt: skip


def executable() -> str | None:
    """Return the path of an installed Chromium, or None."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """One browser with one page. Use as a context manager; `events` holds everything that the page reported."""

    def __enter__(self) -> Browser:
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        child_in, self._write = os.pipe()
        self._read, child_out = os.pipe()
        # The browser wants its pipe at 3 and 4, and pass_fds keeps the numbers that they have; a preexec_fn could close
        # subprocess's own error pipe, so a small Python moves them and becomes the browser.
        move = "import os, sys; a, b = map(int, sys.argv[1:3])"
        move += "; os.dup2(a, 63); os.dup2(b, 64); os.dup2(63, 3); os.dup2(64, 4); os.execv(sys.argv[3], sys.argv[3:])"
        start = [sys.executable, "-c", move, str(child_in), str(child_out)]
        command = [*start, str(executable()), f"--user-data-dir={self._profile}", *FLAGS]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, pass_fds=(child_in, child_out), stdout=quiet, stderr=quiet)
        os.close(child_in)
        os.close(child_out)
        self._buffer, self._last, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)
        os.close(self._write)
        os.close(self._read)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the result of one DevTools command."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (reply := self._receive()).get("id") != self._last:
            self.events.append(reply)
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']}")
        return reply["result"]

    def open(self, page: Path, *, width: int, height: int = 900, dark: bool = False, print_: bool = False) -> None:
        """Load a page at a width as a phone or a desktop would, and wait until it is loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="print" if print_ else "screen", features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression (DevTools may evaluate where the page's own policy forbids)."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def screenshot(self, out: Path, *, full: bool = True) -> Path:
        """Write a PNG of the whole page and return its path."""
        image = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        out.write_bytes(base64.b64decode(image["data"]))
        return out

    def pdf(self, out: Path) -> Path:
        """Write the page as it prints and return its path."""
        out.write_bytes(base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"]))
        return out

    def complaints(self) -> list[str]:
        """Return what the page logged or threw."""
        loud = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(event["params"]) for event in self.events if event.get("method") in loud]

    def requests(self) -> list[str]:
        """Return every address that the page asked for."""
        sent = (event for event in self.events if event.get("method") == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in sent]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            piece = os.read(self._read, 1 << 20)
            if not piece:
                raise RuntimeError("the browser closed its pipe")
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)
