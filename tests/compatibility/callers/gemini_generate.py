"""Google's client."""

from typing import Any

from google import genai
from google.genai import errors, types
from tests.compatibility.callers.caller import Caller, Kind, Refused, known, lacks
from tests.support.formats.talk import PARAMETERS, SCHEMA, TOOL, Ask, Counts, Result, Said, Stop, Token, Turn, Use
from typing_extensions import override

_KINDS: dict[str, Kind] = {
    "INVALID_ARGUMENT": "invalid",
    "PERMISSION_DENIED": "forbidden",
    "NOT_FOUND": "missing",
    "RESOURCE_EXHAUSTED": "too many",
}
_STOPS: dict[str, Stop] = {"STOP": "end", "MAX_TOKENS": "length", "SAFETY": "filter"}


class Generate(Caller):
    """`client.models`."""

    NAME = "Gemini generateContent"
    DIALECT = "gemini-generate"
    NATIVE = "`cachedContent`"
    HINT = "`safetySettings`"

    def __init__(self, url: str, key: str) -> None:
        super().__init__(url, key)
        options = types.HttpOptions(
            base_url=url, httpx_client=self.wire.http, retry_options=types.HttpRetryOptions(attempts=1)
        )
        self._client = genai.Client(api_key=key, http_options=options)

    @override
    def ask(self, ask: Ask, model: str, *, stream: bool) -> Said:
        lacks(one_tool=ask.one_tool, user=ask.user)
        contents: Any = [content for turn in ask.turns for content in turn.raw or [_content(turn)]]
        try:
            if not stream:
                answer = self._client.models.generate_content(model=model, contents=contents, config=_config(ask))
                return _said([answer])
            return _said(
                [*self._client.models.generate_content_stream(model=model, contents=contents, config=_config(ask))]
            )
        except errors.APIError as error:
            raise Refused(_KINDS.get(error.status or "", "failed"), error.message or "") from error


def _config(ask: Ask) -> types.GenerateContentConfig:
    safety = types.SafetySetting(
        category=types.HarmCategory.HARM_CATEGORY_HATE_SPEECH, threshold=types.HarmBlockThreshold.BLOCK_NONE
    )
    thinking = types.ThinkingConfig(thinking_budget=24_576, include_thoughts=True)
    fields = known(
        system_instruction=ask.system,
        tools=[_tool()] if ask.tools else None,
        tool_config=_choice(ask),
        response_mime_type="application/json" if ask.schema or ask.json else None,
        response_json_schema=SCHEMA if ask.schema else None,
        thinking_config=thinking if ask.effort else None,
        response_logprobs=ask.logprobs > 0,
        logprobs=ask.logprobs,
        max_output_tokens=ask.max_tokens,
        temperature=ask.temperature,
        top_k=ask.top_k,
        stop_sequences=list(ask.stop),
        seed=ask.seed,
        frequency_penalty=ask.penalty,
        candidate_count=ask.choices if ask.choices > 1 else None,
        cached_content="cachedContents/1" if ask.native else None,
        safety_settings=[safety] if ask.hint else None,
    )
    return types.GenerateContentConfig(
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True), **fields
    )


def _tool() -> types.Tool:
    declared = types.FunctionDeclaration(name=TOOL, description="Tells the weather.", parameters_json_schema=PARAMETERS)
    return types.Tool(function_declarations=[declared])


def _choice(ask: Ask) -> types.ToolConfig | None:
    if ask.choice is None:
        return None
    names = [TOOL] if ask.choice == "named" else None
    mode = types.FunctionCallingConfigMode.ANY
    return types.ToolConfig(
        function_calling_config=types.FunctionCallingConfig(mode=mode, allowed_function_names=names)
    )


def _content(turn: Turn) -> types.Content:
    parts = [types.Part(text=turn.text)] if turn.text else []
    if turn.image:
        parts.append(types.Part.from_bytes(data=turn.image, mime_type="image/png"))
    if turn.image_url:
        parts.append(types.Part.from_uri(file_uri=turn.image_url, mime_type="image/png"))
    if turn.audio:
        parts.append(types.Part.from_bytes(data=turn.audio, mime_type="audio/wav"))
    if turn.document:
        parts.append(types.Part.from_bytes(data=turn.document, mime_type="application/pdf"))
    for use in turn.uses:
        call = types.FunctionCall(id=use.id, name=use.name, args=dict(use.arguments))
        parts.append(types.Part(function_call=call))
    parts += [types.Part(function_response=_response(result)) for result in turn.results]
    return types.Content(role="model" if turn.role == "model" else "user", parts=parts)


def _response(result: Result) -> types.FunctionResponse:
    pictures = (
        [types.FunctionResponsePart.from_bytes(data=result.image, mime_type="image/png")] if result.image else None
    )
    said = {"error" if result.failed else "output": result.text}
    return types.FunctionResponse(id=result.id, name=TOOL, response=said, parts=pictures)


def _said(pieces: list[types.GenerateContentResponse]) -> Said:
    """Put the pieces of an answer together, of which a plain one has one."""
    candidates = [candidate for piece in pieces for candidate in piece.candidates or ()]
    first = [candidate for candidate in candidates if not candidate.index]
    parts = _parts(first)
    usage = next(piece.usage_metadata for piece in reversed(pieces) if piece.usage_metadata is not None)
    calls = [part.function_call for part in parts if part.function_call is not None]
    reason = next(candidate.finish_reason for candidate in reversed(first) if candidate.finish_reason is not None)
    stop = _STOPS[reason.value]
    return Said(
        text=_text(parts),
        thought="".join(part.text or "" for part in parts if part.thought),
        uses=tuple(Use(call.id or "", call.args or {}, call.name or "") for call in calls),
        stop="tools" if calls and stop == "end" else stop,
        counts=Counts(
            usage.prompt_token_count or 0,
            usage.cached_content_token_count or 0,
            (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0),
            usage.thoughts_token_count or 0,
        ),
        logprobs=tuple(token for candidate in first for token in _tokens(candidate)),
        other=_text(_parts([candidate for candidate in candidates if candidate.index])),
        # As this client's own chats do, a stream is kept as one content for each piece.
        raw=[candidate.content for candidate in first if candidate.content],
    )


def _parts(candidates: list[types.Candidate]) -> list[types.Part]:
    return [part for candidate in candidates if candidate.content for part in candidate.content.parts or ()]


def _text(parts: list[types.Part]) -> str:
    return "".join(part.text or "" for part in parts if not part.thought)


def _tokens(candidate: types.Candidate) -> list[Token]:
    if candidate.logprobs_result is None:
        return []
    chosen = candidate.logprobs_result.chosen_candidates or []
    rivals = candidate.logprobs_result.top_candidates or []
    return [
        Token(
            each.token or "",
            each.log_probability or 0.0,
            tuple((rival.token or "", rival.log_probability or 0.0) for rival in top.candidates or ()),
        )
        for each, top in zip(chosen, rivals, strict=True)
    ]
