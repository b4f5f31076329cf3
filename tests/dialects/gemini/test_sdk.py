"""Google's own client: what it sends is understood, and what it is answered it understands."""

import json
from collections.abc import Callable

import httpx2
import pytest
from google import genai
from google.genai import errors, types
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dialects.gemini.sayable import streamed
from tests.dialects.making import streams

from transom.dialects.gemini import count_tokens
from transom.dialects.gemini.generate import GENERATE, Generate
from transom.dialects.gemini.path import read_path
from transom.dialects.middle import (
    Answer,
    Choice,
    Counted,
    Document,
    Ended,
    Event,
    Image,
    Logprob,
    Message,
    Reasoning,
    ReasoningDelta,
    Request,
    Started,
    Text,
    TextDelta,
    Thinking,
    Tool,
    ToolChoice,
    ToolDelta,
    ToolResult,
    ToolStarted,
    ToolUse,
)
from transom.errors import Forbidden, TooMany
from transom.values import Call, Usage

USAGE = Usage(10, 4, 7, 3, "upstream")
STARTED = Started("r1", "chat@1", 1_700_000_000)
ANSWERED = Answer(
    id="r1", model="chat@1", created=1_700_000_000, choices=(Choice((Text("Hello."),), "stop"),), usage=USAGE
)


class Door:
    """Answers Google's client the way the gateway does, and keeps what it was asked."""

    def __init__(self, answer: Callable[[Request], bytes | tuple[int, bytes]]) -> None:
        self.asked: list[Request] = []
        self.calls: list[Call] = []
        self.answer = answer
        options = types.HttpOptions(
            base_url="http://door.example",
            httpx_client=httpx2.Client(transport=httpx2.MockTransport(self._serve)),
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        self.client = genai.Client(api_key="key", http_options=options)

    def _serve(self, request: httpx2.Request) -> httpx2.Response:
        called = read_path(request.url.path, request.url.query.decode())
        assert called is not None
        body = request.read()
        if called.method == "countTokens":
            call = count_tokens.read(body, called.model)
            self.asked.append(count_tokens.parse(call))
        else:
            dialect = Generate(called.model, called.method == "streamGenerateContent", sse=called.sse)
            call = dialect.read(body)
            self.asked.append(dialect.parse(call))
        self.calls.append(call)
        answer = self.answer(self.asked[-1])
        status, content = answer if isinstance(answer, tuple) else (200, answer)
        return httpx2.Response(status, content=content)


@pytest.fixture(scope="module")
def door() -> Door:
    """One for all examples: a client takes longer to make than to use."""
    return Door(lambda _: b"")


def streaming(*events: Event) -> bytes:
    writer = GENERATE.writer(Request(messages=()))
    return b"".join([*map(writer.write, events), writer.end()])


def test_what_the_client_sends_is_understood() -> None:
    door = Door(lambda _: GENERATE.build_answer(ANSWERED))
    weather = types.FunctionDeclaration(
        name="weather",
        description="Tells the weather.",
        parameters=types.Schema(
            type=types.Type.OBJECT,
            properties={"city": types.Schema(type=types.Type.STRING, nullable=True)},
            required=["city"],
        ),
    )
    door.client.models.generate_content(
        model="chat@1",
        contents=[
            "Look.",
            types.Part.from_bytes(data=b"\xff\xfe\xfb", mime_type="image/png"),
            types.Part.from_uri(file_uri="https://files.example/a.pdf", mime_type="application/pdf"),
        ],
        config=types.GenerateContentConfig(
            system_instruction="Be brief.",
            temperature=0.5,
            top_k=40,
            max_output_tokens=100,
            stop_sequences=["END"],
            candidate_count=1,
            response_mime_type="application/json",
            response_json_schema={"type": "object"},
            thinking_config=types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW, include_thoughts=True),
            safety_settings=[
                types.SafetySetting(
                    category=types.HarmCategory.HARM_CATEGORY_HATE_SPEECH,
                    threshold=types.HarmBlockThreshold.BLOCK_NONE,
                )
            ],
            tools=[types.Tool(function_declarations=[weather])],
            tool_config=types.ToolConfig(
                function_calling_config=types.FunctionCallingConfig(
                    mode=types.FunctionCallingConfigMode.ANY, allowed_function_names=["weather"]
                )
            ),
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        ),
    )
    (asked,), (call,) = door.asked, door.calls
    assert (call.model, call.stream) == ("chat@1", False)
    assert asked.messages == (
        Message("system", (Text("Be brief."),)),
        Message(
            "user",
            (
                Text("Look."),
                Image("image/png", "//77"),
                Document("application/pdf", url="https://files.example/a.pdf"),
            ),
        ),
    )
    schema = {
        "properties": {"city": {"type": ["string", "null"]}},
        "required": ["city"],
        "type": "object",
    }
    (tool,) = asked.tools
    assert tool == Tool("weather", "Tells the weather.", tool.parameters)
    assert json.loads(tool.parameters or "") == schema
    assert asked.tool_choice == ToolChoice("named", "weather")
    assert asked.thinking == Thinking("low", shown=True)
    assert (asked.temperature, asked.top_k, asked.max_tokens, asked.stop) == (0.5, 40, 100, ("END",))
    assert asked.hints == ("safetySettings",)


def test_the_client_reads_an_answer() -> None:
    answer = Answer(
        id="r1",
        model="chat@1",
        created=1_700_000_000,
        choices=(
            Choice(
                (Reasoning("Hm.", "s+/i"), Text("Hello."), ToolUse("call_1", "weather", '{"city":"Oslo"}', "si")),
                "tool_use",
                logprobs=(Logprob("Hello", -0.5, (Logprob("Hi", -1.5),)), Logprob(".", 0.0)),
            ),
            Choice((Text("No"),), "length"),
        ),
        usage=USAGE,
    )
    response = Door(lambda _: GENERATE.build_answer(answer)).client.models.generate_content(model="m", contents="Hi")
    assert (response.response_id, response.model_version) == ("r1", "chat@1")
    assert response.candidates is not None
    first, second = response.candidates
    assert first.content is not None
    assert first.content.parts is not None
    thought, text, call = first.content.parts
    assert (thought.text, thought.thought, text.text) == ("Hm.", True, "Hello.")
    assert call.function_call == types.FunctionCall(id="call_1", name="weather", args={"city": "Oslo"})
    assert (first.finish_reason, second.finish_reason) == (types.FinishReason.STOP, types.FinishReason.MAX_TOKENS)
    assert first.logprobs_result is not None
    assert first.logprobs_result.chosen_candidates == [
        types.LogprobsResultCandidate(token="Hello", log_probability=-0.5),
        types.LogprobsResultCandidate(token=".", log_probability=0.0),
    ]
    counted = response.usage_metadata
    assert counted is not None
    assert (counted.prompt_token_count, counted.cached_content_token_count) == (14, 4)
    assert (counted.candidates_token_count, counted.thoughts_token_count, counted.total_token_count) == (7, 3, 24)


@settings(deadline=None, max_examples=50)
@given(streamed(), st.data())
def test_the_client_puts_a_stream_together(door: Door, answer: Answer, data: st.DataObject) -> None:
    body = streaming(*data.draw(streams(answer)))
    door.answer = lambda _: body
    chunks = [*door.client.models.generate_content_stream(model="m", contents="Hi")]
    parts = [part for chunk in chunks for part in chunk.parts or []]
    (choice,) = answer.choices
    thoughts = [part.text for part in choice.parts if isinstance(part, Reasoning)]
    assert "".join(part.text or "" for part in parts if part.thought) == "".join(thoughts)
    texts = [part.text for part in choice.parts if isinstance(part, Text)]
    assert "".join(part.text or "" for part in parts if not part.thought) == "".join(texts)
    uses = [(part.id, part.name, json.loads(part.arguments)) for part in choice.parts if isinstance(part, ToolUse)]
    assert [(c.id, c.name, c.args) for part in parts if (c := part.function_call)] == uses
    last = chunks[-1]
    assert last.candidates is not None
    assert last.candidates[0].finish_reason is not None
    assert (last.usage_metadata is None) == (answer.usage is None)


def test_a_chat_keeps_what_was_streamed_and_signed() -> None:
    """The client keeps each piece as a content of its own, and signatures as bytes: both come back as they were."""
    body = streaming(
        STARTED,
        ReasoningDelta("I could "),
        ReasoningDelta("ask."),
        ReasoningDelta(signature="s+/g="),
        ReasoningDelta(hidden="gAAAA-_x"),
        TextDelta("Let me"),
        TextDelta(" see."),
        ToolStarted(0, "call_a", "weather", "t+/g"),
        ToolDelta(0, '{"city": '),
        ToolStarted(1, "call_b", "time"),
        ToolDelta(1, "{}"),
        ToolDelta(0, '"Oslo"}'),
        Ended("tool_use"),
        Counted(USAGE),
    )
    door = Door(lambda request: body if len(request.messages) == 1 else streaming(STARTED, Ended("stop")))
    chat = door.client.chats.create(model="m")
    assert "".join(chunk.text or "" for chunk in chat.send_message_stream("How is Oslo?")) == "Let me see."
    results = [
        types.Part(function_response=types.FunctionResponse(id="call_a", name="weather", response={"output": "Rain"})),
        types.Part(function_response=types.FunctionResponse(id="call_b", name="time", response={"error": "No clock"})),
    ]
    list(chat.send_message_stream(results))
    assert door.asked[-1].messages == (
        Message("user", (Text("How is Oslo?"),)),
        Message(
            "assistant",
            (
                Reasoning("I could ask.", "s+/g="),
                Reasoning(hidden="gAAAA-_x"),
                Text("Let me see."),
                ToolUse("call_a", "weather", '{"city": "Oslo"}', "t+/g"),
                ToolUse("call_b", "time", "{}"),
            ),
        ),
        Message(
            "tool",
            (
                ToolResult("call_a", "weather", (Text("Rain"),)),
                ToolResult("call_b", "time", (Text("No clock"),), failed=True),
            ),
        ),
    )


def test_the_client_raises_a_refusal() -> None:
    refusal = Forbidden("Policy `closed` forbids it.", policies=("closed", "late"))
    door = Door(lambda _: (403, GENERATE.error(refusal, "018f")))
    with pytest.raises(errors.ClientError) as raised:
        door.client.models.generate_content(model="m", contents="Hi")
    assert (raised.value.code, raised.value.status) == (403, "PERMISSION_DENIED")
    assert raised.value.message == "Policy `closed` forbids it."
    (info,) = raised.value.details["error"]["details"]
    assert info["reason"] == "POLICY_FORBIDS"
    assert info["metadata"] == {"decision": "018f", "policies": "closed, late", "type": "permission_error"}


def test_the_client_raises_an_error_in_the_middle_of_a_stream() -> None:
    writer = GENERATE.writer(Request(messages=()))
    said = writer.write(STARTED) + writer.write(TextDelta("Hel"))
    body = said + GENERATE.stream_error(TooMany("Too many.", retry_after=3), "018f")
    chunks = Door(lambda _: body).client.models.generate_content_stream(model="m", contents="Hi")
    assert next(chunks).text == "Hel"
    with pytest.raises(errors.ClientError) as raised:
        next(chunks)
    assert (raised.value.code, raised.value.status) == (429, "RESOURCE_EXHAUSTED")


def test_the_client_counts_tokens() -> None:
    door = Door(lambda _: count_tokens.build_answer(12))
    assert door.client.models.count_tokens(model="chat@1", contents="Hi").total_tokens == 12
    assert door.asked[0].messages == (Message("user", (Text("Hi"),)),)
    assert door.calls[0].model == "chat@1"
