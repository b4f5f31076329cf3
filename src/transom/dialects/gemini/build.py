"""A request said in Gemini's words, for an upstream that speaks them.

What differs between Gemini's own models is decided here, by the model's name: those before 3 take a budget where the
later ones take a level, know no resolution of a single picture, and ask for no signatures.
"""

import re
from collections.abc import Mapping
from itertools import groupby

import msgspec

from transom.dialects.gemini.calls import is_made
from transom.dialects.gemini.media import write_medium
from transom.dialects.gemini.signature import UNSIGNED, own_proof
from transom.dialects.middle import (
    Audio,
    Declined,
    Document,
    Effort,
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
    Unsayable,
)
from transom.dialects.translate import BUDGETS, tool_names
from transom.values import UpstreamModel

Json = dict[str, object]

_BEFORE_3 = re.compile(r"gemini-[12][.-]")
_SYSTEM = ("system", "developer")
_LEVELS: Mapping[Effort, str] = {
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "XHIGH",
    "max": "XHIGH",
}
"""`max` is as much as there is: Gemini's most."""
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}


def build_request(request: Request, model: UpstreamModel) -> bytes:
    """Say a request. Raises `Unsayable`."""
    if request.user is not None:
        raise Unsayable("user", "Gemini takes no name of an end user")
    if request.parallel_tools is False and request.tools:
        raise Unsayable("parallel_tools", "Gemini cannot be kept from asking for several tools at once")
    before_3 = _BEFORE_3.search(model) is not None
    body = _conversation(request, before_3=before_3)
    if request.tools:
        body["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in request.tools]}]
    if (calling := _calling(request.tool_choice, request.tools)) is not None:
        body["toolConfig"] = {"functionCallingConfig": calling}
    if config := _config(request, before_3=before_3):
        body["generationConfig"] = config
    return msgspec.json.encode(body)


def _conversation(request: Request, *, before_3: bool) -> Json:
    messages = request.messages
    start = next((at for at, message in enumerate(messages) if message.role not in _SYSTEM), len(messages))
    system = [part for at in range(start) for part in _system(messages[at], f"messages.{at}")]
    contents = _contents(messages, start, before_3=before_3)
    if not contents:
        raise Unsayable("messages", "Gemini answers a message: one at least must be neither the system's nor empty")
    body: Json = {"systemInstruction": {"parts": system}} if system else {}
    return body | {"contents": contents}


def _system(message: Message, field: str) -> list[Json]:
    _check_name(message, field)
    texts = [part.text for part in message.parts if isinstance(part, Text)]
    if len(texts) < len(message.parts):
        raise Unsayable(field, "Gemini's system instruction is words only")
    return [{"text": text} for text in texts]


def _check_name(message: Message, field: str) -> None:
    if message.name is not None:
        raise Unsayable(f"{field}.name", "Gemini does not tell participants of one role apart")


def _contents(messages: tuple[Message, ...], start: int, *, before_3: bool) -> list[Json]:
    """Say the conversation. Results that follow each other are one content: Gemini wants all of a turn in one."""
    names = tool_names(messages)
    contents: list[Json] = []
    numbered = [(at, message) for at, message in enumerate(messages) if at >= start]
    for results, run in groupby(numbered, lambda each: each[1].role == "tool"):
        if results:
            parts = [_result(part, names, f"messages.{at}") for at, message in run for part in message.parts]
            contents.append({"role": "user", "parts": parts})
        else:
            contents.extend(_turn(message, f"messages.{at}", before_3=before_3) for at, message in run)
    return [content for content in contents if content["parts"]]


def _turn(message: Message, field: str, *, before_3: bool) -> Json:
    _check_name(message, field)
    if message.role in _SYSTEM:
        raise Unsayable(field, "Gemini takes the system's words before the conversation only")
    parts: list[Json] = []
    for index, part in enumerate(message.parts):
        parts.append(_part(part, f"{field}.parts.{index}", before_3=before_3))
    calls = [part for part in parts if "functionCall" in part]
    if calls and not before_3 and not any("thoughtSignature" in call for call in calls):
        # These models refuse calls of their own without their signature; this says that the call was another's.
        calls[0]["thoughtSignature"] = UNSIGNED
    return {"role": "model" if message.role == "assistant" else "user", "parts": parts}


def _part(part: object, field: str, *, before_3: bool) -> Json:
    match part:
        case Text(text) | Declined(text):
            return {"text": text}
        case Image(detail="low" | "high") if before_3:
            raise Unsayable(f"{field}.detail", "this model takes no detail of a single picture")
        case Image() | Audio() | Document():
            return write_medium(part, field)
        case ToolUse():
            return _call(part, field)
        case Reasoning():
            return _thought(part, field)
    raise Unsayable(field, "a result of a tool must stand in a message of the role `tool`")


def _thought(thought: Reasoning, field: str) -> Json:
    said: Json = {"text": thought.text, "thought": True} if thought.text else {"text": ""}
    if thought.signature is None and thought.hidden is None:
        return said
    signature = own_proof(thought.signature)
    if signature is None or thought.hidden is not None:
        raise Unsayable(field, "it is a thought that another vendor proves or alone can read")
    return said | {"thoughtSignature": signature}


def _call(use: ToolUse, field: str) -> Json:
    arguments = write_arguments(use.arguments)
    if arguments is None:
        raise Unsayable(field, f"the arguments for `{use.name}` are no JSON object")
    call: Json = {"name": use.name, "args": arguments}
    if not is_made(use.id):
        call["id"] = use.id
    said: Json = {"functionCall": call}
    return said if use.signature is None else said | {"thoughtSignature": use.signature}


def write_arguments(arguments: str) -> msgspec.Raw | None:
    """Return arguments as JSON to put into a body, `None` where they are no object. Nothing is no arguments."""
    raw = msgspec.Raw(arguments.encode() if arguments.strip() else b"{}")
    try:
        msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return None
    return raw


def _result(part: object, names: Mapping[str, str], field: str) -> Json:
    """Say a tool's result: its words under Google's own key, then what else it gave, in order."""
    if not isinstance(part, ToolResult):
        raise Unsayable(field, "a message of the role `tool` holds results of tools only")
    name = part.name or names.get(part.id)
    if name is None:
        raise Unsayable(field, f"no message before it asks for a tool by the id `{part.id}`, so its name is not known")
    texts = [each.text for each in part.parts if isinstance(each, Text)]
    words: object = "".join(texts) if len(texts) < 2 else texts
    response: Json = {"name": name, "response": {"error" if part.failed else "output": words}}
    if not is_made(part.id):
        response["id"] = part.id
    media = [write_medium(each, field) for each in part.parts if not isinstance(each, Text)]
    if media:
        response["parts"] = media
    return {"functionResponse": response}


def _declaration(tool: Tool) -> Json:
    said: Json = {"name": tool.name}
    if tool.description is not None:
        said["description"] = tool.description
    if tool.parameters is not None:
        said["parametersJsonSchema"] = msgspec.Raw(tool.parameters.encode())
    return said


def _calling(choice: ToolChoice | None, tools: tuple[Tool, ...]) -> Json | None:
    """Say whether tools are used: of none there is nothing to choose.

    Where one is strict and none must be used, all are held to their schemas.
    """
    if not tools and (choice is None or choice.kind in {"auto", "none"}):
        return None
    if (choice is None or choice.kind == "auto") and any(tool.strict for tool in tools):
        return {"mode": "VALIDATED"}
    if choice is None:
        return None
    said: Json = {"mode": _MODES[choice.kind]}
    return said if choice.name is None else said | {"allowedFunctionNames": [choice.name]}


def _config(request: Request, *, before_3: bool) -> Json:
    said: Json = {
        "maxOutputTokens": request.max_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "topK": request.top_k,
        "stopSequences": list(request.stop) or None,
        "seed": request.seed,
        "frequencyPenalty": request.frequency_penalty,
        "presencePenalty": request.presence_penalty,
        "candidateCount": request.choices,
        "responseLogprobs": request.logprobs or None,
        "logprobs": request.top_logprobs if request.logprobs else None,
        "thinkingConfig": None if request.thinking is None else _thinking(request.thinking, before_3=before_3),
    }
    said = {name: value for name, value in said.items() if value is not None}
    return said if request.format is None else said | _format(request.format)


def _format(said: Format) -> Json:
    if said.schema is None:
        return {"responseMimeType": "application/json"}
    return {"responseMimeType": "application/json", "responseJsonSchema": _described(said)}


def _described(said: Format) -> msgspec.Raw:
    """Return the schema, with the format's name and description where it has none of its own."""
    schema = (said.schema or "{}").strip().encode()
    words = {"title": said.name, "description": said.description}
    try:
        known = msgspec.json.decode(schema, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        raise Unsayable("format", "its schema is no JSON object") from error
    added = {word: text for word, text in words.items() if text is not None and word not in known}
    return msgspec.Raw(msgspec.json.encode(known | added) if added else schema)


def _thinking(thinking: Thinking, *, before_3: bool) -> Json:
    budget, effort = thinking.budget, thinking.effort
    said: Json = {}
    if budget is None and effort is not None and (before_3 or effort == "none"):
        budget = BUDGETS[effort]
    if budget is not None:
        said["thinkingBudget"] = budget
    elif effort is not None:
        said["thinkingLevel"] = _LEVELS[effort]
    if thinking.shown is not None:
        said["includeThoughts"] = thinking.shown
    return said
