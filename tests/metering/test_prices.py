from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.metering.prices import by_class, cost, cost_parts, in_force, most, price_problem, prices_problem
from transom.values import Price, Tier, Usage

COUNTS = st.integers(0, 10**12)
PRICES = st.decimals(0, 10**12, allow_nan=False, allow_infinity=False, places=24).map(
    lambda price: format(price, "f")
) | (st.decimals(0, 100, places=6).map(str))
MAYBE = st.none() | COUNTS
STEP = Fraction(1, 10**8)


@given(
    st.builds(Usage, COUNTS, MAYBE, COUNTS, MAYBE, st.just("upstream"), MAYBE),
    st.builds(
        Price,
        st.just("EUR"),
        PRICES,
        PRICES,
        st.none() | PRICES,
        cache_write=st.none() | PRICES,
        reasoning=st.none() | PRICES,
        per_request=st.none() | PRICES,
    ),
)
def test_a_cost_is_exact_and_rounded_once(usage: Usage, price: Price) -> None:
    assert price_problem(price) is None
    amount = cost(usage, price)
    assert amount is not None
    cached = price.input if price.cached_input is None else price.cached_input
    written = price.input if price.cache_write is None else price.cache_write
    thought = price.output if price.reasoning is None else price.reasoning
    by_hand: dict[str, Fraction] = {
        "input": Fraction(usage.input or 0) * Fraction(price.input or 0),
        "cached_input": Fraction(usage.cached_input or 0) * Fraction(cached or 0),
        "cache_write": Fraction(usage.cache_write or 0) * Fraction(written or 0),
        "output": Fraction(usage.output or 0) * Fraction(price.output or 0),
        "reasoning": Fraction(usage.reasoning or 0) * Fraction(thought or 0),
    }
    classes = by_class(usage, price)
    assert {name: Fraction(parts, 10**24) for name, parts in classes.items()} == by_hand
    exact: Fraction = sum(by_hand.values(), Fraction()) / 10**6 + Fraction(price.per_request or 0)
    assert 2 * abs(Fraction(amount) - exact) <= STEP
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


@pytest.mark.parametrize(
    ("price", "seconds", "amount"),
    [
        (Price("EUR", per_second="0.001"), 12.5, "0.0125"),
        (Price("EUR", per_second="0.001", per_request="0.02"), 0.0, "0.02"),
        (Price("EUR", gpu_hour="3.60", gpus=2), 10.0, "0.02"),
        (Price("EUR", gpu_hour="3.60", gpus=2, utilisation="0.5"), 10.0, "0.04"),
        (Price("EUR", gpu_hour="3.60", utilisation="8"), 10.0, "0.00125"),
        (Price("EUR", "1", "2", per_second="0.5"), None, None),
    ],
)
def test_what_runs_here_costs_its_time(price: Price, seconds: float | None, amount: str | None) -> None:
    assert price_problem(price) is None
    assert cost(Usage(0, None, 0, None, "upstream"), price, seconds) == amount
    if price.input is None:
        assert cost(None, price, seconds) == amount


LONG = Price("USD", "3", "15", tiers=(Tier(above=200_000, input="6", output="22.5", cached_input="0.6"),))


def test_a_long_input_costs_more_from_its_first_token() -> None:
    assert cost(Usage(200_000, None, 0, None, "upstream"), LONG) == "0.6"
    assert cost(Usage(100_001, 100_000, 1_000_000, None, "upstream"), LONG) == "23.160006"


@given(
    st.integers(0, 10**7),
    st.integers(0, 10**7),
    st.integers(0, 10**7),
    st.integers(0, 10**7),
    st.sampled_from([LONG, Price("USD", "1", "2", "9", cache_write="5", reasoning="7", per_request="0.01")]),
)
def test_nothing_costs_more_than_its_bound(one: int, two: int, three: int, four: int, price: Price) -> None:
    usage = Usage(one, two, three, four, "upstream", two)
    amount = cost_parts(usage, price)
    assert amount is not None
    assert amount <= most(price, one + 2 * two, three + four, 0)


def test_the_newest_price_that_has_begun_counts() -> None:
    old, new = Price("EUR", "1", "1"), Price("EUR", "2", "2", effective_at="2026-12-01")
    assert prices_problem((old, new)) is None
    assert [in_force((old, new), day) for day in ("2026-11-30", "2026-12-01", "2027-01-01")] == [old, new, new]
    assert in_force((new,), "2026-11-30") is None


@pytest.mark.parametrize(
    ("prices", "words"),
    [
        ((Price("EUR"),), "no price"),
        ((Price("EUR", "1"),), "go together"),
        ((Price("EUR", per_second="1", reasoning="1"),), "Give these too"),
        ((Price("EUR", gpu_hour="1", utilisation="0"),), "utilisation"),
        ((Price("EUR", "1", "1", effective_at="2026-13-01"),), "not a day"),
        ((Price("EUR", "1", "1", effective_at="20261201"),), "not a day"),
        ((Price("EUR", "1", "1"), Price("EUR", "1", "1")), "oldest first"),
        ((Price("EUR", "1", "1"), Price("USD", "1", "1", effective_at="2026-12-01")), "one currency"),
        ((msgspec.structs.replace(LONG, tiers=LONG.tiers * 2),), "smallest first"),
    ],
)
def test_what_is_wrong_with_prices_is_said(prices: tuple[Price, ...], words: str) -> None:
    assert words in (prices_problem(prices) or "")
