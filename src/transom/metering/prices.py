"""What an answer cost: usage times price, in exact decimals, rounded once at the end."""

from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation, localcontext

from transom.values import Price, Usage

_MILLION = Decimal(1_000_000)
_STEP = Decimal("0.00000001")
"""Costs are kept to a hundred-millionth of the currency's unit: finer than any token's price today."""
_HIGHEST = Decimal(10) ** 12
_PLACES = 24
_EXACT = Context(prec=80, rounding=ROUND_HALF_UP)
"""Room for every digit of a sane count of tokens at a sane price, so that the only rounding is the last."""


def cost(usage: Usage | None, price: Price | None) -> str | None:
    """Return what `usage` costs at `price`, as decimal text; `None` where either is not known.

    Reasoning tokens are output tokens to the price; cached input has its own price or the input's.
    """
    if usage is None or price is None or usage.input is None or usage.output is None:
        return None
    cached_price = price.input if price.cached_input is None else price.cached_input
    with localcontext(_EXACT):
        total = (
            usage.input * Decimal(price.input)
            + (usage.cached_input or 0) * Decimal(cached_price)
            + (usage.output + (usage.reasoning or 0)) * Decimal(price.output)
        ) / _MILLION
        return format(total.quantize(_STEP).normalize(), "f")


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
