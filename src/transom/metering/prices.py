"""What an answer cost: usage times price, in whole numbers of tiny parts, rounded once at the end."""

from decimal import Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Final

from transom.values import Price, Usage

_COST_PLACES: Final = 8
"""Costs are kept to a hundred-millionth of the currency's unit: finer than any token's price today."""
_HIGHEST = Decimal(10) ** 12
_PLACES: Final = 24
_STEP: Final = 10 ** (_PLACES + 6 - _COST_PLACES)
"""The last place of a cost, in parts: prices are for a million tokens."""
_UNIT: Final = 10**_COST_PLACES


def cost(usage: Usage | None, price: Price | None) -> str | None:
    """Return what `usage` costs at `price`, as decimal text; `None` where either is not known.

    Reasoning tokens are output tokens to the price; cached input has its own price or the input's.
    """
    if usage is None or price is None or usage.input is None or usage.output is None:
        return None
    cached_price = price.input if price.cached_input is None else price.cached_input
    total = (
        usage.input * _parts(price.input)
        + (usage.cached_input or 0) * _parts(cached_price)
        + (usage.output + (usage.reasoning or 0)) * _parts(price.output)
    )
    units, places = divmod((total + _STEP // 2) // _STEP, _UNIT)  # a half goes up
    return f"{units}.{places:0{_COST_PLACES}d}".rstrip("0").rstrip(".")


@lru_cache(maxsize=1024)
def _parts(price: str) -> int:
    """Give a price as a whole number: every digit that `price_problem` lets it have counts."""
    return int(Decimal(price).scaleb(_PLACES, Context(prec=80)))


def price_problem(price: Price) -> str | None:
    """Return what is wrong with a declared price, or `None`."""
    for field in ("input", "output", "cached_input"):
        text = getattr(price, field)
        if text is None:
            continue
        try:
            amount = Decimal(text)
        except InvalidOperation:
            return f'`{field}` is {text!r}, not a decimal number. Write it as text: "0.25".'
        if not amount.is_finite() or amount < 0:
            return f"`{field}` is {text!r}; a price is a number of at least 0."
        exponent = amount.as_tuple().exponent
        if amount > _HIGHEST or not isinstance(exponent, int) or exponent < -_PLACES:
            return f"`{field}` is {text!r}; a price is at most {_HIGHEST:f}, with at most {_PLACES} decimal places."
    return None
