"""A door of its own: a home, keys, a serving process, and a plain HTTP client for it."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec

from transom.app.build import open_stores
from transom.app.home import Home, prepare
from transom.decisions.governance import TERMINAL, issue_key
from transom.storage.migrate import migrate

SETTINGS = """
[upstreams.near]
base_url = "{upstream}"
[upstreams.far]
base_url = "http://127.0.0.1:9/v1"

[models.small]
route = ["near"]
rung = "downloadable"
weights = "open"
licence = "Apache-2.0"
producer = "An Institute"
description = "A small open model"
price = {{ currency = "USD", input = "0.25", output = "2.00" }}

[models."vendor-large"]
route = [{{ upstream = "near", model = "large-2026" }}]
rung = "api"
weights = "none"
producer = "A Vendor"
description = "A vendor's model behind its API"

[models.draft]
route = ["far"]
rung = "internal"
weights = "none"
description = "Not for anyone yet"
{more}
"""
HOSTILE = """
[models."<img/src=x/onerror=document.title=1>"]
route = ["near"]
rung = "api"
"""


class Answer(msgspec.Struct):
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; of several of one name, the last."""
    body: bytes
    cookies: tuple[str, ...]
    """Every Set-Cookie header."""

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def cookie(self, name: str) -> str:
        """Return the value that was set for a cookie."""
        found = next(each for each in self.cookies if each.startswith(f"{name}="))
        return found.partition(";")[0].removeprefix(f"{name}=")


class Door(msgspec.Struct):
    """A running door. `keys` are secrets by name of the key, `ids` their ids."""

    home: Path
    port: int
    keys: dict[str, str]
    ids: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | str | None = None
    ) -> Answer:
        """Send one request over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            found = response.getheaders()
            headers = {name.lower(): value for name, value in found}
            cookies = tuple(value for name, value in found if name.lower() == "set-cookie")
            return Answer(response.status, headers, response.read(), cookies)
        finally:
            connection.close()

    def api(self, name: str, method: str, path: str, body: object = None) -> Answer:
        """Use the admin API with the key called `name`."""
        data = None if body is None else json.dumps(body)
        return self.ask(method, path, {"authorization": f"Bearer {self.keys[name]}"}, data)

    def chat(self, name: str, model: str = "small", text: str = "What is the capital of France?") -> Answer:
        """Ask a model."""
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
        return self.api(name, "POST", "/v1/chat/completions", body)

    def sign_in(self, name: str) -> "Visitor":
        """Sign in as a browser would."""
        form = self.ask("GET", "/sign-in")
        binding = form.cookie("transom_form")
        fields = {"key": self.keys[name], "form": hidden(form.text, "form"), "next": ""}
        answer = self.ask(
            "POST",
            "/sign-in",
            {
                "cookie": f"transom_form={binding}",
                "origin": self.url,
                "content-type": "application/x-www-form-urlencoded",
            },
            urlencode(fields),
        )
        assert answer.status == 303, answer.text
        return Visitor(self, answer.cookie("transom_session"))


class Visitor(msgspec.Struct):
    """Somebody signed in."""

    door: Door
    session: str

    def get(self, path: str) -> Answer:
        return self.door.ask("GET", path, {"cookie": f"transom_session={self.session}"})

    def post(
        self, path: str, fields: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a form of a page of ours, with its token unless `fields` has another."""
        sent = {"form": hidden(self.get("/").text, "form"), **(fields or {})}
        said = {
            "cookie": f"transom_session={self.session}",
            "origin": self.door.url,
            "content-type": "application/x-www-form-urlencoded",
            **(headers or {}),
        }
        return self.door.ask("POST", path, {name: value for name, value in said.items() if value}, urlencode(sent))


def hidden(page: str, name: str) -> str:
    """Return the value of a page's first hidden field of this name."""
    return page.partition(f'name="{name}" value="')[2].partition('"')[0]


def make_home(folder: Path, upstream: str, more: str = "") -> Home:
    """Make a home with the starter policies and three models."""
    home = Home(folder)
    prepare(home)
    home.settings.write_text(SETTINGS.format(upstream=upstream, more=more))
    return home


@contextmanager
def serve(home: Home, callers: Mapping[str, tuple[str, ...]]) -> Iterator[Door]:
    """Serve a home in a process of its own, with a key for each of `callers` (their groups)."""
    stores = open_stores(home)
    migrate(stores.database)
    with stores.database.begin() as connection:
        issued = {
            name: issue_key(connection, stores.keys, name, groups, by=TERMINAL) for name, groups in callers.items()
        }
    stores.close()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    door = Door(
        home.path, port, {name: key.key for name, key in issued.items()}, {name: key.id for name, key in issued.items()}
    )
    log = home.path / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", "from transom.cli.main import main; main()", "up", "--port", str(port)],
            env={**os.environ, "TRANSOM_HOME": str(home.path)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_until_ready(door, process, log)
            yield door
        finally:
            process.terminate()
            process.wait(20)


def _wait_until_ready(door: Door, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            if door.ask("GET", "/readyz").status == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
