"""A door as a browser sees it: cookies, forms, pages."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import msgspec
from tests.support.server import NO_ENGINE, Answer, Server
from tests.support.upstream import Upstream

from transom.callers.issue import Issued

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
"""
CALLERS = {"alice": "operators", "omar": "auditors", "dana": "developers", "sam": "students"}
_FORM = "application/x-www-form-urlencoded"


class Door(msgspec.Struct):
    """A running door and a key for each of `CALLERS`."""

    server: Server
    keys: dict[str, Issued]

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: str | None = None) -> Answer:
        """Ask as a browser does."""
        return self.server.ask(method, path, headers=headers, body=None if body is None else body.encode())

    def api(self, name: str, method: str, path: str, body: object = None) -> Answer:
        """Use the admin API with a caller's key."""
        return self.server.ask(method, path, key=self.keys[name].key, body=body)

    def chat(self, name: str, model: str = "small", text: str = "What is the capital of France?") -> Answer:
        """Ask a model."""
        return self.server.chat(model, self.keys[name].key, text)

    def send_key(self, key: str, back: str = "", headers: Mapping[str, str] | None = None) -> Answer:
        """Send the sign-in form."""
        shown = self.ask("GET", "/sign-in", {})
        binding = shown.cookie("transom_form").partition(";")[0]
        sent = {"cookie": f"transom_form={binding}", "origin": self.server.url, "content-type": _FORM}
        fields = {"key": key, "form": shown.hidden("form"), "next": back}
        return self.ask("POST", "/sign-in", sent | dict(headers or {}), urlencode(fields))

    def sign_in(self, name: str) -> "Visitor":
        """Sign in with a caller's key."""
        answer = self.send_key(self.keys[name].key)
        assert answer.status == 303, answer.text
        return Visitor(self, answer.cookie("transom_session").partition(";")[0])


class Visitor(msgspec.Struct):
    """Somebody signed in."""

    door: Door
    session: str

    def get(self, path: str) -> Answer:
        return self.door.ask("GET", path, {"cookie": f"transom_session={self.session}"})

    def post(self, path: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Answer:
        """Send a form as one of our pages would; `fields` and `headers` may say otherwise."""
        form = {"form": self.get("/").hidden("form")} | dict(fields)
        sent = {
            "cookie": f"transom_session={self.session}",
            "origin": self.door.server.url,
            "content-type": _FORM,
        }
        return self.door.ask("POST", path, sent | dict(headers or {}), urlencode(form))


@contextmanager
def open_door(
    home: Path,
    upstream: Upstream,
    more: str = "",
    *,
    policies: str | None = None,
    workers: int = 1,
    port: int = 0,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Door]:
    """Serve a home with three models and the starter policies."""
    settings = NO_ENGINE + SETTINGS.format(upstream=upstream.url) + more
    with Server(home, settings, policies=policies, workers=workers, environment=environment) as server:
        server.port = port
        keys = {name: server.issue(name, group) for name, group in CALLERS.items()}
        yield Door(server.start(), keys)
