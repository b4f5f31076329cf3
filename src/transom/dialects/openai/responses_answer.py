"""Plain answers of Responses, both ways. Source: OpenAI's API reference, "The response object".

What is written does not repeat the request, but for fields without which OpenAI's clients read no answer.
"""

import uuid
from collections.abc import Sequence

import msgspec

from transom.dialects.middle import Answer, Choice, Declined, Logprob, Part, Reasoning, Stop, Text, ToolUse
from transom.dialects.openai import responses_items as items
from transom.dialects.openai.logprobs import WireLogprob, read_logprobs, write_logprobs
from transom.dialects.openai.payloads import NOTHING, created, decode
from transom.dialects.openai.usage import read_responses_usage, responses_usage
from transom.dialects.translate import InvalidAnswer
from transom.values import Usage

_CUT: dict[str | None, Stop] = {
    "max_output_tokens": "length",
    "max_messages": "length",
    "content_filter": "filter",
}
_REASONS: dict[Stop | None, str] = {
    "length": "max_output_tokens",
    "pause": "max_output_tokens",  # more would come, which is all that a client of this API can be told
    "filter": "content_filter",
}


class WireText(msgspec.Struct):
    """A paragraph of a thought."""

    text: str


class WireContent(msgspec.Struct):
    """One part of a message: words, or words for not answering."""

    type: str
    text: str | None = None
    refusal: str | None = None
    logprobs: list[WireLogprob] | None = None


class WireItem(msgspec.Struct):
    """One item of an answer: a message, a thought or a tool use."""

    type: str
    id: str | None = None
    content: list[WireContent] | None = None
    summary: list[WireText] | None = None
    encrypted_content: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None


class WireError(msgspec.Struct):
    """What went wrong, in the upstream's words."""

    message: str | None = None
    code: str | None = None


class WireCut(msgspec.Struct):
    """Why an answer is not whole."""

    reason: str | None = None


class WireResponse(msgspec.Struct):
    """An answer, as it is whole or as a stream's events show it."""

    id: str | None = None
    model: str | None = None
    created_at: float | None = None
    status: str | None = None
    output: list[WireItem] | None = None
    usage: msgspec.Raw = NOTHING
    error: WireError | None = None
    incomplete_details: WireCut | None = None


_answers = msgspec.json.Decoder(WireResponse)


def parse_answer(body: bytes) -> Answer:
    """Read a plain answer whole. Raises `InvalidAnswer`, also for one that failed or has not come yet."""
    said = decode(_answers, body)
    if said.status == "failed" or said.error is not None:
        raise InvalidAnswer(f"the answer failed: {(said.error and said.error.code) or 'no reason given'}")
    if said.output is None or said.status not in ("completed", "incomplete"):
        raise InvalidAnswer("not what the API says: no `output`, or an answer that is not complete")
    parts = tuple(part for item in said.output for part in parts_of(item))
    stop = stop_of(
        said,
        tools=any(isinstance(part, ToolUse) for part in parts),
        declined=any(isinstance(part, Declined) for part in parts),
    )
    logprobs = [each for item in said.output for part in item.content or () for each in part.logprobs or ()]
    return Answer(
        id=said.id or made_up_id(),
        model=said.model or "",
        created=created(said.created_at),
        choices=(Choice(parts, stop, logprobs=read_logprobs(logprobs)),),
        usage=read_responses_usage(said.usage),
    )


def build_answer(answer: Answer) -> bytes:
    """Say an answer, of which this API has one. Raises `InvalidAnswer` for what it has no words for."""
    if not answer.choices:
        raise InvalidAnswer("it holds no answer")
    choice = answer.choices[0]
    output = _items(answer.id, choice)
    if output and cut(choice.stop) and "status" in output[-1]:
        output[-1]["status"] = "incomplete"
    return msgspec.json.encode(
        response(answer.id, answer.model, answer.created)
        | ending(choice.stop, output, said_why=any(isinstance(part, Declined) for part in choice.parts))
        | {"usage": None if answer.usage is None else responses_usage(answer.usage)}
    )


def made_up_id() -> str:
    """Return an id for an answer whose upstream gave none."""
    return f"resp_{uuid.uuid4().hex}"


def parts_of(item: WireItem) -> list[Part]:
    """Return what an item says. Raises `InvalidAnswer` for an item that was not asked for."""
    if item.type == "message":
        return [_words(part) for part in item.content or () if part.text or part.refusal]
    if item.type == "reasoning":
        thought = thought_of(item)
        return [] if thought == Reasoning() else [thought]
    if item.type == "function_call":
        return [use_of(item)]
    raise InvalidAnswer(f"not what was asked for: an item of type {item.type[:50]!r}")


def thought_of(item: WireItem) -> Reasoning:
    """Return a thought: its paragraphs, and what proves it."""
    texts = [each.text for each in item.summary or ()] + [each.text or "" for each in item.content or ()]
    return items.unseal(items.joined(texts), item.id, item.encrypted_content)


def use_of(item: WireItem) -> ToolUse:
    """Return the tool that an item wants used. Raises `InvalidAnswer` where it does not say which."""
    if item.call_id is None or item.name is None:
        raise InvalidAnswer("not what the API says: a tool use without `call_id` or `name`")
    return ToolUse(item.call_id, item.name, item.arguments or "", items.signature_of(item.id))


def stop_of(said: WireResponse, *, tools: bool, declined: bool) -> Stop:
    """Return why an answer ended. That it was cut counts first; what came says the rest."""
    if said.status == "incomplete":
        return _CUT.get(said.incomplete_details.reason if said.incomplete_details else None, "length")
    if tools:
        return "tool_use"
    return "refusal" if declined else "stop"


def cut(stop: Stop | None) -> bool:
    """Whether an answer ended before its end."""
    return stop in _REASONS


def response(id_: str, model: str, created_: int) -> dict[str, object]:
    """Return the fields that every answer has, as they are before anything has come."""
    return {
        "id": id_,
        "object": "response",
        "created_at": created_,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": False,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None,
    }


def ending(stop: Stop | None, output: list[dict[str, object]], *, said_why: bool) -> dict[str, object]:
    """Return the fields of an answer that has come. A refusal that the model put in words is a whole answer."""
    reason = "content_filter" if stop == "refusal" and not said_why else _REASONS.get(stop)
    if reason is None:
        return {"status": "completed", "output": output}
    return {"status": "incomplete", "incomplete_details": {"reason": reason}, "output": output}


def failure(message: str, usage: Usage | None) -> dict[str, object]:
    """Return the fields of an answer that failed."""
    return {
        "status": "failed",
        "error": {"code": "server_error", "message": message},
        "usage": None if usage is None else responses_usage(usage),
    }


def _words(part: WireContent) -> Part:
    return Declined(part.refusal) if part.refusal else Text(part.text or "")


def _items(answer: str, choice: Choice) -> list[dict[str, object]]:
    output: list[dict[str, object]] = []
    words: list[dict[str, object]] = []
    logprobs: Sequence[Logprob] | None = choice.logprobs
    for part in choice.parts:
        if isinstance(part, Text | Declined):
            words.append(_wire_words(part, logprobs))
            logprobs = None if isinstance(part, Text) else logprobs
            if len(words) == 1:
                output.append(items.message_item(items.message_id(answer, len(output)), words, "completed"))
            continue
        words = []
        if isinstance(part, ToolUse):
            item_id = items.call_id(answer, len(output), part.signature)
            output.append(items.call_item(item_id, part, "completed"))
        elif isinstance(part, Reasoning):
            for half in items.halves(part):
                item_id = items.thought_id(answer, len(output))
                output.append(items.reasoning_item(item_id, half.text, items.seal(half)))
        else:
            raise InvalidAnswer("it holds what Responses has no words for: a picture, a sound or a file")
    return output


def _wire_words(part: Text | Declined, logprobs: Sequence[Logprob] | None) -> dict[str, object]:
    if isinstance(part, Declined):
        return items.refusal(part.text)
    return items.output_text(part.text, write_logprobs(logprobs, []))
