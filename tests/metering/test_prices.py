from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.metering.prices import cost, price_problem
from transom.values import Price, Usage

COUNTS = st.integers(0, 10**12)
PRICES = st.decimals(0, 10**12, allow_nan=False, allow_infinity=False, places=24).map(
    lambda price: format(price, "f")
) | (st.decimals(0, 100, places=6).map(str))
STEP = Fraction(1, 10**8)


@given(
    st.builds(Usage, COUNTS, st.none() | COUNTS, COUNTS, st.none() | COUNTS, st.just("upstream")),
    st.builds(Price, st.just("EUR"), PRICES, PRICES, st.none() | PRICES),
)
def test_a_cost_is_exact_and_rounded_once(usage: Usage, price: Price) -> None:
    assert price_problem(price) is None
    amount = cost(usage, price)
    assert amount is not None
    cached = price.input if price.cached_input is None else price.cached_input
    exact = (
        Fraction(usage.input or 0) * Fraction(price.input)
        + Fraction(usage.cached_input or 0) * Fraction(cached)
        + Fraction((usage.output or 0) + (usage.reasoning or 0)) * Fraction(price.output)
    ) / 10**6
    assert abs(Fraction(amount) - exact) * 2 <= STEP
    assert (Fraction(amount) / STEP).denominator == 1
    assert "e" not in amount.lower()
    assert Decimal(amount) >= 0
    assert not ("." in amount and amount.endswith("0"))


@given(st.none() | COUNTS, st.none() | COUNTS)
def test_what_was_not_counted_has_no_cost(input_: int | None, output: int | None) -> None:
    amount = cost(Usage(input_, None, output, None, "upstream"), Price("EUR", "1", "1"))
    assert (amount is None) == (input_ is None or output is None)
    assert cost(None, Price("EUR", "1", "1")) is None
    assert cost(Usage(1, None, 1, None, "upstream"), None) is None


def test_halves_are_rounded_up_and_zero_is_zero() -> None:
    assert cost(Usage(1, None, 0, None, "upstream"), Price("EUR", "0.005", "0")) == "0.00000001"
    assert cost(Usage(0, 0, 0, 0, "upstream"), Price("EUR", "3", "4")) == "0"
    assert cost(Usage(40_000_000, None, 0, None, "upstream"), Price("EUR", "2.5", "0")) == "100"


@pytest.mark.parametrize(
    "text", ["", "free", "NaN", "Infinity", "-1", "-0.01", "1,5", "1e13", "1e-25", "1e400", "1e-400"]
)
def test_what_is_no_price_is_said_with_its_field(text: str) -> None:
    assert "`output`" in (price_problem(Price("EUR", "1", text)) or "")
    assert "`cached_input`" in (price_problem(Price("EUR", "1", "1", text)) or "")
