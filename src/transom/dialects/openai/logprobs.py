"""Probabilities of tokens as OpenAI writes them. Its `bytes` are not carried: what they decode to is `token`."""

from collections.abc import Sequence

import msgspec

from transom.dialects.middle import Logprob


class WireTop(msgspec.Struct):
    """One of the likeliest tokens at a place."""

    token: str
    logprob: float


class WireLogprob(msgspec.Struct):
    """One token of the answer."""

    token: str
    logprob: float
    top_logprobs: list[WireTop] | None = None


def read_logprobs(wire: Sequence[WireLogprob] | None) -> tuple[Logprob, ...] | None:
    """Return what was said of tokens; `None` where nothing was: an empty list is how some say that."""
    if not wire:
        return None
    return tuple(
        Logprob(each.token, each.logprob, tuple(Logprob(top.token, top.logprob) for top in each.top_logprobs or ()))
        for each in wire
    )


def write_logprobs(logprobs: Sequence[Logprob] | None, no_bytes: list[int] | None) -> list[dict[str, object]]:
    """Return tokens for an answer. `no_bytes` is what this API says where a token's bytes are not known."""
    return [
        {
            "token": each.token,
            "logprob": each.logprob,
            "bytes": no_bytes,
            "top_logprobs": [{"token": top.token, "logprob": top.logprob, "bytes": no_bytes} for top in each.top],
        }
        for each in logprobs or ()
    ]
