"""Anthropic's client."""

import base64
from typing import Any

import anthropic
from tests.compatibility.callers.caller import Caller, Kind, known, lacks, raise_refused
from tests.support.formats.talk import PARAMETERS, SCHEMA, TOOL, Ask, Counts, Result, Said, Stop, Turn, Use
from typing_extensions import override

_KINDS: dict[type[Exception], Kind] = {
    anthropic.BadRequestError: "invalid",
    anthropic.PermissionDeniedError: "forbidden",
    anthropic.NotFoundError: "missing",
    anthropic.RateLimitError: "too many",
    anthropic.APIError: "failed",
}
_STOPS: dict[str, Stop] = {"end_turn": "end", "max_tokens": "length", "tool_use": "tools", "refusal": "filter"}


class Messages(Caller):
    """`client.messages`."""

    NAME = "Anthropic Messages"
    DIALECT = "anthropic-messages"
    NATIVE = "`container`"
    HINT = "`cache_control`"

    def __init__(self, url: str, key: str) -> None:
        super().__init__(url, key)
        self._client = anthropic.Anthropic(base_url=url, api_key=key, max_retries=0, http_client=self.wire.http)

    @override
    def ask(self, ask: Ask, model: str, *, stream: bool) -> Said:
        lacks(seed=ask.seed, penalty=ask.penalty, choices=ask.choices > 1, logprobs=ask.logprobs, json=ask.json)
        fields = _request(ask) | {"model": model}
        try:
            if not stream:
                return _said(self._client.messages.create(**fields))
            with self._client.messages.stream(**fields) as events:
                return _said(events.get_final_message())
        except anthropic.APIError as error:
            raise_refused(error, _KINDS, error.message)


def _request(ask: Ask) -> dict[str, Any]:
    return known(
        max_tokens=ask.max_tokens,
        system=ask.system,
        messages=[_message(turn) for turn in ask.turns],
        tools=[{"name": TOOL, "description": "Tells the weather.", "input_schema": PARAMETERS}] if ask.tools else None,
        tool_choice=_choice(ask),
        thinking={"type": "enabled", "budget_tokens": 24_576} if ask.effort == "high" else None,
        output_config={"format": {"type": "json_schema", "schema": SCHEMA}} if ask.schema else None,
        stop_sequences=list(ask.stop),
        metadata={"user_id": ask.user} if ask.user else None,
        container="container_1" if ask.native else None,
        cache_control={"type": "ephemeral"} if ask.hint else None,
        # The client has no words any more for what its vendor's newer models refuse.
        extra_body=known(temperature=ask.temperature, top_k=ask.top_k),
    )


def _choice(ask: Ask) -> dict[str, Any] | None:
    if ask.one_tool:
        return {"type": "auto", "disable_parallel_tool_use": True}
    return {None: None, "required": {"type": "any"}, "named": {"type": "tool", "name": TOOL}}[ask.choice]


def _message(turn: Turn) -> dict[str, Any]:
    if turn.raw is not None:
        return {"role": "assistant", "content": turn.raw}
    if turn.role == "tools":
        return {"role": "user", "content": [_result(each) for each in turn.results]}
    lacks(audio=turn.audio)
    blocks: list[dict[str, Any]] = [{"type": "text", "text": turn.text}] if turn.text else []
    if turn.image:
        blocks.append({"type": "image", "source": _source("image/png", turn.image)})
    if turn.image_url:
        blocks.append({"type": "image", "source": {"type": "url", "url": turn.image_url}})
    if turn.document:
        blocks.append({"type": "document", "source": _source("application/pdf", turn.document)})
    blocks += [{"type": "tool_use", "id": use.id, "name": use.name, "input": use.arguments} for use in turn.uses]
    plain = turn.text if len(blocks) == 1 and turn.text else blocks
    return {"role": "assistant" if turn.role == "model" else "user", "content": plain}


def _result(result: Result) -> dict[str, Any]:
    content: Any = result.text
    if result.image:
        picture = {"type": "image", "source": _source("image/png", result.image)}
        content = [{"type": "text", "text": result.text}, picture]
    failed = {"is_error": True} if result.failed else {}
    return {"type": "tool_result", "tool_use_id": result.id, "content": content} | failed


def _source(kind: str, data: bytes) -> dict[str, Any]:
    return {"type": "base64", "media_type": kind, "data": base64.b64encode(data).decode()}


def _said(answer: Any) -> Said:
    blocks, usage = answer.content, answer.usage
    cached, written = usage.cache_read_input_tokens, usage.cache_creation_input_tokens or 0
    return Said(
        text="".join(block.text for block in blocks if block.type == "text"),
        thought="".join(block.thinking for block in blocks if block.type == "thinking"),
        uses=tuple(Use(block.id, block.input, block.name) for block in blocks if block.type == "tool_use"),
        stop=_STOPS[answer.stop_reason],
        counts=Counts(
            usage.input_tokens + cached + written,
            cached,
            usage.output_tokens,
            usage.output_tokens_details.thinking_tokens,
        ),
        raw=[block.model_dump(exclude_none=True, exclude={"parsed_output"}) for block in blocks],
    )
