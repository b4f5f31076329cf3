import msgspec
import pytest

from transom.errors import TooMany
from transom.metering.rates import Rates
from transom.metering.settings import LimitSettings
from transom.values import Caller, CallerId, Pseudonym


def caller(id_: str, *groups: str) -> Caller:
    return Caller(CallerId(id_), id_, groups, Pseudonym("p"))


def admitted(rates: Rates, who: Caller, tries: int) -> int:
    count = 0
    for _ in range(tries):
        try:
            rates.admit(who)
        except TooMany:
            continue
        count += 1
    return count


def test_no_limits_admit_everything() -> None:
    assert admitted(Rates(()), caller("a"), 1000) == 1000


def test_each_caller_of_a_group_has_a_count_of_their_own() -> None:
    rates = Rates((LimitSettings(requests_per_minute=3, group="students"),))
    assert admitted(rates, caller("a", "students", "chess"), 9) == 3
    assert admitted(rates, caller("b", "students"), 9) == 3
    assert admitted(rates, caller("c", "developers"), 9) == 9


def test_the_narrowest_limit_holds() -> None:
    rates = Rates((LimitSettings(requests_per_minute=5), LimitSettings(requests_per_minute=2, group="students")))
    assert admitted(rates, caller("a", "students"), 9) == 2
    assert admitted(rates, caller("b"), 9) == 5


def test_a_refusal_names_the_limit_and_when_to_come_again() -> None:
    rates = Rates((LimitSettings(requests_per_minute=1, group="students"),))
    rates.admit(caller("a", "students"))
    with pytest.raises(TooMany, match=r"1 requests a minute .*'students'") as raised:
        rates.admit(caller("a", "students"))
    assert raised.value.retry_after is not None
    assert 1 <= raised.value.retry_after <= 61


@pytest.mark.parametrize("number", [0, -1])
def test_a_limit_that_admits_nobody_is_no_limit(number: int) -> None:
    """Who may ask nothing at all is for policies to say."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"requests_per_minute": number}, LimitSettings)
