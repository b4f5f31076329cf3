import json
from typing import Any

import anthropic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dialects.anthropic.sdk import ANSWER, client, sends
from tests.dialects.making import NAMES, TEXTS, WORDS, conversations, objects, tools

from transom.dialects.anthropic.messages import MESSAGES
from transom.dialects.middle import (
    Document,
    Format,
    Image,
    Message,
    Reasoning,
    Request,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from transom.errors import InvalidRequest
from transom.values import Call, RequestedModel, UpstreamModel

MODEL = UpstreamModel("a-model-nobody-knows")
IMAGES = st.builds(Image, media_type=st.sampled_from(["image/png", "image/webp"]), data=WORDS) | st.builds(
    Image, url=WORDS
)
DOCUMENTS = (
    st.builds(Document, st.just("application/pdf"), WORDS, st.none(), st.none() | WORDS)
    | st.builds(Document, st.just("text/plain"), WORDS, st.none(), st.none() | WORDS)
    | st.builds(Document, st.just("application/pdf"), st.none(), WORDS, st.none() | WORDS)
)
PROOFS = st.builds("anthropic-messages:{}".format, WORDS)
THOUGHTS = st.builds(Reasoning, st.just("") | WORDS, PROOFS) | st.builds(Reasoning, hidden=PROOFS)
EFFORTS = st.sampled_from(["low", "medium", "high", "xhigh", "max"])
THINKING = (
    st.just(Thinking(effort="none"))
    | st.builds(Thinking, effort=st.none() | EFFORTS, shown=st.none() | st.booleans())
    | st.builds(Thinking, effort=st.none() | EFFORTS, budget=st.integers(1024, 9000), shown=st.booleans())
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Whatever Anthropic's dialect can say, in its normal form."""
    offered = draw(tools(st.none() | st.booleans()))
    choice = parallel = None
    if offered:
        kinds = [ToolChoice("auto"), ToolChoice("required"), ToolChoice("none"), ToolChoice("named", offered[0].name)]
        choice = draw(st.none() | st.sampled_from(kinds))
        parallel = draw(st.none() | st.booleans()) if choice is not None and choice.kind != "none" else None
    stream = draw(st.booleans())
    return Request(
        messages=draw(conversations(TEXTS | IMAGES | DOCUMENTS, TEXTS | THOUGHTS, TEXTS)),
        tools=offered,
        tool_choice=choice,
        parallel_tools=parallel,
        max_tokens=draw(st.integers(9001, 10**6)),
        temperature=draw(st.none() | st.floats(0, 1)),
        top_p=draw(st.none() | st.floats(0, 1)),
        top_k=draw(st.none() | st.integers(0, 500)),
        stop=tuple(draw(st.lists(WORDS, max_size=2))),
        format=draw(st.none() | st.builds(Format, st.just("schema"), schema=objects(), strict=st.just(True))),
        thinking=draw(st.none() | THINKING),
        user=draw(st.none() | NAMES),
        stream=stream,
        stream_usage=stream,
    )


def called(body: bytes) -> Call:
    return Call("infer", RequestedModel("m"), stream=False, body=body, texts=())


def parsed(**fields: Any) -> Request:
    asked = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]} | fields
    return MESSAGES.parse(called(json.dumps(asked).encode()))


def said(*blocks: Any, role: str = "user") -> Request:
    return parsed(messages=[{"role": role, "content": list(blocks)}])


@settings(deadline=None, max_examples=50)
@given(requests())
def test_what_can_be_said_comes_back(request: Request) -> None:
    assert MESSAGES.parse(called(MESSAGES.build(request, MODEL))) == request


AGENT = {
    "model": "claude-opus-5-5",
    "max_tokens": 32000,
    "stream": True,
    "system": [
        {"type": "text", "text": "You write code.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Here is the folder.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ],
    "metadata": {"user_id": "user_1_session_2"},
    "thinking": {"type": "adaptive", "display": "summarized"},
    "output_config": {"effort": "xhigh", "task_budget": {"type": "tokens", "total": 100}},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "service_tier": "auto",
    "tools": [
        {
            "name": "Read",
            "description": "Reads a file.",
            "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
            "eager_input_streaming": True,
        },
        {
            "type": "custom",
            "name": "Look",
            "input_schema": {"type": "object"},
            "input_examples": [{"at": 1}],
            "defer_loading": True,
            "allowed_callers": ["direct"],
            "strict": True,
            "cache_control": {"type": "ephemeral"},
        },
    ],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": False},
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<system-reminder>Be brief.</system-reminder>"},
                {"type": "text", "text": "What is in a.py?", "citations": None},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "I look.", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "aGlkZGVu"},
                {"type": "text", "text": "I read it."},
                {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "a.py"}},
                {"type": "tool_use", "id": "toolu_2", "name": "Look", "input": {}, "caller": {"type": "direct"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "x = 1", "is_error": False},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_2",
                    "is_error": True,
                    "content": [
                        {"type": "text", "text": "half"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cG5n"}},
                    ],
                    "cache_control": {"type": "ephemeral"},
                },
                {"type": "text", "text": "Go on.", "cache_control": {"type": "ephemeral"}},
            ],
        },
        {"role": "system", "content": "The user changed a.py."},
    ],
}


def test_what_an_agent_sends_is_carried_or_a_hint() -> None:
    request = MESSAGES.parse(called(json.dumps(AGENT).encode()))
    assert request == Request(
        messages=(
            Message("system", (Text("You write code."), Text("Here is the folder."))),
            Message("user", (Text("<system-reminder>Be brief.</system-reminder>"), Text("What is in a.py?"))),
            Message(
                "assistant",
                (
                    Reasoning("I look.", "anthropic-messages:c2ln"),
                    Reasoning(hidden="anthropic-messages:aGlkZGVu"),
                    Text("I read it."),
                    ToolUse("toolu_1", "Read", '{"path": "a.py"}'),
                    ToolUse("toolu_2", "Look", "{}"),
                ),
            ),
            Message(
                "tool",
                (
                    ToolResult("toolu_1", "Read", (Text("x = 1"),)),
                    ToolResult("toolu_2", "Look", (Text("half"), Image("image/png", "cG5n")), failed=True),
                ),
            ),
            Message("user", (Text("Go on."),)),
            Message("system", (Text("The user changed a.py."),)),
        ),
        tools=(
            Tool(
                "Read",
                "Reads a file.",
                '{"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}',
            ),
            Tool("Look", None, '{"type": "object"}', strict=True),
        ),
        tool_choice=ToolChoice("auto"),
        parallel_tools=True,
        max_tokens=32000,
        thinking=Thinking(effort="xhigh", shown=True),
        user="user_1_session_2",
        stream=True,
        stream_usage=True,
        hints=(
            "context_management",
            "service_tier",
            "output_config.task_budget",
            "system.0.cache_control",
            "system.1.cache_control",
            "messages.2.content.1.cache_control",
            "messages.2.content.2.cache_control",
            "tools.0.eager_input_streaming",
            "tools.1.cache_control",
            "tools.1.defer_loading",
            "tools.1.input_examples",
        ),
    )


def test_what_the_official_client_sends_is_read() -> None:
    def ask(asking: anthropic.Anthropic) -> object:
        return asking.messages.create(
            model="m",
            max_tokens=100,
            system="Be brief.",
            messages=[
                {"role": "user", "content": "Weather?"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "t", "name": "w", "input": {"in": "Ulm"}}],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
            ],
            tools=[{"name": "w", "input_schema": {"type": "object"}}],
            tool_choice={"type": "tool", "name": "w", "disable_parallel_tool_use": True},
            thinking={"type": "enabled", "budget_tokens": 2048},
            output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}},
            stop_sequences=["END"],
            extra_body={"temperature": 0.5, "top_k": 3},
        )

    assert MESSAGES.parse(called(sends(ask))) == Request(
        messages=(
            Message("system", (Text("Be brief."),)),
            Message("user", (Text("Weather?"),)),
            Message("assistant", (ToolUse("t", "w", '{"in":"Ulm"}'),)),
            Message("tool", (ToolResult("t", "w", ()),)),
        ),
        tools=(Tool("w", None, '{"type":"object"}'),),
        tool_choice=ToolChoice("named", "w"),
        parallel_tools=False,
        max_tokens=100,
        temperature=0.5,
        top_k=3,
        stop=("END",),
        format=Format("schema", schema='{"type":"object"}', strict=True),
        thinking=Thinking(budget=2048, shown=True),
    )


def test_the_official_tool_runner_is_served_turn_by_turn(caplog: pytest.LogCaptureFixture) -> None:
    """It would have the server keep the conversation, and goes on without where the server says that it does not."""
    caplog.set_level("CRITICAL")

    @anthropic.beta_tool
    def add(a: int, b: int) -> str:
        """Add two numbers."""
        return str(a + b)

    wants = json.loads(ANSWER) | {
        "content": [
            {"type": "thinking", "thinking": "Adding.", "signature": "c2ln"},
            {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 2, "b": 3}},
            {"type": "tool_use", "id": "toolu_2", "name": "add", "input": {"a": 4, "b": "x"}},
        ],
        "stop_reason": "tool_use",
    }
    answers = iter([json.dumps(wants).encode(), ANSWER])
    served: list[Request] = []

    def door(body: bytes) -> tuple[int, bytes]:
        try:
            served.append(MESSAGES.parse(MESSAGES.read(body)))
        except InvalidRequest as refusal:
            return refusal.status, MESSAGES.error(refusal, "decision")
        return 200, next(answers)

    with client(door) as asking:
        last = asking.beta.messages.tool_runner(
            model="m", max_tokens=99, tools=[add], messages=[{"role": "user", "content": "2 + 3?"}]
        ).until_done()
    assert last.stop_reason == "end_turn"
    first, second = served
    assert (first.tools[0].name, first.tools[0].description) == ("add", "Add two numbers.")
    assert second.messages[1].parts[0] == Reasoning("Adding.", "anthropic-messages:c2ln")
    assert second.messages[2].role == "tool"
    good, bad = second.messages[2].parts
    assert good == ToolResult("toolu_1", "add", (Text("5"),))
    assert isinstance(bad, ToolResult)
    assert (bad.id, bad.name, bad.failed) == ("toolu_2", "add", True)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"messages": None}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": ["x"]}, "messages.0"),
        ({"messages": [{"content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": "x", "name": "Ann"}]}, "messages.0.name"),
        ({"system": [{"type": "image"}]}, "system.0.type"),
        ({"made_up": 1}, "made_up"),
        ({"container": "c"}, "container"),
        ({"mcp_servers": [{}]}, "mcp_servers"),
        ({"inference_geo": "eu"}, "inference_geo"),
        ({"metadata": {"user_id": "u", "team": "t"}}, "metadata.team"),
        ({"stop_sequences": "x"}, "stop_sequences"),
        ({"temperature": "hot"}, "temperature"),
        ({"stream": "yes"}, "stream"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "between_tools"}}, "thinking.type"),
        ({"thinking": {"type": "adaptive", "display": "loud"}}, "thinking.display"),
        ({"thinking": {"type": "adaptive", "x": 1}}, "thinking.x"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ({"output_config": {"tone": "warm"}}, "output_config.tone"),
        ({"tools": [{"name": "x"}]}, "tools.0.input_schema"),
        ({"tools": [{"name": "x", "input_schema": []}]}, "tools.0.input_schema"),
        ({"tools": [{"name": "x", "input_schema": {}, "x": 1}]}, "tools.0.x"),
        ({"tools": [{"name": "x", "input_schema": {}, "allowed_callers": ["code"]}]}, "tools.0.allowed_callers"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools.0.type"),
        ({"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}, "tools.0.type"),
        ({"tools": [{"type": "computer_20251124", "name": "computer"}]}, "tools.0.type"),
        ({"tools": [{"type": "mcp_toolset", "mcp_server_name": "m"}]}, "tools.0.type"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
    ],
)
def test_what_is_wrong_or_cannot_be_carried_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parsed(**fields)
    assert raised.value.param == param
    assert f"`{param}`" in raised.value.message


@pytest.mark.parametrize(
    ("block", "param"),
    [
        ({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, "type"),
        ({"type": "search_result", "source": "s", "title": "t", "content": []}, "type"),
        ({"type": "container_upload", "file_id": "f"}, "type"),
        ({"type": "thinking", "thinking": "x", "signature": "s"}, "type"),
        ({"text": "x"}, "type"),
        ({"type": "text"}, "text"),
        ({"type": "text", "text": "x", "tone": "warm"}, "tone"),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, "source.type"),
        ({"type": "image", "source": {"type": "url", "url": "u", "x": 1}}, "source.x"),
        ({"type": "image", "source": {"type": "base64", "data": "x"}}, "source.media_type"),
        (
            {"type": "image", "source": {"type": "url", "url": "u"}, "transformations": {"oversized_image": "error"}},
            "transformations.oversized_image",
        ),
        ({"type": "document", "source": {"type": "content", "content": "x"}}, "source.type"),
        ({"type": "document", "source": {"type": "url", "url": "u"}, "context": "c"}, "context"),
        (
            {"type": "document", "source": {"type": "url", "url": "u"}, "citations": {"enabled": True}},
            "citations.enabled",
        ),
        (
            {"type": "document", "source": {"type": "base64", "media_type": "text/csv", "data": "x"}},
            "source.media_type",
        ),
        ({"type": "tool_result", "content": "x"}, "tool_use_id"),
        (
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_reference", "tool_name": "x"}]},
            "content.0.type",
        ),
        (
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x", "y": 1}]},
            "content.0.y",
        ),
    ],
)
def test_a_block_that_cannot_be_carried_is_named(block: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        said({"type": "text", "text": "first"}, block)
    assert raised.value.param == f"messages.0.content.1.{param}"


def test_a_tool_used_by_code_is_refused() -> None:
    use = {"type": "tool_use", "id": "t", "name": "w", "input": {}}
    with pytest.raises(InvalidRequest) as raised:
        said(use | {"caller": {"type": "code_execution_20250825", "tool_id": "s"}}, role="assistant")
    assert raised.value.param == "messages.0.content.0.caller.type"


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": False, "stop_sequences": [], "tools": [], "mcp_servers": [], "system": ""},
        {"temperature": None, "container": None, "thinking": None, "output_config": {}, "metadata": {"user_id": None}},
    ],
)
def test_what_says_nothing_is_no_matter(fields: dict[str, Any]) -> None:
    assert parsed(**fields) == parsed()
    assert parsed().hints == ()


def test_defaults_of_blocks_say_nothing() -> None:
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
    image = {"type": "image", "source": {"type": "url", "url": "u"}}
    plain = said(document, image)
    assert plain == said(
        document | {"citations": {"enabled": False}, "context": None, "title": None},
        image | {"transformations": {"oversized_image": "downsize"}},
        {"type": "text", "text": ""},
    )
    assert plain.messages[0].parts == (Document("text/plain", "x"), Image(url="u"))


@pytest.mark.parametrize("content", ["", [], [{"type": "text", "text": ""}]])
def test_a_turn_without_words_is_still_a_turn(content: object) -> None:
    request = parsed(messages=[{"role": "user", "content": content}, {"role": "assistant", "content": "x"}])
    assert request.messages == (Message("user", ()), Message("assistant", (Text("x"),)))


def test_a_signature_is_whatever_the_vendor_says() -> None:
    for signature in ("transom:", "transom:{", "transom:[]", "c2ln"):
        block = {"type": "thinking", "thinking": "t", "signature": signature}
        assert said(block, role="assistant").messages[0].parts == (Reasoning("t", f"anthropic-messages:{signature}"),)


@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}])
def test_a_thread_is_refused_in_the_words_on_which_clients_go_on_without(thread: object) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parsed(thread=thread)
    assert (raised.value.param, raised.value.code) == ("thread", "thread_unsupported_request")


def test_results_of_tools_have_messages_of_their_own() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": "r"}
    text = {"type": "text", "text": "x"}
    given = ToolResult("t", None, (Text("r"),))
    assert said(result, text, text, result).messages == (
        Message("tool", (given,)),
        Message("user", (Text("x"), Text("x"))),
        Message("tool", (given,)),
    )


@pytest.mark.parametrize(
    ("until", "then", "shown"),
    [
        ("next_user_message", "assistant", True),
        ("next_user_message", "user", False),
        ("never", "user", True),
        (None, "user", True),
    ],
)
def test_a_reminder_that_passes_is_left_out_once_it_has_passed(until: str | None, then: str, shown: bool) -> None:
    reminder = {"role": "system", "content": "Hurry.", "clear_at": until}
    request = parsed(messages=[{"role": "user", "content": "a"}, reminder, {"role": then, "content": "b"}])
    assert (Message("system", (Text("Hurry."),)) in request.messages) is shown


def test_effort_in_the_middle_is_a_hint() -> None:
    turned = {"role": "system", "content": "x", "output_config": {"effort": "low"}}
    request = parsed(messages=[{"role": "user", "content": "a"}, turned])
    assert request.hints == ("messages.1.output_config",)
    with pytest.raises(InvalidRequest) as raised:
        parsed(messages=[turned | {"clear_at": "soon"}])
    assert raised.value.param == "messages.0.clear_at"


def test_the_former_name_of_the_format_is_known() -> None:
    form = {"type": "json_schema", "schema": {"b": 1, "a": 2}}
    assert parsed(output_format=form) == parsed(output_config={"format": form})
    assert parsed(output_format=form).format == Format("schema", schema='{"b": 1, "a": 2}', strict=True)


@pytest.mark.parametrize(
    ("thinking", "config", "read", "hints"),
    [
        ({"type": "disabled"}, {}, Thinking(effort="none"), ()),
        ({"type": "disabled"}, {"effort": "high"}, Thinking(effort="none"), ("output_config.effort",)),
        ({"type": "adaptive"}, {}, Thinking(), ()),
        ({"type": "adaptive", "display": "omitted"}, {"effort": "max"}, Thinking(effort="max", shown=False), ()),
        (
            {"type": "enabled", "budget_tokens": 5000},
            {"effort": "low"},
            Thinking(effort="low", budget=5000, shown=True),
            (),
        ),
        (None, {"effort": "medium"}, Thinking(effort="medium"), ()),
        (None, {}, None, ()),
    ],
)
def test_thinking(thinking: Any, config: Any, read: Thinking | None, hints: tuple[str, ...]) -> None:
    request = parsed(thinking=thinking, output_config=config)
    assert (request.thinking, request.hints) == (read, hints)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"model":"m",}',
        b'{"max_tokens":1,"messages":[{"role":"user","content":"\xff"}]}',
        b'{"max_tokens":1,"messages":[],"tools":[{"name":"w","input_schema":{"a":"\xff"}}]}',
        b'{"max_tokens":1,"messages":[{"role":"user","content":"\\ud800"}]}',
    ],
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        MESSAGES.parse(called(body))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for reading in (MESSAGES.read, lambda raw: MESSAGES.parse(called(raw))):
        with pytest.raises(InvalidRequest):
            reading(b"\x00" + body)


def test_the_door_reads_what_it_must() -> None:
    body = json.dumps(AGENT).encode()
    call = MESSAGES.read(body)
    assert (call.action, call.model, call.stream, call.body) == ("infer", "claude-opus-5-5", True, body)
    assert "You write code." in call.texts[0]
    assert "x = 1" in call.texts[0]
    assert json.loads(MESSAGES.write(call, UpstreamModel("other"))) == AGENT | {"model": "other"}
    assert MESSAGES.path(UpstreamModel("other"), stream=True) == b"/messages"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"messages":[]}', "model"),
        (b'{"model":"m"}', "messages"),
        (b'{"model":"m","messages":[],"stream":1}', "stream"),
        (b'{"model":"m","messages":[],"Model":"n"}', "model"),
    ],
)
def test_the_door_names_what_it_cannot_read(body: bytes, param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        MESSAGES.read(body)
    assert raised.value.param == param
