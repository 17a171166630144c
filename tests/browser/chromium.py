# SPDX-License-Identifier: Apache-2.0
"""Drive a headless Chromium over its DevTools pipe: no port, no driver, no further package."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

# Seconds for one command. A first start on a busy machine is slow.
PATIENCE = 60


class Browser:
    """A Chromium with one page."""

    def __init__(self, profile: Path) -> None:
        program = shutil.which("chromium")
        assert program, "no chromium here: apt-get install --no-install-recommends chromium"
        to_browser, self._writes = os.pipe()
        self._reads, from_browser = os.pipe()
        # The browser reads commands from descriptor 3 and answers on 4.
        moved = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (to_browser, from_browser)]
        with (profile.parent / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", f'exec "$0" "$@" 3<&{moved[0]} 4>&{moved[1]}']
                + [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
                + ["--disable-dev-shm-usage", "--remote-debugging-pipe"]
                + [f"--user-data-dir={profile}", "about:blank"],
                pass_fds=moved,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        for end in (to_browser, from_browser, *moved):
            os.close(end)
        os.set_blocking(self._reads, False)
        self._number = 0
        self._rest = b""
        self.events: list[dict[str, Any]] = []
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        self._process.wait(30)
        os.close(self._writes)
        os.close(self._reads)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while True:
            answer = self._next(until)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert time.monotonic() < until, "chromium does not answer: see chromium.log"
            assert self._process.poll() is None, "chromium has ended: see chromium.log"
            try:
                self._rest += os.read(self._reads, 1 << 20)
            except BlockingIOError:
                time.sleep(0.02)
        text, _zero, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(text)
        return answer

    def evaluate(self, script: str) -> Any:
        """Run a script in the page and return its value."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, page: Path, scheme: str, width: int = 1100) -> None:
        """Open a file in a window of this width, for people who want this colour scheme."""
        self.events.clear()
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.call("Page.navigate", url=page.as_uri())
        until = time.monotonic() + PATIENCE
        script = "location.href + ' ' + document.readyState"
        while self.evaluate(script) != f"{page.as_uri()} complete":
            assert time.monotonic() < until, f"{page} does not load"
            time.sleep(0.05)

    def screenshot(self, path: Path) -> bytes:
        """Write a picture of the whole page and return it."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        picture = base64.b64decode(answer["data"])
        path.write_bytes(picture)
        return picture

    def requests(self) -> list[str]:
        """Return the addresses that the open page asked for."""
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[dict[str, Any]]:
        """Return what the console of the open page shows: errors, refused content, exceptions."""
        kinds = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [event for event in self.events if event.get("method") in kinds]
