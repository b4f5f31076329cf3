"""`usageMetadata` and the disjoint classes of `values.Usage`.

Gemini's `promptTokenCount` holds the cached tokens, its `candidatesTokenCount` no thoughts. What Google's own tools
put into the prompt is counted apart (`toolUsePromptTokenCount`) and is input to us.
"""

import msgspec

from transom.values import Usage

_MOST_TOKENS = 10**12


class _Wire(msgspec.Struct, rename="camel"):
    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    total_token_count: int | None = None


_wires = msgspec.json.Decoder(_Wire | None)


def read_usage(raw: msgspec.Raw) -> Usage | None:
    """Read an answer's `usageMetadata`. What is not said stays `None`, but for what Gemini's own total proves."""
    try:
        wire = _wires.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if wire is None:
        return None
    prompt, cached = _sane(wire.prompt_token_count), _sane(wire.cached_content_token_count)
    tools, thoughts = _sane(wire.tool_use_prompt_token_count), _sane(wire.thoughts_token_count)
    output, total = _sane(wire.candidates_token_count), _sane(wire.total_token_count)
    if output is None and prompt is not None and total is not None:
        # Protocol buffers' JSON leaves zero out: where thoughts took all, the candidates are not counted.
        output = max(total - prompt - (tools or 0) - (thoughts or 0), 0)
    return Usage(
        input=None if prompt is None else max(prompt - (cached or 0), 0) + (tools or 0),
        cached_input=cached,
        output=output,
        reasoning=thoughts,
        source="upstream",
    )


def write_usage(usage: Usage) -> dict[str, int]:
    """Say usage in Gemini's words. What was written into a cache is part of the prompt there."""
    said: dict[str, int] = {}
    if usage.input is not None:
        said["promptTokenCount"] = usage.input + (usage.cached_input or 0) + (usage.cache_write or 0)
    if usage.cached_input is not None:
        said["cachedContentTokenCount"] = usage.cached_input
    if usage.output is not None:
        said["candidatesTokenCount"] = usage.output
    if usage.reasoning is not None:
        said["thoughtsTokenCount"] = usage.reasoning
    if usage.input is not None and usage.output is not None:
        said["totalTokenCount"] = said["promptTokenCount"] + usage.output + (usage.reasoning or 0)
    return said


def _sane(count: int | None) -> int | None:
    return count if count is not None and 0 <= count <= _MOST_TOKENS else None
