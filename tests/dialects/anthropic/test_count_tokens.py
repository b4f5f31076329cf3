import json
from typing import Any

import anthropic
import pytest
from tests.dialects.anthropic.sdk import client

from transom.dialects.anthropic import count_tokens
from transom.dialects.anthropic.messages import MESSAGES
from transom.errors import InvalidRequest
from transom.values import UpstreamModel


def estimated(**fields: Any) -> int:
    asked = {"model": "m", "messages": [{"role": "user", "content": "x"}]} | fields
    return count_tokens.estimate(MESSAGES.read(json.dumps(asked).encode()))


def content(*blocks: object) -> int:
    return estimated(messages=[{"role": "user", "content": list(blocks)}])


def test_the_official_client_is_answered() -> None:
    def door(body: bytes) -> tuple[int, bytes]:
        call = MESSAGES.read(body)
        assert json.loads(count_tokens.write(call, UpstreamModel("other")))["model"] == "other"
        return 200, count_tokens.build_answer(count_tokens.estimate(call))

    with client(door) as asking:
        counted = asking.messages.count_tokens(
            model="m",
            system="Be brief.",
            messages=[{"role": "user", "content": "How much is this?"}],
            tools=[{"name": "w", "input_schema": {"type": "object"}}],
            thinking={"type": "adaptive"},
        )
    assert isinstance(counted, anthropic.types.MessageTokensCount)
    assert 15 <= counted.input_tokens <= 40


def test_more_is_more() -> None:
    base = estimated()
    longer = estimated(messages=[{"role": "user", "content": "word " * 1000}])
    assert 1000 <= longer <= 1500
    assert estimated(system="Be brief.") > base
    assert estimated(tools=[{"name": "w", "input_schema": {"type": "object", "properties": {}}}]) > base
    assert estimated(output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}}) > base


def test_what_is_no_text_is_not_counted_as_if_it_were() -> None:
    data = "A" * 400_000
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}}
    plain = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": data}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
    assert 1600 <= content(image) < 2000
    assert 1600 <= content(result) < 2000
    assert 10_000 < content(pdf) < 20_000
    assert content(plain) > 90_000
    assert 1600 <= content({"type": "document", "source": {"type": "url", "url": "u"}}) < 2000


def test_thoughts_and_uses_of_tools_count() -> None:
    use = {"type": "tool_use", "id": "t", "name": "w", "input": {"text": "word " * 100}}
    thought = {"type": "thinking", "thinking": "word " * 100, "signature": "s" * 10_000}
    turns = [{"role": "assistant", "content": [thought, use]}]
    assert 250 <= estimated(messages=turns) < 300


def test_what_could_not_be_asked_is_not_counted() -> None:
    with pytest.raises(InvalidRequest) as raised:
        estimated(tools=[{"type": "web_search_20250305", "name": "web_search"}])
    assert raised.value.param == "tools.0.type"


@pytest.mark.parametrize(
    ("body", "count"), [(b'{"input_tokens":7,"x":1}', 7), (b'{"input_tokens":"7"}', None), (b"{}", None), (b"no", None)]
)
def test_an_upstreams_count(body: bytes, count: int | None) -> None:
    assert count_tokens.read_answer(body) == count
