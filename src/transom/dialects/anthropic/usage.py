"""How Anthropic counts: `input_tokens` leaves out what caches served or took, `output_tokens` includes thinking."""

import msgspec

from transom.values import Usage

_MOST_TOKENS = 10**12


class _Details(msgspec.Struct):
    thinking_tokens: int | None = None


class WireUsage(msgspec.Struct):
    """The `usage` object of an answer, and of the events that begin and end a stream."""

    input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens: int | None = None
    output_tokens_details: _Details | None = None


_decoder: msgspec.json.Decoder[WireUsage | None] = msgspec.json.Decoder(WireUsage | None)


def read_wire(raw: msgspec.Raw) -> WireUsage | None:
    """Read a `usage` object. What makes no sense was not said: it must not spoil the answer it came with."""
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def later(first: WireUsage | None, last: WireUsage | None) -> WireUsage | None:
    """Return what is known once `last` was said too. Counts of a stream are totals so far: the last of each holds."""
    if first is None or last is None:
        return last or first
    said = {name: value for name, value in msgspec.structs.asdict(last).items() if value is not None}
    return msgspec.structs.replace(first, **said)


def read_usage(wire: WireUsage | None) -> Usage | None:
    """Return the counts in disjoint classes. What the upstream did not say stays `None`, never zero."""
    if wire is None:
        return None
    thinking = _sane(wire.output_tokens_details.thinking_tokens if wire.output_tokens_details else None)
    output = _sane(wire.output_tokens)
    if output is not None and thinking is not None:
        output = max(output - thinking, 0)
    return Usage(
        input=_sane(wire.input_tokens),
        cached_input=_sane(wire.cache_read_input_tokens),
        output=output,
        reasoning=thinking,
        source="upstream",
        cache_write=_sane(wire.cache_creation_input_tokens),
    )


def write_usage(usage: Usage | None) -> dict[str, object]:
    """Return the `usage` object.

    Anthropic's clients count on `input_tokens` and `output_tokens` being numbers: 0 stands there where nobody counted.
    """
    wire: dict[str, object] = {"input_tokens": 0, "output_tokens": 0}
    if usage is None:
        return wire
    wire["input_tokens"] = usage.input or 0
    wire["output_tokens"] = (usage.output or 0) + (usage.reasoning or 0)
    if usage.cached_input is not None:
        wire["cache_read_input_tokens"] = usage.cached_input
    if usage.cache_write is not None:
        wire["cache_creation_input_tokens"] = usage.cache_write
    if usage.reasoning is not None:
        wire["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return wire


def _sane(count: int | None) -> int | None:
    return count if count is not None and 0 <= count <= _MOST_TOKENS else None
