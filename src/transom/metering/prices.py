"""What an answer cost: usage times price, in whole numbers of tiny parts, rounded once at the end."""

from datetime import date
from decimal import Context, Decimal, InvalidOperation
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Final

from transom.metering.money import PLACES as _COST_PLACES
from transom.metering.money import UNIT as _UNIT
from transom.values import Price, Tier, Usage

_HIGHEST = Decimal(10) ** 12
_PLACES: Final = 24
_STEP: Final[int] = 10 ** (_PLACES + 6 - _COST_PLACES)
"""The last place of a cost, in parts: prices are for a million tokens."""
_AMOUNTS = (
    "input",
    "output",
    "cached_input",
    "cache_write",
    "reasoning",
    "per_request",
    "per_second",
    "gpu_hour",
    "utilisation",
)


def cost(usage: Usage | None, price: Price | None, seconds: float | None = None) -> str | None:
    """Return what a call costs at `price`, as decimal text; `None` where what is priced is not known.

    `seconds`: how long the upstream worked on it.
    """
    amount = None if price is None else cost_parts(usage, price, seconds)
    if amount is None:
        return None
    units, places = divmod(amount, _UNIT)
    return f"{units}.{places:0{_COST_PLACES}d}".rstrip("0").rstrip(".")


def cost_parts(usage: Usage | None, price: Price, seconds: float | None = None) -> int | None:
    """Return what a call costs, in `metering.money`'s parts; `None` where what is priced is not known."""
    total = 0
    if price.input is not None:
        if usage is None or usage.input is None or usage.output is None:
            return None
        total = sum(by_class(usage, price).values())
    if price.per_request is not None:
        total += _parts(price.per_request) * 10**6
    if price.per_second is None and price.gpu_hour is None:
        return (total + _STEP // 2) // _STEP  # a half goes up
    if seconds is None:
        return None
    exact = Fraction(total, _STEP) + _per_second(price) * _UNIT * round(seconds * 1000) / 1000
    return int(exact + Fraction(1, 2))


def by_class(usage: Usage, price: Price) -> dict[str, int]:
    """Return what each class of tokens costs, in parts of a cost's last place; their sum is what all tokens cost.

    The classes are disjoint, so that no token is paid twice. What was not counted costs nothing.
    """
    rates = _rates(usage, price)
    input_, output = rates.input or "0", rates.output or "0"
    return {
        "input": (usage.input or 0) * _parts(input_),
        "cached_input": (usage.cached_input or 0) * _parts(_or(rates.cached_input, input_)),
        "cache_write": (usage.cache_write or 0) * _parts(_or(rates.cache_write, input_)),
        "output": (usage.output or 0) * _parts(output),
        "reasoning": (usage.reasoning or 0) * _parts(_or(rates.reasoning, output)),
    }


def most(price: Price, input_: int, output: int, seconds: float) -> int:
    """Return what a call costs at most, in `metering.money`'s parts, that has at most so many tokens and seconds."""
    sheets: tuple[Price | Tier, ...] = (price, *price.tiers)
    dearest = Price(
        price.currency,
        input=_dearest(sheets, "input", "cached_input", "cache_write"),
        output=_dearest(sheets, "output", "reasoning"),
        per_request=price.per_request,
        per_second=price.per_second,
        gpu_hour=price.gpu_hour,
        gpus=price.gpus,
        utilisation=price.utilisation,
    )
    amount = cost_parts(Usage(input_, None, output, None, "estimate"), dearest, seconds)
    assert amount is not None
    return amount + 1  # for the half that was rounded down


def in_force(prices: tuple[Price, ...], today: str) -> Price | None:
    """Return the newest price that counts on the day `today`; `prices` by their days, oldest first."""
    found = None
    for price in prices:
        if price.effective_at is None or price.effective_at <= today:
            found = price
    return found


def _dearest(sheets: tuple[Price | Tier, ...], *fields: str) -> str | None:
    found = [amount for sheet in sheets for field in fields if (amount := getattr(sheet, field)) is not None]
    return max(found, key=_parts, default=None)


def _rates(usage: Usage, price: Price) -> Price | Tier:
    if not price.tiers:
        return price
    said = (usage.input or 0) + (usage.cached_input or 0) + (usage.cache_write or 0)
    return next((tier for tier in reversed(price.tiers) if said > tier.above), price)


def _or(amount: str | None, otherwise: str) -> str:
    return otherwise if amount is None else amount


def _per_second(price: Price) -> Fraction:
    per_second = Fraction(price.per_second or 0)
    if price.gpu_hour is not None:
        per_second += Fraction(price.gpu_hour) * price.gpus / 3600 / Fraction(price.utilisation)
    return per_second


@lru_cache(maxsize=4096)
def _parts(price: str) -> int:
    """Give a price as a whole number: every digit that `price_problem` lets it have counts."""
    return int(Decimal(price).scaleb(_PLACES, Context(prec=80)))


def price_problem(price: Price) -> str | None:
    """Return what is wrong with a declared price, or `None`."""
    sheets: tuple[Price | Tier, ...] = (price, *price.tiers)
    for sheet in sheets:
        for field in _AMOUNTS:
            problem = _amount_problem(field, getattr(sheet, field, None))
            if problem is not None:
                return problem
    if price.input is None and (price.per_request, price.per_second, price.gpu_hour) == (None, None, None):
        return "It says no price. Give `input` and `output`, or `per_request`, `per_second` or `gpu_hour`."
    return _shape_problem(price)


def _shape_problem(price: Price) -> str | None:
    if (price.input is None) != (price.output is None):
        return '`input` and `output` go together. Give both (an embedding\'s output is free: "0").'
    if price.input is None and (price.tiers or (price.cached_input, price.cache_write, price.reasoning) != (None,) * 3):
        return "`cached_input`, `cache_write`, `reasoning` and `tiers` refine `input` and `output`. Give these too."
    if any(one.above >= two.above for one, two in pairwise(price.tiers)):
        return "`tiers` must be in order of `above`, smallest first."
    if price.gpus < 1 or not Decimal(price.utilisation):
        return "`gpus` is at least 1, and `utilisation` more than 0."
    if price.effective_at is not None:
        try:
            well = date.fromisoformat(price.effective_at).isoformat() == price.effective_at
        except ValueError:
            well = False
        if not well:
            return f'`effective_at` is {price.effective_at!r}, not a day. Write it as "2026-11-24".'
    return None


def prices_problem(prices: tuple[Price, ...]) -> str | None:
    """Return what is wrong with the prices of one model, of which the newest counts, or `None`."""
    for price in prices:
        problem = price_problem(price)
        if problem is not None:
            return problem
    if len({price.currency for price in prices}) > 1:
        return "Prices of one model are in one currency."
    if any((one.effective_at or "") >= (two.effective_at or "") for one, two in pairwise(prices)):
        return (
            "Several prices need days from which they count (`effective_at`), oldest first; only the first may lack it."
        )
    return None


def _amount_problem(field: str, text: str | None) -> str | None:
    if text is None:
        return None
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
