"""How a version's route is gone along: what a file may say of it, and the same made ready for requests."""

from typing import Annotated, Literal, TypeAlias

import msgspec

from transom.values import Target, VersionName

Choose: TypeAlias = Literal["order", "weighted", "least-loaded", "fastest"]
"""Which of the targets of one priority is asked first."""
Sticky: TypeAlias = Literal["caller", "user"]
"""Whose requests go to the same target as long as it is well."""
Fault: TypeAlias = Literal["connect", "busy", "reset", "timeout", "garbage", "429", "5xx"]
"""What can come of a try that brought no answer, as `retry.on` names it."""
CacheScope: TypeAlias = Literal["caller", "group", "all"]
"""Who may be given an answer that was made for another: nobody, those of exactly the same groups, everybody."""
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class RetrySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`retry`: when a target that gave no answer is asked once more."""

    attempts: Annotated[int, msgspec.Meta(ge=2, le=20)] = 2
    """How often one target is asked by one request, at most."""
    on: Annotated[tuple[Fault, ...], msgspec.Meta(min_length=1)] = ("connect", "busy", "429", "5xx")
    """After a `reset` or a `timeout` (408, 502, 504 too) nobody knows whether the upstream worked, and bills for it."""
    base_seconds: Seconds = 0.25
    cap_seconds: Seconds = 8.0
    """The wait before try n is drawn from 0 to min(cap, base * 2^n): exponential backoff with full jitter."""
    budget_seconds: Seconds = 30.0
    """No try begins later than this after the first, whatever a `Retry-After` wishes."""


class HedgeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`hedge`: a second target is asked where the first has not begun to answer. Both may bill for it."""

    after_seconds: Seconds


class CacheSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`cache`: plain answers are kept and given again to exactly the same request."""

    seconds: Seconds
    scope: CacheScope = "caller"
    entries: Annotated[int, msgspec.Meta(ge=1)] = 1000
    max_bytes: Annotated[int, msgspec.Meta(ge=1)] = 64 * 1024 * 1024
    """Of all answers that are kept of the model."""


class Step(msgspec.Struct, frozen=True):
    """One entry of a route."""

    target: Target
    weight: float = 1.0
    priority: int = 0
    region: str = ""
    """Of its upstream, as policies see it; empty where its settings name none."""


class Routing(msgspec.Struct, frozen=True):
    """How one version's route is gone along. `steps` stand by priority, and within one as they were declared."""

    steps: tuple[Step, ...]
    choose: Choose = "order"
    sticky: Sticky | None = None
    retry: RetrySettings | None = None
    hedge: HedgeSettings | None = None
    fallback: tuple[VersionName, ...] = ()
    """Versions of other models, asked in this order where the route gives out."""

    @property
    def straight(self) -> bool:
        """Whether there is one target and nothing else to try: most routes."""
        return len(self.steps) == 1 and self.retry is None and self.hedge is None and not self.fallback

    @property
    def fixed(self) -> bool:
        """Whether every request goes along it in the same order."""
        return self.choose == "order" and self.sticky is None
