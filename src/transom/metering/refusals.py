"""What a caller is told whose call does not fit into a limit."""

from typing import Final

from transom.errors import TooMany
from transom.metering.accounts import CALLS, Shortage
from transom.metering.money import in_words

_SHORTLY: Final = 2
"""Seconds after which calls under way may have given back what they hold."""


def used_up(shortage: Shortage, now: int) -> TooMany:
    """Say which limit is used up, by what, and when to come again. `now` in milliseconds since the Unix epoch."""
    hold = shortage.hold
    limit = hold.limit
    if limit.kind == CALLS:
        return TooMany(
            f"The limit {limit.name!r} is used up: {limit.words}; {shortage.held} are under way. Try again shortly.",
            code="too_many_concurrent",
            retry_after=_SHORTLY,
        )
    said = (
        f"The budget {limit.name!r} does not have what this call may cost: {limit.words}; {in_words(shortage.spent)} "
        f"is spent, {in_words(shortage.held)} is held by calls under way, and this one may cost up to "
        f"{in_words(hold.amount)} {limit.kind}."
    )
    if shortage.spent + hold.amount <= limit.ceiling:
        return TooMany(f"{said} Try again shortly.", code="budget_exhausted", retry_after=_SHORTLY)
    if hold.amount > limit.ceiling or hold.ends is None:
        return TooMany(f"{said} Ask for less (a smaller `max_tokens`), or ask an operator.", code="budget_exhausted")
    seconds = max(1, -(-(hold.ends - now) // 1000))
    return TooMany(
        f"{said} Ask for less (a smaller `max_tokens`), or come again in {seconds} s, when it is renewed.",
        code="budget_exhausted",
        retry_after=seconds,
    )
