"""OpenAI's client, its Responses."""

import json
from typing import Any

import openai
from tests.compatibility.callers.caller import Caller, Refused, known, lacks, raise_refused
from tests.compatibility.callers.openai_chat import KINDS, data_url, tokens
from tests.support.formats.talk import PARAMETERS, SCHEMA, TOOL, Ask, Counts, Result, Said, Stop, Turn, Use
from typing_extensions import override

_CUT: dict[str, Stop] = {"max_output_tokens": "length", "content_filter": "filter"}


class Responses(Caller):
    """`client.responses`."""

    NAME = "OpenAI Responses"
    DIALECT = "openai-responses"
    NATIVE = '`truncation: "auto"`'
    HINT = "`prompt_cache_key`"

    def __init__(self, url: str, key: str) -> None:
        super().__init__(url, key)
        self._client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=self.wire.http)

    @override
    def ask(self, ask: Ask, model: str, *, stream: bool) -> Said:
        lacks(seed=ask.seed, top_k=ask.top_k, stop=ask.stop, penalty=ask.penalty, choices=ask.choices > 1)
        fields = _request(ask) | {"model": model, "store": False}
        try:
            if not stream:
                return _said(self._client.responses.create(**fields))
            return self._streamed(fields)
        except openai.APIError as error:
            raise_refused(error, KINDS, error.message)

    def _streamed(self, fields: dict[str, Any]) -> Said:
        words = ""
        events = self._client.responses.create(**fields, stream=True)
        for event in events:
            if event.type == "response.output_text.delta":
                words += event.delta
            elif event.type == "response.failed":
                raise Refused("failed", event.response.error.message)
            elif event.type == "error":
                raise Refused("failed", event.message)
        assert event.type in ("response.completed", "response.incomplete"), event
        assert words == event.response.output_text
        return _said(event.response)


def _request(ask: Ask) -> dict[str, Any]:
    tool = {"type": "function", "name": TOOL, "description": "Tells the weather.", "parameters": PARAMETERS}
    form = {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}
    include = ["message.output_text.logprobs"] * (ask.logprobs > 0) + ["reasoning.encrypted_content"] * bool(ask.effort)
    fields = known(
        instructions=ask.system,
        max_output_tokens=ask.max_tokens,
        tools=[tool | {"strict": False}] if ask.tools else None,
        tool_choice={"type": "function", "name": TOOL} if ask.choice == "named" else ask.choice,
        text={"format": form} if ask.schema else {"format": {"type": "json_object"}} if ask.json else None,
        reasoning={"effort": ask.effort, "summary": "auto"} if ask.effort else None,
        include=include,
        top_logprobs=ask.logprobs,
        temperature=ask.temperature,
        user=ask.user,
        truncation="auto" if ask.native else None,
        prompt_cache_key="k" if ask.hint else None,
    )
    first, *rest = items = [item for turn in ask.turns for item in _items(turn)]
    fields["input"] = items if rest or not isinstance(first["content"], str) else first["content"]
    return fields | ({"parallel_tool_calls": False} if ask.one_tool else {})


def _items(turn: Turn) -> list[dict[str, Any]]:
    if turn.raw is not None:
        return list(turn.raw)
    if turn.role == "tools":
        return [_result(each) for each in turn.results]
    if turn.role == "model":
        words = [{"role": "assistant", "content": turn.text}] if turn.text else []
        return [*words, *map(_call, turn.uses)]
    lacks(audio=turn.audio)
    parts: list[dict[str, Any]] = [{"type": "input_text", "text": turn.text}]
    if turn.image:
        parts.append({"type": "input_image", "image_url": data_url("image/png", turn.image), "detail": "auto"})
    if turn.image_url:
        parts.append({"type": "input_image", "image_url": turn.image_url, "detail": "auto"})
    if turn.document:
        url = data_url("application/pdf", turn.document)
        parts.append({"type": "input_file", "file_data": url, "filename": "a.pdf"})
    return [{"role": "user", "content": parts if len(parts) > 1 else turn.text}]


def _result(result: Result) -> dict[str, Any]:
    lacks(failed=result.failed)
    output: Any = result.text
    if result.image:
        picture = {"type": "input_image", "image_url": data_url("image/png", result.image), "detail": "auto"}
        output = [{"type": "input_text", "text": result.text}, picture]
    return {"type": "function_call_output", "call_id": result.id, "output": output}


def _call(use: Use) -> dict[str, Any]:
    return {"type": "function_call", "call_id": use.id, "name": use.name, "arguments": json.dumps(use.arguments)}


def _said(answer: Any) -> Said:
    usage = answer.usage
    calls = [item for item in answer.output if item.type == "function_call"]
    cut = answer.incomplete_details.reason if answer.incomplete_details else None
    texts = [part for item in answer.output if item.type == "message" for part in item.content]
    return Said(
        text=answer.output_text,
        thought="".join(each.text for item in answer.output if item.type == "reasoning" for each in item.summary),
        uses=tuple(Use(call.call_id, json.loads(call.arguments), call.name) for call in calls),
        stop=_CUT[cut] if cut else "tools" if calls else "end",
        counts=Counts(
            usage.input_tokens,
            usage.input_tokens_details.cached_tokens,
            usage.output_tokens,
            usage.output_tokens_details.reasoning_tokens,
        ),
        logprobs=tokens(texts[0].logprobs if texts else ()),
        raw=[item.model_dump(exclude_none=True) for item in answer.output],
    )
