# SPDX-License-Identifier: GPL-3.0-or-later
"""A real headless Chromium, driven over the WebDriver protocol by chromedriver."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from testbed.errors import TestbedError
from testbed.instance import free_port


def reason_to_skip() -> str | None:
    missing = [program for program in ("chromium", "chromedriver") if not shutil.which(program)]
    return f"a page is looked at with {' and '.join(missing)}: run `make system-deps`" if missing else None


class Browser:
    """One window of 1400 by 900 pixels."""

    def __init__(self, url: str, session: str) -> None:
        self._url = f"{url}/session/{session}"

    def open(self, page: Path) -> None:
        self._post("/url", {"url": page.as_uri()})

    def run(self, script: str, *arguments: object) -> Any:
        """What the body of a function answers in the page."""
        return self._post("/execute/sync", {"script": script, "args": list(arguments)})

    def log(self) -> list[dict[str, Any]]:
        """What the console has to complain about, blocked requests included."""
        found: list[dict[str, Any]] = self._post("/se/log", {"type": "browser"})
        return found

    def resize(self, width: int, height: int = 900) -> None:
        """Show pages as in a window of that many pixels, until `resize` is called again."""
        self._devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def emulate(self, medium: str) -> None:
        """Lay pages out for ``print`` or ``screen``."""
        self._devtools("Emulation.setEmulatedMedia", media=medium)

    def allow_scripts(self, allowed: bool) -> None:
        """Whether scripts run in pages that are opened from now on. Those of `run` do in any case."""
        self._devtools("Emulation.setScriptExecutionDisabled", value=not allowed)

    def click(self, selector: str) -> None:
        """Click into the middle of an element, as a person does."""
        (element,) = self._post("/element", {"using": "css selector", "value": selector}).values()
        self._post(f"/element/{element}/click", {})

    def press(self, key: str) -> None:
        """Press a key, named as WebDriver does, where the focus is."""
        strokes = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._post("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(_call(self._url + "/screenshot")))

    def printed(self, *, landscape: bool = False) -> bytes:
        """The page on A4 paper, as a PDF."""
        size = {"paperWidth": 8.27, "paperHeight": 11.69}  # inches
        return base64.b64decode(self._devtools("Page.printToPDF", landscape=landscape, **size)["data"])

    def _devtools(self, command: str, **parameters: object) -> Any:
        return self._post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return _call(self._url + path, body)


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Chromium for the length of the block, with a profile of its own."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,900"]
    with (
        tempfile.TemporaryDirectory(prefix="chromium-") as profile,
        subprocess.Popen(
            ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as driver,
    ):
        try:
            _await(url)
            options = {"binary": shutil.which("chromium"), "args": [*arguments, f"--user-data-dir={profile}"]}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            session = _call(url + "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
            yield Browser(url, session)
            urllib.request.urlopen(urllib.request.Request(f"{url}/session/{session}", method="DELETE"), timeout=30)
        finally:
            driver.terminate()


def _await(url: str) -> None:
    for _number in range(300):
        with contextlib.suppress(OSError):
            if _call(url + "/status")["ready"]:
                return
        time.sleep(0.1)
    raise TestbedError("chromedriver is not ready after 30 s.")


def _call(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=120) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise TestbedError(f"{url}: {error.read().decode(errors='replace')[:1000]}") from None
