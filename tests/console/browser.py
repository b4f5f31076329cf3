"""A real browser, driven by the W3C WebDriver protocol: what the tests need of it, and no more."""

import base64
import http.client
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


class Browser:
    """One browser session."""

    def __init__(self, port: int, profile: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": CHROMIUM, "args": [*_ARGUMENTS, f"--user-data-dir={profile}"]},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        created = self._send("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self._path = f"/session/{created['sessionId']}"

    def _send(self, method: str, path: str, body: object = None) -> Any:
        data = None if method == "GET" else json.dumps(body if body is not None else {})
        self._connection.request(method, path, data, {"content-type": "application/json"})
        response = self._connection.getresponse()
        value = json.loads(response.read())["value"]
        assert response.status == 200, value
        return value

    def go(self, url: str) -> None:
        """Load a page."""
        self._send("POST", f"{self._path}/url", {"url": url})

    @property
    def url(self) -> str:
        return str(self._send("GET", f"{self._path}/url"))

    def script(self, code: str, *arguments: object) -> Any:
        """Run a function's body in the page."""
        return self._send("POST", f"{self._path}/execute/sync", {"script": code, "args": list(arguments)})

    def _find(self, selector: str) -> str:
        found = self._send("POST", f"{self._path}/element", {"using": "css selector", "value": selector})
        return str(found[_ELEMENT])

    def click(self, selector: str) -> None:
        """Click as a person does."""
        self._send("POST", f"{self._path}/element/{self._find(selector)}/click")

    def write(self, selector: str, text: str) -> None:
        """Type into a field."""
        self._send("POST", f"{self._path}/element/{self._find(selector)}/value", {"text": text})

    def text(self, selector: str = "body") -> str:
        """Return what a person reads there."""
        # In one step: a page that loads between finding and reading would leave the reader with a stale element.
        return str(self.script("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def source(self) -> str:
        """Return the page's markup."""
        return str(self._send("GET", f"{self._path}/source"))

    def cookies(self) -> list[dict[str, Any]]:
        """Return the cookies of the page."""
        return list(self._send("GET", f"{self._path}/cookie"))

    def complaints(self) -> list[str]:
        """Return what the console said since the last time: violations of the content policy are among it."""
        return [str(each["message"]) for each in self._send("POST", f"{self._path}/se/log", {"type": "browser"})]

    def command(self, name: str, **parameters: object) -> Any:
        """Send a command of the DevTools protocol."""
        return self._send("POST", f"{self._path}/goog/cdp/execute", {"cmd": name, "params": parameters})

    def look(self, *, width: int, dark: bool) -> None:
        """Be as wide as `width` pixels, light or dark."""
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.command(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )

    def screenshot(self, file: Path) -> None:
        """Write the whole page as a picture."""
        shot = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def wait(self, holds: Callable[[], object], what: str, seconds: float = 10.0) -> float:
        """Wait until something holds; return how long it took."""
        began = time.monotonic()
        while not holds():
            assert time.monotonic() < began + seconds, f"not within {seconds} s: {what}\n{self.text()}"
            time.sleep(0.02)
        return time.monotonic() - began

    def close(self) -> None:
        """End the session."""
        self._send("DELETE", self._path)
        self._connection.close()


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser with a profile of its own."""
    assert DRIVER is not None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="transom-browser-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen([DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(port, process)
            session = Browser(port, profile)
            try:
                yield session
            finally:
                session.close()
        finally:
            process.terminate()
            process.wait(10)


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 20
    while True:
        assert process.poll() is None, "chromedriver ended"
        assert time.monotonic() < deadline, "chromedriver does not answer"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
