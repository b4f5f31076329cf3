"""Official clients of every dialect, each before an upstream that speaks OpenAI's chat alone."""

import anthropic
import pytest
from anthropic.types import TextBlock
from google import genai
from openai import OpenAI
from tests.support.doors import Door

SAID = "What is the capital of France?"


@pytest.fixture
def claude(sqlite_door: Door) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=sqlite_door.server.url, api_key=sqlite_door.key(), max_retries=0)


@pytest.fixture
def gemini(sqlite_door: Door) -> genai.Client:
    return genai.Client(api_key=sqlite_door.key(), http_options={"base_url": sqlite_door.server.url})


def test_each_client_lists_the_models_in_its_own_shape(
    sqlite_door: Door, claude: anthropic.Anthropic, gemini: genai.Client
) -> None:
    with sqlite_door.client() as client:
        names = {model.id for model in client.models.list()}
    assert names
    assert {model.id for model in claude.models.list()} == names
    assert {model.name for model in gemini.models.list()} == {f"models/{name}" for name in names}
    assert gemini.models.get(model="open").name == "models/open"
    assert claude.models.retrieve("open").id == "open"


def test_an_anthropic_client_reaches_an_openai_upstream(claude: anthropic.Anthropic, sqlite_door: Door) -> None:
    raw = claude.messages.with_raw_response.create(
        model="open",
        max_tokens=50,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[{"role": "user", "content": SAID}],
    )
    message = raw.parse()
    assert isinstance(message.content[0], TextBlock)
    assert message.content[0].text
    assert message.stop_reason == "end_turn"
    assert raw.headers["transom-not-carried"] == "system.0.cache_control"
    story = sqlite_door.server.story(raw.headers["transom-decision"], content=True)
    assert story.outcome is not None
    assert story.outcome.status == "answered"
    assert {part.part: part.text for part in story.content}["answer"] == raw.http_response.text
    assert all(part.matches for part in story.content)


def test_a_streamed_answer_is_the_same_as_a_plain_one(claude: anthropic.Anthropic) -> None:
    plain = claude.messages.create(model="open", max_tokens=50, messages=[{"role": "user", "content": SAID}])
    with claude.messages.stream(model="open", max_tokens=50, messages=[{"role": "user", "content": SAID}]) as stream:
        streamed = stream.get_final_message()
    assert isinstance(streamed.content[0], TextBlock)
    assert isinstance(plain.content[0], TextBlock)
    assert streamed.content[0].text.strip() == plain.content[0].text  # the upstream streams words with spaces
    assert streamed.stop_reason == plain.stop_reason


def test_a_gemini_client_reaches_an_openai_upstream(gemini: genai.Client) -> None:
    plain = gemini.models.generate_content(model="open", contents=SAID)
    assert plain.text
    streamed = gemini.models.generate_content_stream(model="open", contents=SAID)
    assert "".join(chunk.text or "" for chunk in streamed).strip() == plain.text


def test_a_client_of_responses_reaches_an_openai_upstream(sqlite_door: Door) -> None:
    with OpenAI(base_url=f"{sqlite_door.server.url}/v1", api_key=sqlite_door.key(), max_retries=0) as client:
        plain = client.responses.create(model="open", input=SAID)
        assert plain.output_text
        with client.responses.stream(model="open", input=SAID) as stream:
            for _ in stream:
                pass
            assert stream.get_final_response().output_text.strip() == plain.output_text


def test_errors_are_in_each_dialects_own_shape(claude: anthropic.Anthropic, gemini: genai.Client) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        claude.messages.create(model="nowhere", max_tokens=5, messages=[{"role": "user", "content": SAID}])
    assert missing.value.body["error"]["type"] == "not_found_error"  # type: ignore[index] # a parsed body
    with pytest.raises(genai.errors.ClientError) as gone:
        gemini.models.generate_content(model="nowhere", contents=SAID)
    assert (gone.value.code, gone.value.status) == (404, "NOT_FOUND")
    with pytest.raises(anthropic.AuthenticationError):
        claude.with_options(api_key="tr_" + "x" * 43).models.list()


def test_what_cannot_be_carried_is_refused_by_name(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError) as refused:
        claude.messages.create(
            model="open",
            max_tokens=5,
            messages=[{"role": "user", "content": SAID}],
            tools=[{"type": "web_search_20250305", "name": "web_search"}],
        )
    assert "tools.0" in str(refused.value)


def test_a_count_is_an_estimate_where_the_upstream_cannot_count(
    claude: anthropic.Anthropic, gemini: genai.Client, sqlite_door: Door
) -> None:
    raw = claude.messages.with_raw_response.count_tokens(model="open", messages=[{"role": "user", "content": SAID}])
    assert raw.parse().input_tokens > 5
    story = sqlite_door.server.story(raw.headers["transom-decision"])
    assert story.outcome is not None
    assert [(attempt.upstream, attempt.result) for attempt in story.outcome.attempts] == [("transom", "estimated")]
    assert (gemini.models.count_tokens(model="open", contents=SAID).total_tokens or 0) > 5
