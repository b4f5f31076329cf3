"""`[models.NAME]` of `transom.toml`: what an operator declares of a model version."""

from typing import Annotated, Literal

import msgspec

from transom.registry.routing import CacheSettings, Choose, HedgeSettings, RetrySettings, Sticky
from transom.values import Price, Rung


class RouteTarget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One upstream of a route, with more to say than its name.

    `model`: its own name of the model, where that is another. `weight`: its share, where the route is chosen by
    weights. `priority`: those of a lower number are asked first.
    """

    upstream: str
    model: str | None = None
    weight: Annotated[float, msgspec.Meta(gt=0)] | None = None
    priority: int = 0


class ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model version. The table's name is `NAME` or `NAME@VERSION`.

    `route`: upstreams in order; the next is tried where one cannot be reached. `choose`, `sticky`: which is asked
    first of those that have the same priority; for the same caller, or the same user of theirs, always the same.
    `retry`: when one is asked again. `fallback`: other models, asked in this order where none of the route answers.
    `hedge`: when a second one is asked besides. `cache`: how long answers are kept for the same request.

    `weights`: how they can be had; left out, the model's openness is unknown, which is neither open nor closed.
    `hidden_reasoning`: whether it may be billed for output that nobody sees.
    `in_service`: which version a caller gets who names none; needed where a model has several.
    """

    route: tuple[str | RouteTarget, ...]
    choose: Choose = "order"
    sticky: Sticky | None = None
    retry: RetrySettings | None = None
    fallback: tuple[str, ...] = ()
    hedge: HedgeSettings | None = None
    cache: CacheSettings | None = None
    kind: Literal["chat", "embedding"] = "chat"
    rung: Rung = "api"
    weights: Literal["none", "restricted", "open"] | None = None
    licence: str | None = None
    producer: str | None = None
    description: str | None = None
    price: Price | tuple[Price, ...] = ()
    max_input_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    hidden_reasoning: bool = True
    in_service: bool = False
