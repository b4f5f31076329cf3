"""The admin API."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.console.door import Door, open_door
from tests.support.server import Answer
from tests.support.upstream import Upstream

from transom.callers.issue import Terms
from transom.console.app import ROUTES
from transom.ledger.acts import KeyEntry

_DELEGATE = """
@id("operators-everything") permit (principal in Group::"operators", action, resource);
@id("leads-manage-keys") permit (principal in Group::"leads", action == Action::"manage_keys", resource);
@id("leads-issue-keys") permit (principal in Group::"leads", action == Action::"issue_key", resource)
when { ["leads", "students"].containsAll(context.groups) };
"""


@pytest.fixture(scope="module")
def delegated(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Door]:
    """A door where leads may manage keys too."""
    home = tmp_path_factory.mktemp("delegated") / "home"
    with open_door(home, upstream, policies=_DELEGATE) as door:
        door.keys["lea"] = door.server.issue("lea", "leads", "students")
        yield door


def test_keys_are_issued_listed_and_revoked_on_record(door: Door) -> None:
    made = door.api("alice", "POST", "/api/keys", {"name": "ci", "groups": ["developers"], "expires": "12h"})
    assert made.status == 200
    key, id_ = made.json["key"], made.json["id"]
    assert made.json["groups"] == ["developers"]
    assert door.server.chat("small", key).status == 200
    listed = next(each for each in door.api("alice", "GET", "/api/keys").json["keys"] if each["id"] == id_)
    assert (listed["name"], listed["state"]) == ("ci", "valid")
    assert key not in str(listed)
    gone = door.api("alice", "DELETE", f"/api/keys/{id_}")
    assert (gone.status, gone.json) == (200, {"id": id_, "revoked": True, "changed": True})
    refused = door.server.chat("small", key)
    assert (refused.status, refused.json["error"]["code"]) == (401, "key_revoked")
    assert door.api("alice", "DELETE", f"/api/keys/{id_}").json["changed"] is False
    with door.server.stores() as stores:
        pseudonym, by = stores.keys.pseudonym(id_), stores.keys.pseudonym(door.keys["alice"].id)
    events = [each for each in door.server.entries("key/1") if isinstance(each, KeyEntry) and each.key == pseudonym]
    assert [(each.event, each.by) for each in events] == [("issued", by), ("revoked", by)]


def test_whoever_revokes_their_own_key_is_told_that_it_is_done(door: Door) -> None:
    made = door.api("alice", "POST", "/api/keys", {"name": "brief", "groups": ["operators"]}).json
    gone = door.server.ask("DELETE", f"/api/keys/{made['id']}", key=made["key"])
    assert (gone.status, gone.json["changed"]) == (200, True)
    story = door.server.story(gone.decision)
    assert story.outcome is not None
    assert story.outcome.status == "answered"
    assert door.server.get("/api/keys", made["key"]).status == 401


def test_a_client_that_leaves_before_its_body_is_whole_is_on_record(door: Door) -> None:
    known = {entry.id for entry in door.server.entries("decision/1")}
    with socket.create_connection(("127.0.0.1", door.server.port)) as connection:
        head = f"POST /api/keys HTTP/1.1\r\nhost: door\r\nauthorization: Bearer {door.keys['alice'].key}\r\n"
        connection.sendall(f"{head}content-length: 9\r\n\r\n".encode())
        until = time.monotonic() + 10
        while not (fresh := {entry.id for entry in door.server.entries("decision/1")} - known):
            assert time.monotonic() < until
            time.sleep(0.01)
    story = door.server.story(fresh.pop())
    assert story.outcome is not None
    assert (story.decision.action, story.outcome.status, story.outcome.reason) == (
        "manage_keys",
        "abandoned",
        "client_gone",
    )


def test_a_store_that_cannot_be_read_is_said_alike_by_all_that_reads_it(tmp_path: Path, upstream: Upstream) -> None:
    with open_door(tmp_path / "home", upstream) as door:
        decision = door.chat("sam").decision
        door.server.logged(decision)
        visitor = door.sign_in("alice")
        ledger = door.server.home.data / "objects" / "ledger"
        ledger.rename(ledger.with_name("away"))
        ledger.symlink_to(ledger)  # it leads to itself for ever
        anonymous = door.server.get("/ledger/checkpoint")
        answers = [anonymous]
        answers += [door.api("alice", "GET", path) for path in ("/ledger/checkpoint", f"/api/decisions/{decision}")]
        for answer in answers:
            assert (answer.status, answer.json["error"]["code"]) == (503, "not_readable")
            assert answer.headers["retry-after"] == "1"
        page = visitor.get(f"/decisions/{decision}")
        assert page.status == 503
        ledger.unlink()
        ledger.with_name("away").rename(ledger)
        assert "transom-decision" not in anonymous.headers
        for recorded in (answers[1].decision, answers[2].decision, page.headers["transom-decision"]):
            story = door.server.story(recorded)
            assert story.outcome is not None
            assert (story.outcome.status, story.outcome.reason) == ("failed", "not_readable")
        assert door.server.get("/ledger/checkpoint").status == 200
    assert "Traceback" not in door.server.log


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"groups": []}, "name"),
        ({"name": "x", "expires": "soon"}, "length of time"),
        ({"name": "x", "groups": ["NO SUCH"]}, "group"),
        ({"name": "x", "admin": True}, "admin"),
        (b"{", "truncated"),
        (b"\xff", "invalid"),
    ],
)
def test_a_bad_body_is_told_what_is_wrong_with_it(door: Door, body: object, says: str) -> None:
    answer = door.api("alice", "POST", "/api/keys", body)
    assert answer.status == 400
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert says in answer.json["error"]["message"]
    assert answer.json["error"]["decision"] == answer.decision


def test_a_body_that_is_too_long_is_refused(door: Door) -> None:
    answer = door.api("alice", "POST", "/api/keys", {"name": "x" * 70_000})
    assert answer.status == 413


def test_auditors_read_decisions_and_not_keys(door: Door) -> None:
    decision = door.chat("sam", text="unmistakable words").decision
    door.server.logged(decision)
    told = door.api("omar", "GET", f"/api/decisions/{decision}")
    assert told.status == 200
    assert told.json["decision"]["ruling"]["policies"] == ["students-use-open-models"]
    assert told.json["inclusion"]["verified"] is True
    assert told.json["content"] == []
    assert b"unmistakable" not in told.body
    for method, path in (
        ("GET", "/api/keys"),
        ("POST", "/api/keys"),
        ("DELETE", f"/api/keys/{door.keys['sam'].id}"),
        ("POST", "/api/reload"),
    ):
        answer = door.api("omar", method, path)
        assert (answer.status, answer.json["error"]["code"]) == (403, "policy_forbids"), path
        assert b"unmistakable" not in answer.body
    shown = door.api("omar", "GET", f"/api/decisions/{decision}?content=1&reason=audit")
    assert "unmistakable words" in str(shown.json["content"])
    assert door.server.story(shown.decision).decision.action == "read_content"


def test_decisions_are_listed_page_by_page(door: Door) -> None:
    asked = [door.chat("dana").decision for _ in range(5)]
    found: list[str] = []
    older: str | None = None
    while not set(asked) <= set(found):
        page = door.api("omar", "GET", "/api/decisions?limit=2" + (f"&before={older}" if older else "")).json
        assert 1 <= len(page["decisions"]) <= 2
        found += [each["id"] for each in page["decisions"]]
        older = page["older"]
        assert older is not None
    assert len(found) == len(set(found))
    assert [each for each in found if each in asked] == asked[::-1]
    for query in ("limit=x", "limit=201", "limit=0", "before=-1"):
        assert door.api("omar", "GET", f"/api/decisions?{query}").status == 400


def test_models_and_status(door: Door) -> None:
    models = {each["name"]: each for each in door.api("omar", "GET", "/api/models").json["models"]}
    assert set(models) == {"small", "vendor-large"}
    assert (models["small"]["rung"], models["small"]["rung_index"]) == ("downloadable", 4)
    status = door.api("omar", "GET", "/api/status").json
    assert (status["ready"], status["reload_problem"]) == (True, None)
    with door.server.stores() as stores:
        assert status["ledger_vkey"] == stores.keys.vkey


def test_reload_answers_with_digests(door: Door) -> None:
    taken = door.api("alice", "POST", "/api/reload").json
    assert set(taken) == {"policies", "settings", "registry"}
    assert all(value.startswith("sha256:") for value in taken.values())


def test_no_key_and_a_session_alone_open_nothing(door: Door) -> None:
    session = door.sign_in("alice").session
    answer = door.server.ask("GET", "/api/keys", headers={"cookie": f"transom_session={session}"})
    assert (answer.status, answer.json["error"]["code"]) == (401, "missing_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_key_never_exceeds_its_maker(delegated: Door) -> None:
    def make(**wanted: object) -> Answer:
        return delegated.api("lea", "POST", "/api/keys", {"name": "made", **wanted})

    before = delegated.api("alice", "GET", "/api/keys").json
    for groups in (["operators"], ["students", "developers"]):
        refused = make(groups=groups)
        assert (refused.status, refused.json["error"]["code"]) == (403, "exceeds_maker")
    revoked = delegated.api("lea", "DELETE", f"/api/keys/{delegated.keys['alice'].id}")
    assert (revoked.status, revoked.json["error"]["code"]) == (403, "exceeds_maker")
    rotated = delegated.api("lea", "POST", f"/api/keys/{delegated.keys['alice'].id}/rotate")
    assert (rotated.status, rotated.json["error"]["code"]) == (403, "exceeds_maker")
    assert "key" not in rotated.json
    assert delegated.api("alice", "GET", "/api/keys").json == before
    assert make(groups=["students"]).status == 200
    assert make(groups=[]).status == 200


def test_a_key_that_is_rotated_goes_on_with_a_new_secret(door: Door) -> None:
    made = door.api("alice", "POST", "/api/keys", {"name": "ci", "groups": ["developers"], "service": True}).json
    turned = door.api("alice", "POST", f"/api/keys/{made['id']}/rotate", {"overlap": "1h"}).json
    assert (turned["id"], turned["groups"], turned["service"]) == (made["id"], ["developers"], True)
    assert turned["key"] != made["key"]
    assert turned["overlap_ends"] > time.time() * 1000
    assert [door.server.chat("small", each["key"]).status for each in (made, turned)] == [200, 200]
    last = door.api("alice", "POST", f"/api/keys/{made['id']}/rotate", {"overlap": "none"}).json
    assert last["overlap_ends"] is None
    answers = [door.server.chat("small", each["key"]) for each in (made, turned, last)]
    assert [answer.status for answer in answers] == [401, 401, 200]
    assert answers[0].json["error"]["code"] == "invalid_api_key"  # two rotations ago: nobody knows it any more
    assert answers[1].json["error"]["code"] == "key_replaced"
    assert door.server.outcome(answers[1].decision).reason == "key_replaced"
    (listed,) = (each for each in door.api("alice", "GET", "/api/keys").json["keys"] if each["id"] == made["id"])
    assert (listed["rotations"], listed["overlap_ends"], listed["service"]) == (2, None, True)
    with door.server.stores() as stores:
        pseudonym = stores.keys.pseudonym(made["id"])
    events = [each for each in door.server.entries("key/1") if isinstance(each, KeyEntry) and each.key == pseudonym]
    assert [(each.event, each.service) for each in events] == [("issued", True), ("rotated", True), ("rotated", True)]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 200, ""),
        ({"overlap": "soon"}, 400, "length of time"),
        ({"overlap": 3}, 400, "overlap"),
        ({"secret": "x"}, 400, "secret"),
    ],
)
def test_how_a_rotation_is_asked_for(door: Door, body: object, status: int, says: str) -> None:
    id_ = door.server.issue("turning", "students").id
    answer = door.api("alice", "POST", f"/api/keys/{id_}/rotate", body)
    assert answer.status == status
    assert says in answer.text
    assert door.api("alice", "POST", "/api/keys/key_none/rotate", b"").json["error"]["code"] == "key_not_found"


def test_whoever_rotates_their_own_key_is_told_the_new_secret(door: Door) -> None:
    made = door.server.issue("self", "operators")
    turned = door.server.ask("POST", f"/api/keys/{made.id}/rotate", key=made.key, body={"overlap": "none"})
    assert turned.status == 200
    assert door.server.get("/api/status", made.key).status == 401
    assert door.server.get("/api/status", turned.json["key"]).status == 200


def test_a_key_is_held_to_models_and_networks(door: Door) -> None:
    wanted = {"name": "bound", "groups": ["developers"], "models": ["small"], "networks": ["127.0.0.1"]}
    made = door.api("alice", "POST", "/api/keys", wanted).json
    assert (made["models"], made["networks"]) == (["small"], ["127.0.0.1/32"])
    assert door.server.chat("small", made["key"]).status == 200
    assert door.server.chat("vendor-large", made["key"]).json["error"]["code"] == "key_model_not_allowed"
    for bad in ({"networks": ["10.0.0.1/8"]}, {"models": ["a b"]}):
        answer = door.api("alice", "POST", "/api/keys", wanted | bad)
        assert (answer.status, answer.json["error"]["param"]) == (400, next(iter(bad)))


def test_a_key_never_reaches_past_its_makers_bounds(door: Door) -> None:
    terms = Terms(models=("small", "vendor-large@1"), networks=("127.0.0.0/8", "::/0"))
    maker = door.server.issue("bound", "operators", terms=terms)

    def make(models: list[str], networks: list[str]) -> int:
        body = {"name": "made", "groups": ["students"], "models": models, "networks": networks}
        answer = door.server.ask("POST", "/api/keys", key=maker.key, body=body)
        assert answer.status == 200 or answer.json["error"]["code"] == "exceeds_maker"
        return answer.status

    assert make(["small"], ["127.0.0.1"]) == 200
    assert make(["small@1", "vendor-large@1"], ["127.0.0.0/8", "2001:db8::/32"]) == 200
    assert make([], ["127.0.0.1"]) == 403
    assert make(["small"], []) == 403
    assert make(["vendor-large"], ["127.0.0.1"]) == 403
    assert make(["small"], ["126.0.0.0/7"]) == 403
    assert make(["small"], ["127.0.0.1", "10.0.0.0/8"]) == 403
    free = door.server.issue("free", "students")
    rotated = door.server.ask("POST", f"/api/keys/{free.id}/rotate", key=maker.key, body=b"")
    assert rotated.json["error"]["code"] == "exceeds_maker"
    assert door.server.chat("small", free.key).status == 200  # nothing has come of it


def test_a_key_never_outlives_its_maker(delegated: Door) -> None:
    made = delegated.api("alice", "POST", "/api/keys", {"name": "brief", "groups": ["leads"], "expires": "1h"}).json

    def make(**wanted: object) -> Answer:
        return delegated.server.ask("POST", "/api/keys", key=made["key"], body={"name": "longer", **wanted})

    assert (make().status, make(expires="2h").status, make(expires="30m").status) == (403, 403, 200)


def test_the_description_covers_every_route_and_resolves(door: Door) -> None:
    document = door.api("omar", "GET", "/api/openapi.json").json
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in ROUTES if route.api}

    def refs(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from (each for name, each in value.items() if name == "$ref")
        children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        for each in children:
            yield from refs(each)

    names = set(document["components"]["schemas"])
    assert {each.rpartition("/")[2] for each in refs(document)} <= names
    operations = [each["operationId"] for methods in document["paths"].values() for each in methods.values()]
    assert len(operations) == len(set(operations))


def test_the_console_in_two_workers_is_one(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> None:
    with open_door(tmp_path_factory.mktemp("workers") / "home", upstream, workers=2) as door:
        visitor = door.sign_in("alice")
        assert {visitor.get("/policies").status for _ in range(12)} == {200}
