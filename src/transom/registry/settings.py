"""`[models.NAME]` of `transom.toml`: what an operator declares of a model version."""

from typing import Annotated, Literal

import msgspec

from transom.values import Price, Rung


class RouteTarget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One upstream of a route, where it knows the model by another name."""

    upstream: str
    model: str


class ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model version. The table's name is `NAME` or `NAME@VERSION`.

    `route`: upstreams in order; the next is tried where one cannot be reached. `weights`: how they can be had; left
    out, the model's openness is unknown, which is neither open nor closed. `in_service`: which version a caller gets
    who names none; needed where a model has several.
    """

    route: tuple[str | RouteTarget, ...]
    kind: Literal["chat", "embedding"] = "chat"
    rung: Rung = "api"
    weights: Literal["none", "restricted", "open"] | None = None
    licence: str | None = None
    producer: str | None = None
    description: str | None = None
    price: Price | tuple[Price, ...] = ()
    max_input_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    in_service: bool = False
