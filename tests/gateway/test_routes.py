"""Every route of the whole application passes identification, ruling and record. A new route is tested by existing."""

from collections.abc import Iterator
from typing import Any, NamedTuple, cast
from urllib.parse import urlencode

import pytest
from tests.support.doors import MODELS, Door
from tests.support.server import NO_ENGINE, Answer, Server
from tests.support.upstream import Upstream

from transom.callers.issue import Issued
from transom.console.app import ROUTES
from transom.console.sessions import SESSION_COOKIE, Sessions
from transom.gateway.http import Gateway
from transom.ledger.checkpoint import Checkpoint
from transom.ledger.note import Signer
from transom.ledger.tree import EMPTY_ROOT
from transom.ledger.witness import log_id
from transom.values import CallerId

NOTHING = cast("Any", None)
GATEWAY_ROUTES = Gateway(NOTHING, NOTHING, NOTHING).routes  # it only keeps what it is given
STRICT = '@id("operators-everything") permit (principal in Group::"operators", action, resource);'
"""The starter policies leave the ledger, and on this machine the metrics, open to anyone; these leave nothing."""
WITNESSED = Signer("witnessed.example/log", bytes(32))
"""A log that the strict door is a witness for. Its checkpoint is of no entries, so that it may be cosigned any time."""
NOTE = WITNESSED.sign(Checkpoint(WITNESSED.name, 0, EMPTY_ROOT).text)
STRANGER = Issued(CallerId("key_0000000000000000"), "tr_" + "S" * 43, NOTHING)
BODIES = {
    "/v1/chat/completions": b'{"model":"open","messages":[{"role":"user","content":"route"}]}',
    "/v1/responses": b'{"model":"open","input":"route"}',
    "/v1/messages": b'{"model":"open","max_tokens":9,"messages":[{"role":"user","content":"route"}]}',
    "/v1/messages/count_tokens": b'{"model":"open","messages":[{"role":"user","content":"route"}]}',
    "/v1/models/": b'{"contents":[{"role":"user","parts":[{"text":"route"}]}]}',
    "/v1beta/models/": b'{"contents":[{"role":"user","parts":[{"text":"route"}]}]}',
    "/v1/embeddings": b'{"model":"vectors","input":"route"}',
    "/witness/add-checkpoint": b"old 0\n\n" + NOTE.encode(),
    "/api/keys": b'{"name":"made by a route","groups":["students"]}',
}
PATHS = {
    ("GET", "/v1/models/"): "/v1/models/open",
    ("POST", "/v1/models/"): "/v1/models/open:generateContent",
    ("GET", "/v1beta/models/"): "/v1beta/models/open",
    ("POST", "/v1beta/models/"): "/v1beta/models/open:generateContent",
    ("GET", "/ledger/"): "/ledger/checkpoint",
    ("GET", "/witness/"): f"/witness/{log_id(WITNESSED.name)}/checkpoint",
    ("GET", "/receipts/"): "/receipts/{id}",
    ("GET", "/ledger-tiles/{path:path}"): "/ledger-tiles/checkpoint",
}


class Case(NamedTuple):
    """One route, as a test asks for it. `by`: `key`, `session` or `form`."""

    method: str
    path: str
    action: str
    by: str
    query: str | None


CASES = [Case(r.method, r.path, r.action, "key", None) for r in GATEWAY_ROUTES if r.action is not None] + [
    Case(r.method, r.path, r.action, r.by, r.query) for r in ROUTES if r.action is not None
]
BY_OURS = [case for case in CASES if case.by != "provider"]
"""Those that take a key of ours, or a session that one has opened. `tests/console/test_provider.py` asks the others."""
by_ours = pytest.mark.parametrize("case", BY_OURS, ids=[f"{c.method}:{c.path}:{c.action}" for c in BY_OURS])
every_route = pytest.mark.parametrize("case", CASES, ids=[f"{c.method}:{c.path}:{c.action}" for c in CASES])


@pytest.fixture(scope="module")
def strict_door(tmp_path_factory: pytest.TempPathFactory, vendor: Upstream) -> Iterator[Door]:
    home = tmp_path_factory.mktemp("strict") / "home"
    witness = f'[witness]\nlogs = ["{WITNESSED.verifier.vkey}"]\n'
    with Server(home, NO_ENGINE + witness + MODELS.format(url=vendor.url), policies=STRICT) as server:
        door = Door(server.start(), vendor)
        cosigned = server.ask(
            "POST", "/witness/add-checkpoint", key=door.key("operators"), body=BODIES["/witness/add-checkpoint"]
        )
        assert cosigned.status == 200, cosigned.body
        yield door


def ask(door: Door, case: Case, key: Issued | None) -> Answer:
    """Ask a route as the caller whose key it is, in the way that the route identifies callers; `None`: without any."""
    path = PATHS.get((case.method, case.path), case.path)
    if "{id}" in path:
        path = path.replace("{id}", an_id(door, path)).replace("{entry}", "decision")
    if case.query is not None:
        path += f"?{case.query}&reason=audit"
    if case.by == "key":
        body = BODIES[case.path] if case.path in BODIES and case.method == "POST" else None
        return door.server.ask(case.method, path, key=key.key if key else None, body=body)
    return ask_as_browser(door, case, path, key)


def ask_as_browser(door: Door, case: Case, path: str, key: Issued | None) -> Answer:
    with door.server.stores() as stores:
        sessions = Sessions(stores.keys)
    headers = {"sec-fetch-site": "same-origin", "content-type": "application/x-www-form-urlencoded"}
    fields = {"name": "made by a page", "groups": "students", "reason": "audit"}
    if case.by == "form":
        headers["cookie"] = "transom_form=binding"
        fields |= {"key": key.key if key else "", "form": sessions.form_token("binding")}
    elif key is not None:
        session = sessions.open(key.id, 0)
        headers["cookie"] = f"{SESSION_COOKIE}={session.token}"
        fields["form"] = sessions.form_token(session.token)
    body = urlencode(fields).encode() if case.method == "POST" else None
    return door.server.ask(case.method, path, headers=headers, body=body)


def an_id(door: Door, path: str) -> str:
    """Give the id of a key, or of a decision whose entries are in the log."""
    if "keys" in path:
        return door.server.issue("to be revoked", "students").id
    answer = door.server.chat("open", door.key("operators"), "for a route")
    return door.server.logged(answer.decision).id


def test_only_probes_and_the_sign_in_page_are_open(strict_door: Door) -> None:
    assert {route.path for route in GATEWAY_ROUTES if route.action is None} == {"/healthz", "/readyz"}
    assert {(route.method, route.path) for route in ROUTES if route.action is None} == {
        ("GET", "/static/{name}"),
        ("GET", "/sign-in"),
        ("GET", "/sign-in/with/{number}"),
    }
    assert strict_door.server.get("/healthz").body == b"ok\n"
    assert strict_door.server.get("/readyz").json == {"ready": True, "problems": {}}
    assert strict_door.server.get("/sign-in").status == 200


def test_what_is_no_route_reveals_nothing(strict_door: Door) -> None:
    for path in (
        "/v1",
        "/v1/",
        "/v1/chat",
        "/ledger",
        "/admin",
        "/docs",
        "/openapi.json",
        "/data/transom.db",
        "//",
        "/%2e",
    ):
        for key in (None, strict_door.key("operators")):
            assert strict_door.server.get(path, key).status in (401, 404), path


@every_route
@pytest.mark.parametrize("key", [None, STRANGER], ids=["no key", "unknown key"])
def test_a_stranger_is_refused(strict_door: Door, case: Case, key: Issued | None) -> None:
    asked = len(strict_door.upstream.seen)
    if "{id}" in PATHS.get((case.method, case.path), case.path):
        asked += "keys" not in case.path
    answer = ask(strict_door, case, key)
    if answer.status == 303:  # a page leads to where one signs in, and says nothing
        assert (case.by, case.method, answer.body) == ("session", "GET", b"")
        assert answer.headers["location"].startswith("/sign-in")
    else:
        assert answer.status in (401, 403)
    assert "transom-decision" not in answer.headers
    assert len(strict_door.upstream.seen) == asked


@by_ours
def test_a_known_caller_without_permission_is_refused_on_record(strict_door: Door, case: Case) -> None:
    answer = ask(strict_door, case, strict_door.keys["nobodies"])
    assert answer.status == (404 if case.action == "read_receipt" else 403)  # others' may not even be known of
    story = strict_door.server.story(answer.decision)
    assert story.outcome is not None
    assert story.decision.ruling is not None
    assert (story.caller, story.decision.action) == ("nobodies", case.action)
    assert (story.decision.ruling.effect, story.outcome.status) == ("forbid", "refused")


@by_ours
def test_a_permitted_caller_is_served_on_record(strict_door: Door, case: Case) -> None:
    answer = ask(strict_door, case, strict_door.keys["operators"])
    assert answer.status in (200, 201, 303), answer.body
    story = strict_door.server.story(answer.decision)
    assert story.outcome is not None
    assert story.decision.ruling is not None
    assert (story.caller, story.decision.action) == ("operators", case.action)
    assert (story.decision.ruling.effect, story.outcome.status) == ("permit", "answered")


@by_ours
def test_a_revoked_key_is_refused_on_record(strict_door: Door, case: Case) -> None:
    key = strict_door.server.issue("soon revoked", "operators")
    strict_door.server.revoke(key.id)
    answer = ask(strict_door, case, key)
    assert answer.status == 401
    story = strict_door.server.story(answer.decision)
    assert story.outcome is not None
    assert (story.caller, story.outcome.reason) == ("soon revoked", "key_revoked")
