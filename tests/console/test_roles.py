"""Every route of the pages and the admin API, walked with every role of the starter policies."""

import json
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import urlencode

import pytest
from tests.console.door import Door, open_door
from tests.support.server import Answer
from tests.support.upstream import Upstream

from transom.audit import index
from transom.console.app import ROUTES
from transom.console.sessions import Sessions
from transom.console.site import Route
from transom.gateway.http import Gateway

NOTHING = cast("Any", None)
GATEWAY_ROUTES = Gateway(NOTHING, NOTHING, NOTHING).routes  # it only keeps what it is given
OPERATORS_ONLY: set[str | None] = {"manage_keys", "reload", "erase"}
READ: set[str | None] = {
    "view_console",
    "read_budgets",
    "read_decisions",
    "read_content",
    "read_ledger",
    "export_decisions",
}
ROLES: dict[str, set[str | None]] = {
    "operators": {route.action for route in ROUTES},
    "auditors": READ,
    "reviewers": {"view_console", "read_ledger"},
    "developers": {"read_ledger"},
    "students": {"read_ledger"},
    "monitors": {"read_ledger"},
    "nobodies": {"read_ledger"},
}
"""What each may do at a door where nothing is flagged."""
SECRET = "the key is sk-proj-" + "a1B2" * 12


@pytest.fixture(scope="module")
def staffed(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Door]:
    with open_door(tmp_path_factory.mktemp("roles") / "home", upstream) as door:
        for role in ROLES:
            door.keys[role] = door.server.issue(role, role)
        yield door


@pytest.fixture(scope="module")
def plain(staffed: Door) -> str:
    """A decision that no safeguard has found anything in."""
    return staffed.server.logged(staffed.chat("sam").decision or "").id


@pytest.fixture(scope="module")
def flagged(staffed: Door) -> str:
    """A decision whose prompt was blocked."""
    answer = staffed.chat("dana", text=SECRET)
    assert (answer.status, answer.json["error"]["code"]) == (403, "safeguard_blocked")
    return staffed.server.logged(answer.decision or "").id


def ask(door: Door, route: Route, role: str, decision: str) -> Answer:
    id_ = door.server.issue("walked", "students").id if "/keys/" in route.path else decision
    path = route.path.replace("{id}", id_).replace("{entry}", "decision").replace("{path:path}", "checkpoint")
    path += f"?{route.query}&reason=audit" if route.query else ""
    key = door.keys[role]
    if route.by == "key":
        body = json.dumps({"name": "walked"}).encode() if (route.method, route.path) == ("POST", "/api/keys") else None
        return door.server.ask(route.method, path, key=key.key, body=body)
    with door.server.stores() as stores:
        sessions = Sessions(stores.keys)
    session = sessions.open(key.id, 0)
    headers = {"cookie": f"transom_session={session.token}", "sec-fetch-site": "same-origin"}
    fields = urlencode({"form": sessions.form_token(session.token), "name": "walked", "reason": "audit"})
    return door.ask(route.method, path, headers, fields if route.method == "POST" else None)


WALKED = [route for route in ROUTES if route.action is not None and route.by in ("key", "session")]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("route", WALKED, ids=lambda route: f"{route.method}:{route.path}:{route.action}")
def test_every_route_is_open_to_whom_it_is_for_and_to_nobody_else(
    staffed: Door, plain: str, role: str, route: Route
) -> None:
    may = route.action in ROLES[role]
    lists = route.action == "read_decisions" and "{id}" not in route.path
    may = may or (role == "reviewers" and lists)
    answer = ask(staffed, route, role, plain)
    if may:
        assert answer.status in (200, 303), answer.text
    else:
        assert answer.status == 403
        assert "no policy permits" in answer.text
        story = staffed.server.story(answer.headers["transom-decision"])
        assert story.decision.ruling is not None
        assert (story.decision.action, story.decision.ruling.effect) == (route.action, "forbid")


@pytest.mark.parametrize(
    ("role", "opens", "says"), [("operators", True, True), ("auditors", True, True), ("reviewers", True, True)]
)
def test_what_is_flagged_is_for_reviewers_too(staffed: Door, flagged: str, role: str, opens: bool, says: bool) -> None:
    story, content = (
        staffed.api(role, "GET", f"/api/decisions/{flagged}{query}") for query in ("", "?content=1&reason=audit")
    )
    assert (story.status == 200, content.status == 200) == (opens, says)
    assert SECRET not in story.text
    assert (SECRET in content.text) == says
    policies = staffed.server.story(story.decision).decision.ruling
    assert policies is not None
    if role == "reviewers":
        assert policies.policies == ("reviewers-look-at-flagged",)


CHANGES_NOTHING = {("POST", "/decisions/{id}/content"), ("POST", "/sign-out")}
"""Asked for with another method than GET, and no change of anything: what is shown is on record, a cookie goes."""


def test_auditors_see_everything_and_change_nothing(staffed: Door, plain: str) -> None:
    """Whatever is not merely shown is refused to them, here and at the gateway, and nothing has changed by it."""
    walked = [route for route in WALKED if (route.method, route.path) not in CHANGES_NOTHING]
    for route in walked:
        answer = None if route.path == "/events" else ask(staffed, route, "auditors", plain)
        if route.method == "GET" and route.action not in OPERATORS_ONLY:
            assert answer is None or answer.status == 200, route
        else:
            assert answer is not None
            assert (answer.status, "no policy permits" in answer.text) == (403, True), route
    assert {route.action for route in walked if route.method != "GET"} <= OPERATORS_ONLY


def test_nothing_answers_an_auditor_but_what_shows_something(staffed: Door, upstream: Upstream) -> None:
    """Every route of the gateway that is more than a look: refused, on record, and no upstream is asked."""
    key, asked = staffed.keys["auditors"].key, len(upstream.seen)
    body = {"model": "small", "messages": [{"role": "user", "content": "?"}], "input": "?", "max_tokens": 1}
    walked = [route for route in GATEWAY_ROUTES if route.method != "GET"]
    assert len(walked) > 5
    for route in walked:
        path = route.path + ("small:generateContent" if route.path.endswith("/") else "")
        answer = staffed.server.ask(route.method, path, key=key, body=body)
        assert 400 <= answer.status < 500, route
        if path in ("/v1/chat/completions", "/v1/messages", "/v1/responses"):
            assert (answer.status, "no policy permits infer" in answer.text) == (403, True), route
    assert len(upstream.seen) == asked


def test_a_reviewers_lists_hold_flagged_decisions_alone(staffed: Door, plain: str, flagged: str) -> None:
    listed = {each["id"] for each in staffed.api("reviewers", "GET", "/api/decisions").json["decisions"]}
    auditors = staffed.api("auditors", "GET", "/api/decisions?caller=sam")
    assert plain in {each["id"] for each in auditors.json["decisions"]}
    assert flagged in listed
    assert plain not in listed
    page = staffed.sign_in("reviewers").get("/?show=all").text
    assert flagged in page
    assert plain not in page
    with staffed.server.stores() as stores:
        while index.catch_up(stores.database):  # or the door has
            pass
    searched = {each["id"] for each in staffed.api("reviewers", "GET", "/api/decisions?action=infer").json["decisions"]}
    assert flagged in searched
    assert plain not in searched
    assert plain not in staffed.sign_in("reviewers").get("/search?caller=sam").text
    nothing = staffed.api("reviewers", "GET", "/api/decisions/01900000-0000-7000-8000-000000000000")
    assert nothing.status == 403  # nor whether there is one
