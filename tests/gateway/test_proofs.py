"""What proves a thought goes back to who had it, and to no other vendor: not even untranslated."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.compatibility.features import BACK
from tests.compatibility.run import CALLERS, FORMATS, Bench, bench
from tests.support.formats.talk import Ask, Result, Turn
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Script, Upstream

SECOND = Ask(turns=(BACK.ask.turns[0],), tools=True, max_tokens=30_000)
ANTHROPIC = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("proofs")) as doors:
        yield doors


@pytest.mark.parametrize("caller", [kind.DIALECT for kind in CALLERS])
@pytest.mark.parametrize("first", FORMATS)
@pytest.mark.parametrize("then", FORMATS)
def test_a_proof_goes_back_to_its_vendor_alone(doors: Bench, caller: str, first: str, then: str) -> None:
    asking, upstream = doors.callers[caller], doors.upstream
    upstream.scripts[first] = Script(body=FORMATS[first].say(BACK.said, "m"))
    read = asking.ask(BACK.ask, f"via-{first}", stream=False)
    use = BACK.said.uses[0]
    thought = Turn(role="model", thought=BACK.said.thought, signature=BACK.said.signature, uses=(use,), raw=read.raw)
    results = Turn(role="tools", results=(Result(use.id, "sunny"),))
    upstream.scripts[then] = Script(body=FORMATS[then].say(replace(BACK.said, signature=""), "m"))
    upstream.seen.clear()
    asking.ask(replace(SECOND, turns=(SECOND.turns[0], thought, results)), f"via-{then}", stream=False)
    (seen,) = upstream.seen
    heard = FORMATS[then].hear(seen.path, seen.json).turns[1]
    assert heard.uses == (use,)
    assert heard.signature == (BACK.said.signature if first == then else "")
    assert b"transom:" not in seen.body
    untold = asking.wire.headers.get("transom-not-carried", "")
    place = {"openai-chat": "messages.1", "openai-responses": "input", "anthropic-messages": "messages"}
    assert untold == ("" if first == then else place.get(caller, "contents"))


@pytest.fixture
def fallback(tmp_path_factory: pytest.TempPathFactory, vendor: Upstream) -> Iterator[tuple[Server, str]]:
    """A model whose first target speaks Gemini's API and fails, and whose second speaks Anthropic's."""
    vendor.scripts["failing"] = Script(status=503, body=b"{}")
    vendor.scripts["standing"] = Script(body=FORMATS["anthropic-messages"].say(BACK.said, "m"))
    settings = f"""
[upstreams.failing]
base_url = "{vendor.url_of("failing")}"
speaks = ["gemini-generate"]
[upstreams.standing]
base_url = "{vendor.url_of("standing")}"
speaks = ["anthropic-messages"]
[models.m]
route = ["failing", "standing"]
"""
    with Server(tmp_path_factory.mktemp("fallback") / "home", NO_ENGINE + settings) as server:
        yield server.start(), server.issue("d", "developers").key


def test_what_the_first_could_not_be_told_the_next_is(fallback: tuple[Server, str], vendor: Upstream) -> None:
    server, key = fallback
    body = {"model": "m", "user": "ann-of-chat", "messages": [{"role": "user", "content": "Hi"}]}
    answer = server.ask("POST", "/v1/chat/completions", key=key, body=body)
    assert vendor.find("ann-of-chat").json["metadata"] == {"user_id": "ann-of-chat"}
    assert (answer.status, answer.headers.get("transom-not-carried")) == (200, None)


def test_who_is_told_all_is_not_said_to_lack_anything(fallback: tuple[Server, str], vendor: Upstream) -> None:
    server, key = fallback
    answer = server.ask("POST", "/v1/messages", key=key, body=ANTHROPIC | {"metadata": {"user_id": "ann-of-claude"}})
    assert vendor.find("ann-of-claude").json["metadata"] == {"user_id": "ann-of-claude"}
    assert (answer.status, answer.headers.get("transom-not-carried")) == (200, None)
