"""Whether and when a target that gave no answer is asked once more. Pure: clock and chance are handed in."""

from collections.abc import Iterable
from datetime import UTC
from email.utils import parsedate_to_datetime
from random import Random

from transom.registry.routing import Fault, RetrySettings
from transom.upstreams.errors import (
    UpstreamBusy,
    UpstreamError,
    UpstreamGarbage,
    UpstreamReset,
    UpstreamTimedOut,
    UpstreamUnreachable,
)

_LONGEST = 10 * 365 * 86_400
"""Seconds. A wish to wait longer is no wish that anybody had."""
NOBODY_KNOWS = frozenset((408, 502, 504))
"""What a proxy answers for a server that it asked and did not hear out: it may have done the work, and bill it."""
_BY_ERROR: tuple[tuple[type[UpstreamError], Fault], ...] = (
    (UpstreamBusy, "busy"),
    (UpstreamUnreachable, "connect"),
    (UpstreamTimedOut, "timeout"),
    (UpstreamReset, "reset"),
    (UpstreamGarbage, "garbage"),
)


def fault_of(error: UpstreamError) -> Fault | None:
    """Return what `retry.on` calls an error: a time-out before anything was sent is a `connect`."""
    if error.never_sent and not isinstance(error, UpstreamBusy):
        return "connect"
    return next((fault for kind, fault in _BY_ERROR if isinstance(error, kind)), None)


def fault_of_status(status: int) -> Fault | None:
    """Return what `retry.on` calls an answer's status, where it calls it anything."""
    if status == 429:
        return "429"
    if status in NOBODY_KNOWS:
        return "timeout"
    return "5xx" if status >= 500 else None


def wait(settings: RetrySettings, tries: int, asked_for: float | None, random: Random) -> float:
    """Return the seconds until a target that was tried `tries` times is asked again: what it asked for, or longer.

    Exponential backoff with full jitter (M. Brooker, "Exponential Backoff And Jitter", 2015).
    """
    drawn = random.uniform(0.0, min(settings.cap_seconds, settings.base_seconds * 2 ** min(tries, 30)))
    return drawn if asked_for is None else max(drawn, asked_for)


def retry_after(headers: Iterable[tuple[bytes, bytes]], now: float) -> float | None:
    """Return the seconds that `Retry-After` asks for: a number or a date (RFC 9110 section 10.2.3).

    `now` is in seconds since the epoch. `None` where it is not said, or not understood.
    """
    value = next((value for name, value in headers if name == b"retry-after"), b"").strip()
    if value.isdigit():
        return float(min(int(value[:12]), _LONGEST))
    try:
        date = parsedate_to_datetime(value.decode("ascii"))
    except (ValueError, OverflowError):  # the latter of a zone beyond any calendar
        return None
    date = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return min(max(0.0, date.timestamp() - now), _LONGEST)
