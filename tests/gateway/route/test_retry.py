"""When a target is asked once more."""

from datetime import UTC, datetime
from email.utils import format_datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.gateway.route.retry import fault_of, fault_of_status, retry_after, wait
from transom.registry.routing import RetrySettings
from transom.upstreams import errors

NOW = 1_700_000_000.0
HTTP_DATE = format_datetime(datetime.fromtimestamp(NOW + 90, UTC), usegmt=True).encode()


@given(st.integers(1, 1_000), st.none() | st.floats(0, 1e6), st.integers())
def test_the_wait_is_jittered_capped_and_never_shorter_than_asked_for(
    tries: int, asked_for: float | None, seed: int
) -> None:
    settings = RetrySettings(base_seconds=0.25, cap_seconds=8)
    waited = wait(settings, tries, asked_for, Random(seed))
    drawn = wait(settings, tries, None, Random(seed))
    assert 0 <= drawn <= min(8.0, 0.25 * 2 ** min(tries, 10))
    assert waited == max(drawn, asked_for or 0.0)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"7", 7.0),
        (b" 120 ", 120.0),
        (b"0", 0.0),
        (HTTP_DATE, 90.0),
        (b"Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        (b"Wed, 21 Oct 2015 07:28:00 -0000", 0.0),
        (b"9" * 400, 315_360_000.0),
        (b"Wed, 21 Oct 2015 07:28:00 +99999999999999999999", None),
        (b"Wed, 21 Oct 2015 07:28:00 -99999999999999999999", None),
        (b"Fri, 31 Dec 9999 23:59:59 -2359", 315_360_000.0),
        (b"Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
        (b"-1", None),
        (b"1.5", None),
        (b"soon", None),
        (b"", None),
        (b"\xff", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: bytes, seconds: float | None) -> None:
    assert retry_after([(b"x", b"1"), (b"retry-after", value)], NOW) == seconds


@given(st.binary(max_size=60))
def test_whatever_stands_in_retry_after_is_a_bounded_time_or_none(value: bytes) -> None:
    seconds = retry_after([(b"retry-after", value)], NOW)
    assert seconds is None or 0 <= seconds <= 315_360_000


def test_what_retry_on_calls_an_error() -> None:
    assert fault_of(errors.UpstreamUnreachable("u", "connect", "x")) == "connect"
    assert fault_of(errors.UpstreamTimedOut("u", "connect", "x")) == "connect"
    assert fault_of(errors.UpstreamTimedOut("u", "first_byte", "x")) == "timeout"
    assert fault_of(errors.UpstreamReset("u", "head", "x")) == "reset"
    assert fault_of(errors.UpstreamBusy("u", "queue", "x")) == "busy"
    assert fault_of(errors.UpstreamGarbage("u", "head", "x")) == "garbage"
    assert fault_of(errors.UpstreamAborted("u", "head", "x")) is None
    assert [fault_of_status(status) for status in (429, 500, 503, 404)] == ["429", "5xx", "5xx", None]
    assert [fault_of_status(status) for status in (408, 502, 504)] == ["timeout"] * 3
