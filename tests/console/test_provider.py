"""Signing in with a real identity provider, and its tokens at the door."""

import base64
import json
import re
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import parse_qs, quote, urlencode, urljoin, urlsplit

import pytest
from tests.console.door import Door, open_door
from tests.support import node_provider
from tests.support.upstream import Upstream

from transom.callers.oidc import Identity, caller_id
from transom.console.sessions import Sessions

SETTINGS = """
[[oidc]]
issuer = "{issuer}"
audience = "{audience}"
client_id = "transom-pages"
client_secret = {{ env = "PAGES_SECRET" }}
scopes = ["openid", "profile", "groups"]
label = "Staff accounts"
groups = {{ heads = "operators", watch = "auditors", staff = "developers" }}
"""


class Page(NamedTuple):
    status: int
    url: str
    text: str


class Browser:
    """Follows links and forms, and keeps cookies."""

    def __init__(self) -> None:
        self.jar = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))

    def go(self, url: str, fields: dict[str, str] | None = None) -> Page:
        data = None if fields is None else urlencode(fields).encode()
        try:
            with self._opener.open(url, data, timeout=20) as answer:
                return Page(answer.status, answer.url, answer.read().decode())
        except HTTPError as error:
            return Page(error.code, error.url or "", error.read().decode())

    def submit(self, page: Page, **fields: str) -> Page:
        """Send the page's form."""
        action = re.search(r'<form[^>]*action="([^"]+)"', page.text)
        assert action is not None, page.text
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
        return self.go(urljoin(page.url, action[1]), hidden | fields)

    def sign_in(self, door: Door, name: str, back: str = "") -> Page:
        """Sign in as somebody at the provider, and consent; give the page of the door that comes of it."""
        page = self.go(f"{door.server.url}/sign-in/with/0{f'?next={quote(back)}' if back else ''}")
        page = self.submit(page, login=name, password="any")
        while "/interaction/" in page.url:
            page = self.submit(page)
        return page


@pytest.fixture(scope="module")
def staffed(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[tuple[Door, str]]:
    """A door whose pages people sign in to with the provider; and the provider's issuer."""
    port = node_provider.free_port()
    with node_provider.serving(f"http://127.0.0.1:{port}/sign-in/callback") as issuer:
        more = SETTINGS.format(issuer=issuer, audience=node_provider.AUDIENCE)
        home: Path = tmp_path_factory.mktemp("provider") / "home"
        environment = {"PAGES_SECRET": "secret of+the pages"}
        with open_door(home, upstream, more, port=port, environment=environment) as door:
            yield door, issuer


def test_somebody_signs_in_and_is_who_the_provider_says(staffed: tuple[Door, str]) -> None:
    door, issuer = staffed
    browser = Browser()
    assert "Sign in with Staff accounts" in browser.go(f"{door.server.url}/sign-in").text
    page = browser.sign_in(door, "nora@watch", "/policies")
    assert (page.status, 'content="0; url=/policies"' in page.text) == (200, True)
    home = browser.go(f"{door.server.url}/")
    assert "Person nora" in home.text
    assert "auditors" in home.text
    assert browser.go(f"{door.server.url}/keys").status == 403
    with door.server.stores() as stores:
        pseudonym = stores.keys.pseudonym(caller_id(issuer, "nora@watch"))
    decisions = [entry for entry in door.server.entries("decision/1") if getattr(entry, "by", None) == pseudonym]
    assert {getattr(entry, "action", "") for entry in decisions} >= {"view_console", "manage_keys"}


def test_an_operator_of_the_provider_hands_out_keys(staffed: tuple[Door, str]) -> None:
    door, _ = staffed
    browser = Browser()
    browser.sign_in(door, "olga@heads")
    page = browser.go(f"{door.server.url}/keys")
    token = re.search(r'name="form" value="([^"]+)"', page.text)
    assert token is not None
    sent = urllib.request.Request(
        f"{door.server.url}/keys",
        urlencode({"form": token[1], "name": "by olga", "group": "students"}).encode(),
        {"origin": door.server.url},
    )
    with browser._opener.open(sent) as answer:
        assert "Copy it now" in answer.read().decode()


def test_blocking_ends_the_session(staffed: tuple[Door, str]) -> None:
    door, issuer = staffed
    browser = Browser()
    browser.sign_in(door, "mallory@watch")
    assert browser.go(f"{door.server.url}/").status == 200
    assert door.server.run("callers", "block", issuer, "mallory@watch").returncode == 0
    page = browser.go(f"{door.server.url}/policies")
    assert (page.status, "You are blocked" in page.text) == (401, True)
    again = Browser().sign_in(door, "mallory@watch")
    assert (again.status, "You are blocked" in again.text) == (401, True)


def test_whoever_may_not_see_the_pages_is_told_so(staffed: tuple[Door, str]) -> None:
    door, _ = staffed
    page = Browser().sign_in(door, "dev@staff")
    assert page.status == 403
    assert "no policy permits view_console for groups developers" in page.text
    decision = door.server.newest()
    assert decision in page.text
    assert door.server.outcome(decision).reason == "policy_forbids"


def test_a_providers_own_access_token_opens_the_door(staffed: tuple[Door, str]) -> None:
    door, issuer = staffed
    pair = base64.b64encode(f"{quote('robot@staff')}:robots-secret".encode()).decode()
    asked = urllib.request.Request(
        f"{issuer}/token",
        urlencode({"grant_type": "client_credentials", "scope": "api"}).encode(),
        {"authorization": f"Basic {pair}"},
    )
    with urllib.request.urlopen(asked) as answer:
        token = json.load(answer)["access_token"]
    assert door.server.chat("small", token).status == 200
    assert door.server.chat("small", token[:-4] + "AAAA").json["error"]["code"] == "invalid_token"


def callback(door: Door, browser: Browser, **changed: str) -> Page:
    """Go to the provider and come back otherwise than it sent us."""
    begun = door.ask("GET", "/sign-in/with/0", {})
    asked = parse_qs(urlsplit(begun.headers["location"]).query)
    cookie = changed.pop("cookie", begun.cookie("transom_provider").partition(";")[0])
    query = {"code": "none", "state": asked["state"][0]} | changed
    answer = door.ask("GET", f"/sign-in/callback?{urlencode(query)}", {"cookie": f"transom_provider={cookie}"})
    assert not any(each.startswith("transom_session=") for each in answer.cookies)
    return Page(answer.status, "", answer.text)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, "did not take what it was sent"),
        ({"state": "another"}, "not begun in this browser"),
        ({"cookie": ""}, "not begun in this browser"),
        ({"cookie": "forged.x"}, "not begun in this browser"),
        ({"iss": "https://other.example"}, "another provider"),
    ],
)
def test_a_sign_in_that_is_not_the_one_begun_here_opens_nothing(
    staffed: tuple[Door, str], changed: dict[str, str], says: str
) -> None:
    page = callback(staffed[0], Browser(), **changed)
    assert page.status == 401
    assert says in page.text


def test_what_is_asked_of_the_provider_is_bound_to_the_browser(staffed: tuple[Door, str]) -> None:
    door, _ = staffed
    first, second = (door.ask("GET", "/sign-in/with/0?next=//evil.example", {}) for _ in range(2))
    asked = [parse_qs(urlsplit(answer.headers["location"]).query) for answer in (first, second)]
    assert asked[0]["code_challenge_method"] == ["S256"]
    for name in ("state", "nonce", "code_challenge"):
        assert asked[0][name] != asked[1][name]
    cookie = first.cookie("transom_provider").lower()
    for word in ("httponly", "samesite=lax", "path=/sign-in"):
        assert word in cookie
    with door.server.stores() as stores:
        flow = Sessions(stores.keys).resume(first.cookie("transom_provider").partition(";")[0])
    assert flow is not None
    assert flow.back == ""
    assert flow.verifier not in first.headers["location"]
    assert door.ask("GET", "/sign-in/with/1", {}).status == 404


def test_a_session_of_a_provider_that_is_trusted_no_more_opens_nothing(staffed: tuple[Door, str]) -> None:
    door, issuer = staffed
    with door.server.stores() as stores:
        sessions = Sessions(stores.keys)
        good = sessions.open_for(Identity(issuer, "x@heads", "X", ("heads",), 0))
        gone = sessions.open_for(Identity("https://gone.example", "x@heads", "X", ("heads",), 0))
    assert sessions.read(good.token) == good
    assert door.ask("GET", "/", {"cookie": f"transom_session={good.token}"}).status == 200
    assert door.ask("GET", "/", {"cookie": f"transom_session={gone.token}"}).status == 303
    assert sessions.read(good.token[:-2] + "xx") is None
