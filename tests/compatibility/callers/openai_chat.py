"""OpenAI's client, its Chat Completions."""

import base64
import json
from typing import Any

import openai
from tests.compatibility.callers.caller import Caller, Kind, known, lacks, raise_refused
from tests.support.formats.talk import PARAMETERS, SCHEMA, TOOL, Ask, Counts, Said, Stop, Token, Turn, Use
from typing_extensions import override

KINDS: dict[type[Exception], Kind] = {
    openai.BadRequestError: "invalid",
    openai.PermissionDeniedError: "forbidden",
    openai.NotFoundError: "missing",
    openai.RateLimitError: "too many",
    openai.APIError: "failed",
}
_STOPS: dict[str, Stop] = {"stop": "end", "length": "length", "tool_calls": "tools", "content_filter": "filter"}


def data_url(kind: str, data: bytes) -> str:
    """A file in the text of a URL (RFC 2397)."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


class Chat(Caller):
    """`client.chat.completions`."""

    NAME = "OpenAI Chat Completions"
    DIALECT = "openai-chat"
    NATIVE = "`logit_bias`"
    HINT = "`prompt_cache_key`"

    def __init__(self, url: str, key: str) -> None:
        super().__init__(url, key)
        self._client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=self.wire.http)

    @override
    def ask(self, ask: Ask, model: str, *, stream: bool) -> Said:
        fields = _request(ask) | {"model": model}
        try:
            if not stream:
                return _said(self._client.chat.completions.create(**fields))
            usage: Any = {"include_usage": True}
            with self._client.chat.completions.stream(**fields, stream_options=usage) as events:
                # Not the final one: this client raises where that was cut or withheld.
                return _said(events.until_done().current_completion_snapshot)
        except openai.APIError as error:
            raise_refused(error, KINDS, error.message)


def _request(ask: Ask) -> dict[str, Any]:
    function = {"name": TOOL, "description": "Tells the weather.", "parameters": PARAMETERS}
    schema = {"name": "answer", "schema": SCHEMA, "strict": True}
    form = {"type": "json_schema", "json_schema": schema} if ask.schema else None
    form = {"type": "json_object"} if ask.json else form
    choice = {"type": "function", "function": {"name": TOOL}} if ask.choice == "named" else ask.choice
    system = [{"role": "system", "content": ask.system}] if ask.system else []
    fields = known(
        max_tokens=ask.max_tokens,
        tools=[{"type": "function", "function": function}] if ask.tools else None,
        tool_choice=choice,
        response_format=form,
        reasoning_effort=ask.effort,
        logprobs=ask.logprobs > 0,
        top_logprobs=ask.logprobs,
        temperature=ask.temperature,
        stop=list(ask.stop),
        seed=ask.seed,
        frequency_penalty=ask.penalty,
        n=ask.choices if ask.choices > 1 else None,
        user=ask.user,
        logit_bias={"50256": -100} if ask.native else None,
        prompt_cache_key="k" if ask.hint else None,
        extra_body=known(top_k=ask.top_k),
    )
    fields["messages"] = [*system, *(message for turn in ask.turns for message in _messages(turn))]
    return fields | ({"parallel_tool_calls": False} if ask.one_tool else {})


def _messages(turn: Turn) -> list[dict[str, Any]]:
    if turn.raw is not None:
        return [turn.raw]
    if turn.role == "tools":
        lacks(failed=any(each.failed or each.image for each in turn.results))
        return [{"role": "tool", "tool_call_id": each.id, "content": each.text} for each in turn.results]
    if turn.role == "model":
        calls = [_call(use) for use in turn.uses]
        return [{"role": "assistant"} | known(content=turn.text, tool_calls=calls)]
    parts: list[dict[str, Any]] = [{"type": "text", "text": turn.text}]
    if turn.image:
        parts.append({"type": "image_url", "image_url": {"url": data_url("image/png", turn.image)}})
    if turn.image_url:
        parts.append({"type": "image_url", "image_url": {"url": turn.image_url}})
    if turn.audio:
        sound = {"data": base64.b64encode(turn.audio).decode(), "format": "wav"}
        parts.append({"type": "input_audio", "input_audio": sound})
    if turn.document:
        file = {"file_data": data_url("application/pdf", turn.document), "filename": "a.pdf"}
        parts.append({"type": "file", "file": file})
    return [{"role": "user", "content": parts if len(parts) > 1 else turn.text}]


def _call(use: Use) -> dict[str, Any]:
    return {"id": use.id, "type": "function", "function": {"name": use.name, "arguments": json.dumps(use.arguments)}}


def _said(answer: Any) -> Said:
    choice, *others = answer.choices
    message, usage = choice.message, answer.usage
    uses = [Use(call.id, json.loads(call.function.arguments), call.function.name) for call in message.tool_calls or ()]
    return Said(
        text=message.content or "",
        thought=getattr(message, "reasoning_content", None) or "",
        uses=tuple(uses),
        stop=_STOPS[choice.finish_reason],
        counts=Counts(
            usage.prompt_tokens,
            usage.prompt_tokens_details.cached_tokens,
            usage.completion_tokens,
            usage.completion_tokens_details.reasoning_tokens,
        ),
        logprobs=tokens(choice.logprobs.content if choice.logprobs else ()),
        other=others[0].message.content if others else "",
        raw=message.model_dump(exclude_none=True, exclude={"parsed"}),
    )


def tokens(found: Any) -> tuple[Token, ...]:
    """Probabilities, as both of OpenAI's APIs have them."""
    return tuple(
        Token(each.token, each.logprob, tuple((rival.token, rival.logprob) for rival in each.top_logprobs))
        for each in found or ()
    )
