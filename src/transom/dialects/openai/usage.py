"""Tokens as OpenAI's two APIs count them: their totals include cached, written and reasoning tokens; ours do not.

Usage that makes no sense is usage that was not said: it must not spoil the answer it came with.
"""

import msgspec

from transom.dialects.bodies import read_response
from transom.values import Usage

_MOST_TOKENS = 10**12


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Chat(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


class _Responses(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


_chat = msgspec.json.Decoder(_Chat | None)
_responses = msgspec.json.Decoder(_Responses | None)


def read_chat_usage(raw: msgspec.Raw) -> Usage | None:
    """Read the `usage` of Chat Completions into disjoint classes. What was not said stays `None`, never zero."""
    said = read_response(_chat, bytes(raw))
    if said is None:
        return None
    return _usage(
        said.prompt_tokens, said.prompt_tokens_details, said.completion_tokens, said.completion_tokens_details
    )


def read_responses_usage(raw: msgspec.Raw) -> Usage | None:
    """Read the `usage` of Responses into disjoint classes. What was not said stays `None`, never zero."""
    said = read_response(_responses, bytes(raw))
    if said is None:
        return None
    return _usage(said.input_tokens, said.input_tokens_details, said.output_tokens, said.output_tokens_details)


def chat_usage(usage: Usage) -> dict[str, object]:
    """Write `usage` for Chat Completions."""
    return _written(usage, "prompt_tokens", "completion_tokens")


def responses_usage(usage: Usage) -> dict[str, object]:
    """Write `usage` for Responses, whose clients count on numbers everywhere: 0 stands where nobody counted."""
    said = {name: count or 0 for name, count in msgspec.structs.asdict(usage).items() if name != "source"}
    return _written(msgspec.structs.replace(usage, **said), "input_tokens", "output_tokens")


def _usage(
    input_: int | None, input_details: _InputDetails | None, output: int | None, output_details: _OutputDetails | None
) -> Usage:
    cached = _sane(input_details.cached_tokens if input_details else None)
    written = _sane(input_details.cache_write_tokens if input_details else None)
    reasoning = _sane(output_details.reasoning_tokens if output_details else None)
    return Usage(
        input=_less(_sane(input_), cached, written),
        cached_input=cached,
        output=_less(_sane(output), reasoning),
        reasoning=reasoning,
        source="upstream",
        cache_write=written,
    )


def _written(usage: Usage, input_: str, output: str) -> dict[str, object]:
    """Rebuild the totals. A breakdown of which nothing is known is `null`, and so is a total that is not known."""
    prompt = _total(usage.input, usage.cached_input, usage.cache_write)
    completion = _total(usage.output, usage.reasoning)
    return {
        input_: prompt,
        output: completion,
        "total_tokens": None if prompt is None or completion is None else prompt + completion,
        f"{input_}_details": _known(cached_tokens=usage.cached_input, cache_write_tokens=usage.cache_write),
        f"{output}_details": _known(reasoning_tokens=usage.reasoning),
    }


def _known(**counts: int | None) -> dict[str, int] | None:
    return {name: count for name, count in counts.items() if count is not None} or None


def _total(rest: int | None, *parts: int | None) -> int | None:
    return None if rest is None else rest + sum(part or 0 for part in parts)


def _less(total: int | None, *parts: int | None) -> int | None:
    # An upstream that counts more in the parts than in the whole is wrong; the whole is what it bills.
    return None if total is None else max(total - sum(part or 0 for part in parts), 0)


def _sane(count: int | None) -> int | None:
    return count if count is not None and 0 <= count <= _MOST_TOKENS else None
