"""What a key itself is held to, whatever policy permits: models, networks; and one key in a request."""

import itertools
from collections.abc import Mapping

import pytest
from tests.support.doors import MODELS, Door, MakeServer
from tests.support.server import NO_ENGINE, Answer, Server
from tests.support.upstream import Upstream

from transom.callers.issue import Terms
from transom.errors import Forbidden
from transom.gateway.bounds import check_network
from transom.values import Caller, CallerId, Pseudonym

BODY = {"model": "open", "messages": [{"role": "user", "content": "hello"}]}
HERE = "127.0.0.0/8"
ELSEWHERE = "192.0.2.0/24"


def refused_on_record(server: Server, answer: Answer, code: str) -> None:
    assert (answer.status, answer.json["error"]["code"]) == (403, code)
    story = server.story(answer.decision)
    assert story.outcome is not None
    assert (story.outcome.status, story.outcome.reason, story.outcome.http_status) == ("refused", code, 403)
    assert story.decision.ruling is None  # policy was not asked


@pytest.mark.parametrize(
    ("models", "opens"),
    [
        (("open",), {"open": True, "closed": False, "two": False, "two@1": False}),
        (("two@1", "closed"), {"open": False, "closed": True, "two": False, "two@1": True, "two@2": False}),
        (("two",), {"two": True, "two@1": True, "two@2": True, "open": False}),
        (("nothing-of-this-name",), {"open": False, "two@2": False}),
        ((), {"open": True, "two@1": True}),
    ],
)
def test_a_key_for_some_models_opens_no_other(
    sqlite_door: Door, models: tuple[str, ...], opens: Mapping[str, bool]
) -> None:
    server = sqlite_door.server
    key = server.issue("bound", "operators", terms=Terms(models=models)).key
    listed = {model["id"] for model in server.get("/v1/models", key).json["data"]}
    for model, good in opens.items():
        before = len(sqlite_door.upstream.seen)
        answer, seen = server.chat(model, key), server.get(f"/v1/models/{model}", key)
        if good:
            assert (answer.status, seen.status) == (200, 200), model
        else:
            refused_on_record(server, answer, "key_model_not_allowed")
            refused_on_record(server, seen, "key_model_not_allowed")
            assert answer.json["error"]["message"].startswith(f"This key is for {', '.join(sorted(models))}")
            assert len(sqlite_door.upstream.seen) == before
        assert (model in listed) is good or model == "two@2"  # listed under its bare name


def test_a_key_of_other_networks_opens_nothing_here(sqlite_door: Door) -> None:
    server = sqlite_door.server
    key = server.issue("elsewhere", "operators", terms=Terms(networks=(ELSEWHERE, "2001:db8::/32"))).key
    before = len(sqlite_door.upstream.seen)
    for path in ("/v1/models", "/v1/models/open", "/api/keys", "/api/status", "/metrics", "/ledger/checkpoint"):
        refused_on_record(server, server.get(path, key), "key_network_not_allowed")
    answer = server.chat("open", key)
    refused_on_record(server, answer, "key_network_not_allowed")
    assert ELSEWHERE not in answer.text
    assert len(sqlite_door.upstream.seen) == before


def test_a_key_of_this_network_opens(sqlite_door: Door) -> None:
    key = sqlite_door.server.issue("here", "developers", terms=Terms(networks=(ELSEWHERE, HERE))).key
    assert sqlite_door.server.chat("open", key).status == 200


@pytest.mark.parametrize(
    ("networks", "peer", "opens"),
    [
        (("10.0.0.0/8",), "10.255.0.1", True),
        (("10.0.0.0/8",), "11.0.0.1", False),
        (("10.0.0.0/8",), "::ffff:10.1.1.1", True),
        (("10.0.0.0/8",), "::ffff:11.1.1.1", False),
        (("2001:db8::/32",), "2001:db8:1::1", True),
        (("2001:db8::/32",), "2001:db9::1", False),
        (("0.0.0.0/0",), "2001:db8::1", False),
        (("192.0.2.7/32", "192.0.2.9/32"), "192.0.2.9", True),
        (("192.0.2.7/32",), "", False),
        (("192.0.2.7/32",), None, False),
        ((), None, True),
    ],
)
def test_what_counts_is_the_address_at_the_other_end(networks: tuple[str, ...], peer: str | None, opens: bool) -> None:
    caller = Caller(CallerId("key_1"), "k", (), Pseudonym("p"), networks=networks)
    if opens:
        check_network(caller, peer)
    else:
        with pytest.raises(Forbidden):
            check_network(caller, peer)


def test_policies_see_what_a_key_is_held_to(make_server: MakeServer, vendor: Upstream) -> None:
    policies = """
    @id("all") permit (principal in Group::"all", action, resource);
    @id("machines-are-held-to-networks") forbid (principal, action == Action::"infer", resource)
    when { principal.service && principal.networks.isEmpty() };
    @id("people-are-held-to-one-model") forbid (principal, action == Action::"infer", resource)
    when { principal.kind == "key" && !principal.service && !principal.models.contains("open") };
    """
    with make_server(NO_ENGINE + MODELS.format(url=vendor.url), policies=policies) as server:
        server.start()
        found = {}
        for service, models, networks in itertools.product((False, True), ((), ("open",)), ((), (HERE,))):
            terms = Terms(service, models, networks)
            answer = server.chat("open", server.issue("k", "all", terms=terms).key)
            found[terms] = answer.json["error"]["policies"] if answer.status != 200 else None
    machines, people = ["machines-are-held-to-networks"], ["people-are-held-to-one-model"]
    assert found == {
        Terms(False, (), ()): people,
        Terms(False, (), (HERE,)): people,
        Terms(False, ("open",), ()): None,
        Terms(False, ("open",), (HERE,)): None,
        Terms(True, (), ()): machines,
        Terms(True, (), (HERE,)): None,
        Terms(True, ("open",), ()): machines,
        Terms(True, ("open",), (HERE,)): None,
    }


PLACES = ("authorization", "x-api-key", "x-goog-api-key", "?key=")


def asked(server: Server, places: Mapping[str, str]) -> Answer:
    query = f"?key={places['?key=']}" if "?key=" in places else ""
    headers = {
        name: f"Bearer {value}" if name == "authorization" else value
        for name, value in places.items()
        if name != "?key="
    }
    return server.ask("POST", f"/v1/chat/completions{query}", headers=headers, body=BODY)


@pytest.mark.parametrize("place", PLACES)
def test_a_key_opens_wherever_a_client_puts_it(sqlite_door: Door, place: str) -> None:
    key = sqlite_door.key("developers")
    assert asked(sqlite_door.server, {place: key}).status == 200
    assert key not in sqlite_door.server.log
    nobody = asked(sqlite_door.server, {place: ""})
    assert (nobody.status, nobody.json["error"]["code"]) == (401, "missing_api_key")


@pytest.mark.parametrize("places", list(itertools.combinations(PLACES, 2)))
def test_two_different_keys_in_one_request_are_refused(sqlite_door: Door, places: tuple[str, str]) -> None:
    server = sqlite_door.server
    one, other = sqlite_door.key("developers"), sqlite_door.key("operators")
    for pair in ((one, other), (other, one), (one, "tr_nonsense")):
        before = len(sqlite_door.upstream.seen)
        answer = asked(server, dict(zip(places, pair, strict=True)))
        assert (answer.status, answer.json["error"]["code"]) == (401, "several_api_keys")
        assert len(sqlite_door.upstream.seen) == before
        assert not any(key in answer.text + server.log for key in (one, other))
    assert asked(server, dict.fromkeys(places, one)).status == 200  # one key in two places is one key


def test_a_header_that_comes_twice_counts_twice(sqlite_door: Door) -> None:
    server = sqlite_door.server
    one, other = sqlite_door.key("developers"), sqlite_door.key("students")
    twice = {"x-api-key": one, "X-Api-Key": other}
    assert asked(server, twice).json["error"]["code"] == "several_api_keys"
    assert asked(server, twice | {"X-Api-Key": one}).status == 200
    both = server.ask(
        "GET", "/api/status", headers={"authorization": f"Bearer {one}", "Authorization": f"Bearer {other}"}
    )
    assert (both.status, both.json["error"]["code"]) == (401, "several_api_keys")
