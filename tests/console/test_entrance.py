"""Sessions: how they begin, what holds them, how they end."""

import time
from pathlib import Path

import pytest
from tests.console.door import CALLERS, Door, open_door
from tests.support.upstream import Upstream

from transom.console.app import ROUTES
from transom.console.sessions import Sessions
from transom.ledger.keys import load_or_create
from transom.values import CallerId

PLACES = {"{id}": "01a20c96-e4e1-7048-a1b4-8de83e47238a", "{entry}": "decision", "{name}": "app.css"}


def path_of(template: str) -> str:
    for name, value in PLACES.items():
        template = template.replace(name, value)
    return template


def test_the_sessions_cookie_is_for_this_site_and_out_of_scripts_reach(door: Door) -> None:
    answer = door.send_key(door.keys["omar"].key)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    attributes = {each.strip().lower() for each in answer.cookie("transom_session").split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/", "max-age=43200"} <= attributes
    assert "secure" not in attributes
    assert "domain" not in str(attributes)


def test_the_cookie_is_secure_where_the_browser_came_by_https(door: Door) -> None:
    answer = door.send_key(door.keys["omar"].key, headers={"x-forwarded-proto": "https"})
    assert "secure" in answer.cookie("transom_session").lower()


def test_a_wrong_key_waits_is_counted_and_not_repeated(door: Door) -> None:
    began = time.monotonic()
    wrong = "tr_" + "w" * 43
    answer = door.send_key(wrong)
    assert time.monotonic() - began >= 1
    assert answer.status == 401
    assert "no key of this door" in answer.text
    assert wrong not in answer.text
    assert wrong not in door.server.log + door.server.output
    assert not any(each.startswith("transom_session=") for each in answer.cookies)
    metrics = door.server.get("/metrics").body.decode()
    assert 'transom_unidentified_total{reason="unknown key"}' in metrics


def test_who_may_not_see_the_console_is_refused_by_name_of_decision(door: Door) -> None:
    answer = door.send_key(door.keys["dana"].key)
    assert answer.status == 403
    assert "no policy permits view_console for groups developers" in answer.text
    assert answer.headers["transom-decision"] in answer.text


@pytest.mark.parametrize("headers", [{"origin": "https://elsewhere.example"}, {"sec-fetch-site": "cross-site"}])
def test_a_sign_in_form_of_another_site_is_refused(door: Door, headers: dict[str, str]) -> None:
    answer = door.send_key(door.keys["alice"].key, headers=headers)
    assert answer.status == 403
    assert not answer.cookies


def test_a_sign_in_without_the_forms_cookie_is_refused(door: Door) -> None:
    assert door.send_key(door.keys["alice"].key, headers={"cookie": ""}).status == 403


@pytest.mark.parametrize("back", ["//elsewhere.example/", "/\\elsewhere.example", "https://elsewhere.example", "x"])
def test_signing_in_never_leads_elsewhere(door: Door, back: str) -> None:
    assert door.send_key(door.keys["omar"].key, back).headers["location"] == "/"


def test_signing_in_leads_back(door: Door) -> None:
    page = door.ask("GET", "/policies?x=1", {})
    assert (page.status, page.headers["location"]) == (303, "/sign-in?next=%2Fpolicies%3Fx%3D1")
    assert door.send_key(door.keys["omar"].key, "/policies?x=1").headers["location"] == "/policies?x=1"


def test_signing_out_takes_the_cookie_away(door: Door) -> None:
    visitor = door.sign_in("omar")
    answer = visitor.post("/sign-out", {})
    assert (answer.status, answer.headers["location"]) == (303, "/sign-in")
    assert "max-age=0" in answer.cookie("transom_session").lower()


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"form": ""}, {}),
        ({"form": "forged"}, {}),
        ({}, {"origin": "https://elsewhere.example"}),
        ({}, {"origin": "null"}),
        ({}, {"origin": ""}),
        ({}, {"sec-fetch-site": "cross-site"}),
        ({}, {"sec-fetch-site": "same-site"}),
    ],
)
def test_a_forged_form_does_nothing_and_is_on_record(
    door: Door, fields: dict[str, str], headers: dict[str, str]
) -> None:
    visitor = door.sign_in("alice")
    answer = visitor.post("/keys", {"name": "forged", "groups": "operators"} | fields, headers)
    assert answer.status == 403
    assert "not sent from a page of this door" in answer.text
    assert "forged" not in [key["name"] for key in door.api("alice", "GET", "/api/keys").json["keys"]]
    story = door.server.story(answer.headers["transom-decision"])
    assert story.outcome is not None
    assert (story.outcome.status, story.outcome.reason) == ("refused", "foreign_form")


def test_a_form_token_of_another_session_is_worth_nothing(door: Door) -> None:
    theirs = door.sign_in("omar").get("/").hidden("form")
    assert door.sign_in("alice").post("/sign-out", {"form": theirs}).status == 403


def test_revoking_the_key_ends_its_sessions_at_once(tmp_path: Path, upstream: Upstream) -> None:
    with open_door(tmp_path / "home", upstream) as door:
        visitor = door.sign_in("omar")
        assert visitor.get("/").status == 200
        door.server.revoke(door.keys["omar"].id)
        answer = visitor.get("/policies")
        assert answer.status == 401
        assert "This key is revoked" in answer.text
        assert "max-age=0" in answer.cookie("transom_session").lower()
        story = door.server.story(answer.headers["transom-decision"])
        assert story.outcome is not None
        assert story.outcome.reason == "key_revoked"


def test_a_session_is_what_was_signed_and_until_when(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(load_or_create(tmp_path / "keys"))
    session = sessions.open(CallerId("key_00ff"), 7)
    assert sessions.read(session.token) == session
    assert Sessions(load_or_create(tmp_path / "keys")).read(session.token) == session  # another worker's
    assert Sessions(load_or_create(tmp_path / "other")).read(session.token) is None
    for forged in ("", ".", "a.b.c", session.token[:-1], session.token.replace("00ff", "00fe"), session.token + "é"):
        assert sessions.read(forged) is None
    monkeypatch.setattr(time, "time", lambda: session.expires)
    assert sessions.read(session.token) is None


def test_every_route_has_the_strict_headers(door: Door) -> None:
    visitor, key = door.sign_in("alice"), door.keys["alice"].key
    for route in ROUTES:
        if route.path == "/sign-out":
            continue
        for headers in ({}, {"cookie": f"transom_session={visitor.session}", "authorization": f"Bearer {key}"}):
            page = door.ask(route.method, path_of(route.path), headers)
            where = f"{route.method} {route.path} {page.status}"
            policy = page.headers["content-security-policy"]
            assert "default-src 'none'" in policy, where
            assert "frame-ancestors 'none'" in policy, where
            assert "unsafe" not in policy, where
            assert page.headers["x-content-type-options"] == "nosniff", where
            assert page.headers["referrer-policy"] == "same-origin", where
            assert page.headers["cross-origin-opener-policy"] == "same-origin", where
            assert page.headers["cache-control"] == ("no-cache" if "/static/" in route.path else "no-store"), where
    for path in ("/nothing", "/api/nothing", "/static/nothing.css", "/keys/"):
        page = door.ask("GET", path, {"accept": "text/html"})
        assert page.status == 404
        assert "default-src 'none'" in page.headers["content-security-policy"]
    assert door.ask("DELETE", "/", {"accept": "text/html"}).status == 405


def test_the_sign_in_page_and_files_reveal_nothing(door: Door) -> None:
    shown = door.ask("GET", "/sign-in", {}).text
    for word in ("small", "vendor", "sha256", *CALLERS):
        assert word not in shown
    assert door.ask("GET", "/static/..%2Fapp.py", {}).status == 404
