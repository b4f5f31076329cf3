"""Money as whole numbers: hundred-millionths of a currency's unit, finer than any token's price today."""

from decimal import Context, Decimal, InvalidOperation
from math import ceil
from typing import Final

PLACES: Final = 8
UNIT: Final = 10**PLACES
MOST: Final = 10**10
"""The largest budget, in units of its currency."""
_EXACT = Context(prec=80)


def amount_problem(text: str) -> str | None:
    """Return what is wrong with a declared amount of money, or `None`."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return f'{text!r} is not a decimal number. Write it as text: "10.00".'
    if not amount.is_finite() or not 0 < amount <= MOST:
        return f"{text!r} is no amount; it is more than 0, and at most {MOST}."
    if amount.scaleb(PLACES, _EXACT) % 1:
        return f"{text!r} has more than {PLACES} decimal places."
    return None


def parts(text: str) -> int:
    """Give decimal text in parts. What is finer than a part counts as a whole one."""
    return ceil(Decimal(text).scaleb(PLACES, _EXACT))


def in_words(amount: int) -> str:
    """Write parts as plain decimal text, with at least two places."""
    units, places = divmod(amount, UNIT)
    text = f"{places:0{PLACES}d}".rstrip("0")
    return f"{units}.{text:0<2}"
