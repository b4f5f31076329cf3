"""Who may see and use what, and what the record says of those who may not."""

import json
import time

import pytest
from tests.support.doors import Door, MakeServer
from tests.support.server import NO_ENGINE
from tests.support.upstream import Upstream

from transom.ledger.acts import AccessEntry

SEEN = {
    "operators": {"open", "closed", "internal", "hosted", "two", "two@1"},
    "developers": {"open", "closed", "two", "two@1"},
    "students": {"open"},
}


@pytest.mark.parametrize("group", ["operators", "developers", "students", "auditors"])
def test_the_list_holds_what_the_caller_may_view(sqlite_door: Door, group: str) -> None:
    answer = sqlite_door.server.get("/v1/models", sqlite_door.key(group))
    listed = {model["id"]: model for model in answer.json["data"]}
    known = {"open", "closed", "internal", "hosted", "two", "two@1"}
    expected = SEEN.get(group, known - {"internal"})
    assert listed.keys() & known == expected
    assert (listed["open"]["rung"], listed["open"]["openness"]) == ("api", "open-weights")
    story = sqlite_door.server.story(answer.decision)
    assert story.outcome is not None
    assert (story.decision.action, story.outcome.status) == ("list_models", "answered")


def test_nobodies_see_nothing(sqlite_door: Door) -> None:
    for path in ("/v1/models", "/v1/models/open", "/v1/models/nonsense"):
        answer = sqlite_door.server.get(path, sqlite_door.key("nobodies"))
        assert answer.status == 403
        story = sqlite_door.server.story(answer.decision)
        assert story.decision.ruling is not None
        assert (story.decision.ruling.effect, story.decision.ruling.policies) == ("forbid", ())


@pytest.mark.parametrize("stream", [False, True])
def test_students_are_told_why_not(sqlite_door: Door, *, stream: bool) -> None:
    before = len(sqlite_door.upstream.seen)
    answer = sqlite_door.server.chat("closed", sqlite_door.key("students"), stream=stream)
    assert (answer.status, answer.json["error"]["code"]) == (403, "policy_forbids")
    for word in ("no policy permits", "closed@1", "students"):
        assert word in answer.json["error"]["message"]
    story = sqlite_door.server.story(answer.decision)
    assert story.outcome is not None
    assert story.decision.ruling is not None
    assert (story.decision.ruling.effect, story.outcome.status, story.outcome.http_status) == (
        "forbid",
        "refused",
        403,
    )
    assert (story.decision.resource.id, story.decision.stream) == ("closed@1", stream)
    assert len(sqlite_door.upstream.seen) == before


def test_a_forbid_is_named(sqlite_door: Door) -> None:
    answer = sqlite_door.server.chat("internal", sqlite_door.key("developers"))
    assert answer.status == 403
    assert answer.json["error"]["policies"] == ["internal-models-are-for-operators"]
    assert "starter.cedar:" in answer.json["error"]["message"]
    assert sqlite_door.server.chat("internal", sqlite_door.key("operators")).status == 200


def test_a_refusal_is_explained_on_the_terminal(sqlite_door: Door) -> None:
    answer = sqlite_door.server.chat("internal", sqlite_door.key("developers"))
    done = sqlite_door.server.run("explain", answer.decision, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["decision"]["ruling"]["policies"] == ["internal-models-are-for-operators"]
    assert (told["outcome"]["status"], told["outcome"]["reason"]) == ("refused", "policy_forbids")
    assert told["caller"] == "developers"


def test_refusals_before_the_ruling_are_on_record(sqlite_door: Door) -> None:
    server, key = sqlite_door.server, sqlite_door.key()
    for body, reason in (
        (b"not json", "invalid_json"),
        (b'{"model":"closed","messages":7}', "invalid_request_error"),
        (b'{"model":"nonsense","messages":[]}', "model_not_found"),
    ):
        answer = server.ask("POST", "/v1/chat/completions", key=key, body=body)
        story = server.story(answer.decision)
        assert story.outcome is not None
        assert story.decision.ruling is None
        assert (story.outcome.status, story.outcome.reason) == ("refused", reason)


def test_a_compressed_or_long_body_is_refused(make_server: MakeServer, vendor: Upstream) -> None:
    server = make_server(
        NO_ENGINE
        + f'[server]\nmax_body_bytes = 2000\n[upstreams.u]\nbase_url = "{vendor.url}"\n[models.m]\nroute=["u"]'
    ).start()
    key = server.issue("d", "developers").key
    assert server.chat("m", key).status == 200
    long = server.chat("m", key, "x" * 3000)
    assert (long.status, long.json["error"]["code"]) == (413, "request_too_large")
    packed = server.ask("POST", "/v1/chat/completions", key=key, body=b"\x1f\x8b", headers={"content-encoding": "gzip"})
    assert packed.status == 400
    for answer in (long, packed):
        story = server.story(answer.decision)
        assert story.outcome is not None
        assert story.outcome.status == "refused"


def test_an_expired_key_is_refused_on_record(sqlite_door: Door) -> None:
    server = sqlite_door.server
    issued = server.issue("soon gone", "developers", expires=int(time.time() * 1000) + 1500)
    assert server.chat("open", issued.key).status == 200
    until = time.monotonic() + 5
    while (answer := server.chat("open", issued.key)).status == 200:
        assert time.monotonic() < until
        time.sleep(0.05)
    answer = server.chat("open", issued.key)  # the one before may have been under way at that very moment
    assert (answer.status, answer.json["error"]["code"]) == (401, "key_expired")
    assert answer.headers["www-authenticate"] == "Bearer"
    story = server.story(answer.decision)
    assert story.outcome is not None
    assert (story.caller, story.outcome.status, story.outcome.reason) == ("soon gone", "refused", "key_expired")


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer nonsense", "Basic dHI6eA==", "Bearer tr_" + "A" * 43, "bearer  "]
)
def test_strangers_are_counted_not_recorded(sqlite_door: Door, header: str | None) -> None:
    server = sqlite_door.server
    before = len(server.entries("decision/1"))
    answer = server.ask("GET", "/v1/models", headers={} if header is None else {"authorization": header})
    assert answer.status == 401
    assert answer.json["error"]["type"] == "authentication_error"
    assert "transom-decision" not in answer.headers
    assert len(server.entries("decision/1")) == before


def test_counts_of_nobody_in_particular_are_in_the_ledger(make_server: MakeServer, vendor: Upstream) -> None:
    server = make_server(NO_ENGINE + f'[upstreams.u]\nbase_url = "{vendor.url}"\n[models.m]\nroute=["u"]').start()
    reads, until = 1, time.monotonic() + 5
    while server.get("/ledger/checkpoint").status != 200:  # the first batch is not sequenced yet
        assert time.monotonic() < until
        reads += 1
        time.sleep(0.05)
    assert server.get("/metrics").status == 200
    assert server.get("/v1/models").status == 401
    assert server.get("/v1/models", "tr_" + "B" * 43).status == 401
    assert server.entries("decision/1") == []
    assert server.stop() == 0
    (entry,) = server.entries("access/1")
    assert isinstance(entry, AccessEntry)
    assert entry.anonymous == {"read_ledger": reads, "read_metrics": 1}
    assert entry.unidentified == {"no key": 1, "unknown key": 1}
