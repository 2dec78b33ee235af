"""A real browser: headless Chromium, spoken to by the WebDriver protocol."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BINARY = shutil.which("chromium") or shutil.which("google-chrome")
MISSING = ["chromium"] if BINARY is None else []
MISSING += ["chromedriver"] if shutil.which("chromedriver") is None else []
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


@dataclass(frozen=True)
class Browser:
    """A window."""

    session: str

    def open(self, path: Path) -> None:
        """Open a file and wait until it is loaded."""
        self._post("url", {"url": path.resolve().as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a script returns in the page."""
        return self._post("execute/sync", {"script": script, "args": list(arguments)})

    def resize(self, width: int, height: int) -> None:
        """Make the page as wide and high as a screen, in pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        command = {"cmd": "Emulation.setDeviceMetricsOverride", "params": size}
        self._post("goog/cdp/execute", command)

    def errors(self) -> list[str]:
        """Return what the console has told as errors since it was last asked."""
        entries = self._post("se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def picture(self, path: Path) -> None:
        """Write a PNG of what is seen."""
        path.write_bytes(base64.b64decode(_call("GET", f"{self.session}/screenshot")))

    def _post(self, command: str, content: dict[str, Any]) -> Any:
        return _call("POST", f"{self.session}/{command}", content)


@contextmanager
def browsing() -> Iterator[Browser]:
    """Start a browser and end it."""
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        assert driver.stdout is not None
        port = next(
            found[1] for line in driver.stdout if (found := re.search(r"on port (\d+)\.", line))
        )
        address = f"http://127.0.0.1:{port}/session"
        options = {"args": OPTIONS, "binary": BINARY}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = _call("POST", address, {"capabilities": {"alwaysMatch": wanted}})
        session = f"{address}/{made['sessionId']}"
        try:
            yield Browser(session)
        finally:
            _call("DELETE", session)
    finally:
        driver.terminate()
        driver.wait(30)


def _call(method: str, address: str, content: dict[str, Any] | None = None) -> Any:
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    request.method = method
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["value"]
