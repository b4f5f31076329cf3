"""OpenAI's own client reads what is written for it, and streamed or not it comes to the same; what it sends is read."""

from typing import Any

import msgspec
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion
from openai.types.responses import Response, ResponseUsage
from tests.dialects.making import usages
from tests.dialects.openai import sayable
from tests.dialects.openai.sdk import client, sends
from tests.dialects.openai.telling import heard, told
from tests.dialects.openai.test_round_trips import written

from transom.dialects.middle import (
    Answer,
    Choice,
    Declined,
    Document,
    Event,
    Failed,
    Format,
    Image,
    Message,
    Reasoning,
    Request,
    Started,
    Text,
    TextDelta,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from transom.dialects.openai.chat import CHAT
from transom.dialects.openai.responses import RESPONSES
from transom.dialects.translate import Translating
from transom.errors import Forbidden, InvalidRequest, TooMany, UpstreamFailed
from transom.values import Usage

SOME = settings(max_examples=25, deadline=None)
COUNTED = st.builds(
    lambda answer, usage: msgspec.structs.replace(answer, usage=usage), sayable.RESPONSES_ANSWERS, st.none() | usages()
)
"""Answers whose usage is known whole, as OpenAI's own is: its types do not know what is not known."""
HELLO: Any = [{"role": "user", "content": "Hello."}]


def chat_plain(answer: bytes) -> ChatCompletion:
    with client(answer) as (asking, _):
        return asking.chat.completions.create(model="m", messages=HELLO)


def chat_streamed(stream: bytes) -> ChatCompletion:
    with (
        client(stream, stream=True) as (asking, _),
        asking.chat.completions.stream(model="m", messages=HELLO) as events,
    ):
        return events.until_done().current_completion_snapshot


def responses_plain(answer: bytes) -> Response:
    with client(answer) as (asking, _):
        return asking.responses.create(model="m", input="Hello.")


def responses_streamed(stream: bytes) -> Response:
    with client(stream, stream=True) as (asking, _), asking.responses.stream(model="m", input="Hello.") as events:
        return events.get_final_response()


ANSWER = Answer(
    id="answer_1",
    model="vendor-1",
    created=1_700_000_000,
    choices=(
        Choice(
            (
                Reasoning("Two tools.", "openai-chat:sig"),
                Reasoning(hidden="anthropic-messages:sealed"),
                Text("Let me see."),
                ToolUse("c1", "weather", '{"city": "Oslo"}', "proof"),
                ToolUse("c2", "clock", "{}"),
            ),
            "tool_use",
        ),
    ),
    usage=Usage(5, 3, 7, 2, "upstream", 1),
)


def test_usage_of_which_little_is_known_is_numbers_to_clients_of_responses() -> None:
    answer = msgspec.structs.replace(ANSWER, usage=Usage(None, None, 7, None, "upstream"))
    usage = responses_plain(RESPONSES.build_answer(answer)).usage
    assert usage is not None
    ResponseUsage.model_validate(usage.to_dict())
    assert (usage.input_tokens_details.cached_tokens, usage.output_tokens, usage.total_tokens) == (0, 7, 7)


def test_chat_in_its_own_words() -> None:
    completion = chat_plain(CHAT.build_answer(ANSWER))
    assert (completion.id, completion.model, completion.created) == ("answer_1", "vendor-1", 1_700_000_000)
    (choice,) = completion.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me see."
    assert choice.message.model_extra is not None
    assert choice.message.model_extra["reasoning_content"] == "Two tools."
    assert [call.to_dict() for call in choice.message.tool_calls or ()] == [
        {
            "id": "c1",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
            "extra_content": {"google": {"thought_signature": "transom:gemini-generate:proof"}},
        },
        {"id": "c2", "type": "function", "function": {"name": "clock", "arguments": "{}"}},
    ]
    usage = completion.usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.completion_tokens_details is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (9, 9, 18)
    assert (usage.prompt_tokens_details.cached_tokens, usage.prompt_tokens_details.cache_write_tokens) == (3, 1)
    assert usage.completion_tokens_details.reasoning_tokens == 2


def test_responses_in_its_own_words() -> None:
    response = responses_plain(RESPONSES.build_answer(ANSWER))
    assert (response.id, response.model, response.created_at) == ("answer_1", "vendor-1", 1_700_000_000)
    assert (response.status, response.output_text) == ("completed", "Let me see.")
    kinds = [item.type for item in response.output]
    assert kinds == ["reasoning", "reasoning", "message", "function_call", "function_call"]
    thought, sealed, _, first, second = response.output
    assert thought.type == sealed.type == "reasoning"
    assert (thought.summary[0].text, thought.encrypted_content) == ("Two tools.", "openai-chat:sig")
    assert (sealed.summary, sealed.encrypted_content) == ([], "anthropic-messages:sealed")
    assert first.type == second.type == "function_call"
    assert (first.call_id, first.name, first.arguments) == ("c1", "weather", '{"city": "Oslo"}')
    assert len({item.id for item in response.output}) == 5
    usage = response.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (9, 9, 18)
    assert (usage.input_tokens_details.cached_tokens, usage.output_tokens_details.reasoning_tokens) == (3, 2)


def settled(choice: Any) -> dict[str, Any]:
    """A choice without the places of its pieces in a stream, fields that say nothing, and what the client lets fall."""
    said: dict[str, Any] = choice.to_dict()
    said.pop("stop_reason", None)
    for call in said["message"].get("tool_calls") or ():
        call.pop("index", None)
        call["function"].pop("parsed_arguments", None)
    said["message"] = {name: value for name, value in said["message"].items() if value is not None}
    return {name: value for name, value in said.items() if value is not None}


@SOME
@given(sayable.CHAT_ANSWERS.filter(lambda answer: all(choice.stop for choice in answer.choices)).flatmap(told))
def test_a_streamed_chat_is_the_plain_one(events: list[Event]) -> None:
    answer = heard(events)
    plain = chat_plain(CHAT.build_answer(answer))
    streamed = chat_streamed(written(CHAT, events, len(answer.choices)))
    assert [settled(choice) for choice in streamed.choices] == [settled(choice) for choice in plain.choices]
    assert streamed.usage == plain.usage
    assert (streamed.id, streamed.created, streamed.model) == (plain.id, plain.created, plain.model)


@SOME
@given(sayable.RESPONSES_ANSWERS.filter(lambda answer: answer.choices[0].stop in ("stop", "tool_use")).flatmap(told))
def test_a_streamed_response_is_the_plain_one(events: list[Event]) -> None:
    plain = responses_plain(RESPONSES.build_answer(heard(events)))
    streamed = responses_streamed(written(RESPONSES, events, 1))
    parsed = streamed.to_dict()
    for item in parsed["output"]:  # type: ignore[attr-defined] # a list of objects
        item.pop("parsed_arguments", None)
        for part in item.get("content") or ():
            part.pop("parsed", None)
    assert parsed == plain.to_dict()


@SOME
@given(COUNTED.flatmap(told), st.none() | st.text(min_size=1, max_size=9))
def test_every_event_of_a_stream_is_one_that_the_client_knows(events: list[Event], broken: str | None) -> None:
    told_events = events if broken is None else [*events[:-1], Failed(broken)]
    writer = RESPONSES.writer(Request(messages=()))
    stream = b"".join(map(writer.write, told_events)) + (b"" if broken else writer.end())
    with client(stream, stream=True) as (asking, _):
        seen = list(asking.responses.create(model="m", input="Hello.", stream=True))
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    for event in seen:
        type(event).model_validate(event.to_dict(), strict=True)
    assert [event.type for event in seen[:2]] == ["response.created", "response.in_progress"]
    last = seen[-1]
    if broken is not None:
        assert last.type == "response.failed"
        assert last.response.error is not None
        assert last.response.error.message == broken
        return
    assert last.type in ("response.completed", "response.incomplete")
    done = [event.item for event in seen if event.type == "response.output_item.done"]
    assert sorted(last.response.output, key=lambda item: str(item.id)) == sorted(done, key=lambda item: str(item.id))


@pytest.mark.parametrize(
    ("stop", "reason"), [("length", "max_output_tokens"), ("filter", "content_filter"), ("pause", "max_output_tokens")]
)
def test_an_answer_that_was_cut_is_incomplete_and_so_is_its_last_item(stop: Any, reason: str) -> None:
    choice = Choice((ToolUse("a", "f", "{}"), ToolUse("b", "f", '{"x')), stop)
    answer = Answer(id="a", model="m", created=1, choices=(choice,), usage=None)
    response = responses_plain(RESPONSES.build_answer(answer))
    assert response.incomplete_details is not None
    assert (response.status, response.incomplete_details.reason) == ("incomplete", reason)
    assert [item.status for item in response.output if item.type == "function_call"] == ["completed", "incomplete"]


def test_errors_are_raised_as_their_kind() -> None:
    for dialect in (CHAT, RESPONSES):
        for refusal, kind in (
            (Forbidden("no", policies=("p",)), openai.PermissionDeniedError),
            (TooMany("wait"), None),
        ):
            expected = kind or openai.RateLimitError
            with (
                client(dialect.error(refusal, "decision-1"), status=refusal.status) as (asking, _),
                pytest.raises(expected, match=refusal.message) as raised,
            ):
                asking.chat.completions.create(model="m", messages=HELLO)
            body = raised.value.body
            assert isinstance(body, dict)
            assert body["decision"] == "decision-1"
            assert body.get("policies") == (["p"] if refusal.policies else None)


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES], ids=["chat", "responses"])
def test_an_error_in_the_middle_of_a_stream_is_raised(dialect: Translating) -> None:
    writer = dialect.writer(Request(messages=()))
    begun = writer.write(Started("a", "m", 1)) + writer.write(TextDelta("Half"))
    stream = begun + dialect.stream_error(UpstreamFailed("It broke off."), "decision-1")
    with client(stream, stream=True) as (asking, _):
        events: Any = (
            asking.chat.completions.create(model="m", messages=HELLO, stream=True)
            if dialect is CHAT
            else asking.responses.create(model="m", input="Hello.", stream=True)
        )
        with pytest.raises(openai.APIError, match=r"It broke off\."):
            list(events)


def test_an_upstreams_error_in_the_middle_of_a_chat_is_raised() -> None:
    writer = CHAT.writer(Request(messages=()))
    stream = writer.write(Started("a", "m", 1)) + writer.write(Failed("Overloaded."))
    with client(stream, stream=True) as (asking, _), pytest.raises(openai.APIError, match=r"Overloaded\."):
        list(asking.chat.completions.create(model="m", messages=HELLO, stream=True))


TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
    }
]


def test_what_the_client_sends_to_chat_is_read() -> None:
    conversation: Any = [
        {"role": "developer", "content": "Be short."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "high"}},
            ],
        },
        chat_plain(CHAT.build_answer(ANSWER)).choices[0].message.to_dict(),
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    ]
    body = sends(
        lambda asking: asking.chat.completions.create(
            model="m",
            messages=conversation,
            tools=TOOLS,
            tool_choice={"type": "function", "function": {"name": "f"}},
            reasoning_effort="high",
            max_completion_tokens=9,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert CHAT.parse(CHAT.read(body)) == Request(
        messages=(
            Message("developer", (Text("Be short."),)),
            Message("user", (Text("What is this?"), Image("image/png", "AAAA", detail="high"))),
            Message("assistant", ANSWER.choices[0].parts),
            Message("tool", (ToolResult("c1", "weather", (Text("rain"),)),)),
        ),
        tools=(Tool("f", "d", '{"type":"object"}', strict=True),),
        tool_choice=ToolChoice("named", "f"),
        thinking=Thinking("high"),
        max_tokens=9,
        stream=True,
        stream_usage=True,
    )


def test_what_the_client_sends_to_responses_is_read() -> None:
    answered = Choice((*ANSWER.choices[0].parts, Declined("No.")), "tool_use")
    plain = RESPONSES.build_answer(Answer(id="a", model="m", created=1, choices=(answered,), usage=None))
    conversation: Any = [
        {"role": "user", "content": [{"type": "input_file", "file_url": "https://x/y.pdf"}]},
        *(item.to_dict() for item in responses_plain(plain).output),
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
    ]
    body = sends(
        lambda asking: asking.responses.create(
            model="m",
            instructions="Be short.",
            input=conversation,
            text={"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}},
            reasoning={"effort": "low", "summary": "auto"},
            include=["reasoning.encrypted_content"],
            store=False,
        )
    )
    assert RESPONSES.parse(RESPONSES.read(body)) == Request(
        messages=(
            Message("system", (Text("Be short."),)),
            Message("user", (Document(url="https://x/y.pdf"),)),
            Message("assistant", answered.parts),
            Message("tool", (ToolResult("c1", "weather", (Text("rain"),)),)),
        ),
        format=Format("schema", '{"type":"object"}', "n", strict=True),
        thinking=Thinking("low", shown=True),
    )


def test_a_refusal_of_a_request_names_its_field_to_the_client() -> None:
    with pytest.raises(InvalidRequest) as raised:
        RESPONSES.parse(RESPONSES.read(b'{"model":"m","input":"a","previous_response_id":"r"}'))
    with (
        client(RESPONSES.error(raised.value, None), status=400) as (asking, _),
        pytest.raises(openai.BadRequestError) as told_client,
    ):
        asking.responses.create(model="m", input="a", previous_response_id="r")
    assert (told_client.value.param, told_client.value.code) == ("previous_response_id", "not_translatable")
