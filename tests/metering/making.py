"""Versions and callers for what counts them."""

from typing import Literal

from transom.values import (
    DOOR,
    Caller,
    CallerId,
    Price,
    Pseudonym,
    Target,
    UpstreamModel,
    Version,
    VersionName,
)


def version(
    *,
    model: str = "m",
    kind: Literal["chat", "embedding"] = "chat",
    upstreams: tuple[str, ...] = ("vendor",),
    prices: tuple[Price, ...] = (),
    max_input_tokens: int | None = None,
    max_output_tokens: int | None = None,
) -> Version:
    return Version(
        name=VersionName(f"{model}@1"),
        model=model,
        version="1",
        kind=kind,
        rung="api",
        openness="unknown",
        licence=None,
        producer=None,
        description=None,
        route=tuple(Target(each, UpstreamModel(model)) for each in upstreams),
        prices=prices,
        max_input_tokens=max_input_tokens,
        max_output_tokens=max_output_tokens,
        digest=DOOR.digest,
        resource=DOOR,
    )


def caller(id_: str, *groups: str) -> Caller:
    return Caller(CallerId(id_), f"name of {id_}", groups, Pseudonym("p"))
