"""What a caller might try so that a budget holds less than a call may cost: fields that no upstream heeds, and more."""

import json
from typing import Any

import pytest
from tests.support.doors import MakeServer
from tests.support.server import NO_ENGINE, Answer, Server
from tests.support.upstream import Upstream

TURN = [{"role": "user", "content": "How much?"}]
CONTENTS = [{"role": "user", "parts": [{"text": "How much?"}]}]
LEAST: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "capped", "messages": TURN},
    "/v1/responses": {"model": "capped", "input": "How much?"},
    "/v1/messages": {"model": "capped", "messages": TURN},
    "/v1beta/models/capped:generateContent": {"contents": CONTENTS},
}
CHAT, RESPONSES, MESSAGES, GEMINI = LEAST
SETTINGS = """
[upstreams.vendor]
base_url = "{url}"
speaks = ["openai-chat", "openai-responses", "anthropic-messages", "gemini-generate"]
[models.capped]
route = ["vendor"]
max_output_tokens = 8000
price = {{ currency = "EUR", input = "1", output = "10" }}
[[limits]]
name = "purse"
per = "all"
money = {{ amount = "0.05", currency = "EUR", per = "total" }}
"""
"""Eight thousand tokens of output cost 0.08 EUR."""


@pytest.fixture(scope="module")
def purse(tmp_path_factory: pytest.TempPathFactory, vendor: Upstream) -> Any:
    """A door whose one model may be asked for few tokens only."""
    with Server(tmp_path_factory.mktemp("purse") / "home", NO_ENGINE + SETTINGS.format(url=vendor.url)) as server:
        yield server.start()


def ask(server: Server, path: str, body: dict[str, Any] | bytes) -> Answer:
    return server.ask("POST", path, key=server.key, body=body)


@pytest.mark.parametrize(
    ("path", "heeded", "ignored"),
    [
        (CHAT, {"max_tokens": 9}, {"max_output_tokens": 1}),
        (CHAT, {"max_completion_tokens": 9}, {"generationConfig": {"maxOutputTokens": 1}}),
        (CHAT, {"max_tokens": 9}, {"max_tokens": -1}),
        (RESPONSES, {"max_output_tokens": 9}, {"max_tokens": 1}),
        (MESSAGES, {"max_tokens": 9}, {"max_tokens": 8000, "max_completion_tokens": 1}),
        (GEMINI, {"generationConfig": {"maxOutputTokens": 9}}, {"max_tokens": 1, "maxOutputTokens": 1}),
    ],
)
def test_only_what_its_dialect_heeds_makes_a_call_cheap(
    purse: Server, path: str, heeded: dict[str, Any], ignored: dict[str, Any]
) -> None:
    assert ask(purse, path, LEAST[path] | heeded).status == 200
    refused = ask(purse, path, LEAST[path] | ignored)
    assert refused.status == 429, refused.text
    assert "may cost up to" in refused.text


@pytest.mark.parametrize(
    ("path", "twice", "param"),
    [
        (CHAT, '"max_tokens": 8000, "max_tokens": 1', "max_tokens"),
        (CHAT, '"max_tokens": 1, "Max_Tokens": 8000', "max_tokens"),
        (CHAT, '"max_tokens": 1, "n": 1, "N": 9', "n"),
        (CHAT, '"max_tokens": 1, "tools": [{"type": "web_search"}], "tools": []', "tools"),
        (RESPONSES, '"max_output_tokens": 8000, "max_output_tokens": 1', "max_output_tokens"),
        (MESSAGES, '"max_tokens": 8000, "MAX_TOKENS": 1', "max_tokens"),
        (GEMINI, '"generationConfig": {}, "generation_config": {"maxOutputTokens": 1}', "generation_config"),
        (
            GEMINI,
            '"generationConfig": {"maxOutputTokens": 8000, "max_output_tokens": 1}',
            "generationConfig.max_output_tokens",
        ),
    ],
)
def test_what_two_readers_may_read_as_two_things_is_refused(purse: Server, path: str, twice: str, param: str) -> None:
    body = json.dumps(LEAST[path])[:-1] + f", {twice}}}"
    refused = ask(purse, path, body.encode())
    assert refused.status == 400, refused.text
    assert f"`{param}`" in refused.text


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (RESPONSES, {"input": [{"role": "user", "content": "x"}, {"type": "item_reference", "id": "msg_1"}]}),
        (RESPONSES, {"input": [{"id": "msg_1"}]}),
        (RESPONSES, {"previous_response_id": "resp_1"}),
        (GEMINI, {"cached_content": "cachedContents/1"}),
        (CHAT, {"tools": [{"type": []}]}),
    ],
)
def test_what_has_no_bound_is_refused(purse: Server, path: str, said: dict[str, Any]) -> None:
    limit = {"max_tokens": 1, "max_output_tokens": 1, "generationConfig": {"maxOutputTokens": 1}}
    refused = ask(purse, path, LEAST[path] | limit | said)
    assert refused.status == 400, refused.text
    if path != GEMINI:
        assert refused.json["error"]["code"] == "unbounded_cost"


def test_nothing_is_answered_behind_the_doors_back(make_server: MakeServer, vendor: Upstream) -> None:
    """An answer in the background would be fetched past the door: with no limit in force either."""
    server = make_server(NO_ENGINE + SETTINGS.format(url=vendor.url).partition("[[limits]]")[0]).start()
    asked = len(vendor.seen)
    refused = ask(server, RESPONSES, LEAST[RESPONSES] | {"background": True})
    assert (refused.status, refused.json["error"]["param"]) == (400, "background")
    assert len(vendor.seen) == asked
    assert ask(server, RESPONSES, LEAST[RESPONSES] | {"background": False}).status == 200
