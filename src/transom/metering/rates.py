"""Rates: so many requests and tokens a minute. Counted in this process, or in Valkey or Redis for several.

Requests are counted by the `limits` library's moving window. Tokens come in many at a time and are corrected once they
are known, so they are counted a minute apart (of the clock), and of the minute before as much as the last 60 seconds
still touch: the sliding window counter. An admission takes the library's own storage two commands or three.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from math import ceil
from typing import Final

import msgspec
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.errors import StorageError

from transom.errors import NotDurable, TooMany
from transom.metering.counting import MINUTE, Count, Here, Window
from transom.metering.limits import Scope, name_of, scope_of
from transom.metering.settings import LimitSettings
from transom.values import Caller, Version

SCHEMES: Final = frozenset(("valkey", "valkeys", "redis", "rediss"))
"""URLs of a common count."""
_MOST: Final = 2**40
"""Tokens. An upstream that says it used more talks nonsense, and a common count could not hold it."""
_FIELDS: Final = ("limit", "remaining", "reset")


class Standing(msgspec.Struct):
    """How a call's rates stand: those with the least left. `counted`: the counters that took its `estimate`."""

    estimate: int = 0
    requests: Window | None = None
    tokens: Window | None = None
    counted: list[str] = []


class _Rule(msgspec.Struct, frozen=True):
    scope: Scope
    name: str
    requests: RateLimitItem | None
    tokens: int | None


class _Used(msgspec.Struct, frozen=True):
    """Tokens of this minute of the clock, of which `gone` seconds have passed, and of the minute before."""

    current: int
    before: int
    gone: float

    @property
    def sum(self) -> int:
        """What counts of both now: of the minute before, what the last 60 seconds still touch."""
        return self.current + int(self.before * (1 - self.gone / MINUTE))

    def until(self, amount: int, *, limit: int) -> float:
        """Return the seconds until `amount` fits beside them, at most `limit`, if nobody asks meanwhile."""
        left = limit - amount
        if self.current <= left:  # within this minute: the one before has to lose its weight
            return max(0.0, MINUTE * (1 - _part(left - self.current, self.before)) - self.gone)
        return MINUTE - self.gone + MINUTE * (1 - _part(left, self.current))


class Rates:
    """The rates in force. Their counts live as long as this object and survive a reload of other settings."""

    def __init__(
        self,
        settings: tuple[LimitSettings, ...],
        url: str | None = None,
        *,
        fail_open: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`url`: of the common count; `None`: this process counts alone. `fail_open`: what cannot be counted passes."""
        self.settings = settings
        self.last_error: str | None = None
        """Why rates cannot be counted now, where they cannot."""
        self._rules = tuple(
            _Rule(
                scope_of(each),
                name_of(each),
                None if each.requests_per_minute is None else RateLimitItemPerMinute(each.requests_per_minute),
                each.tokens_per_minute,
            )
            for each in settings
            if each.requests_per_minute is not None or each.tokens_per_minute is not None
        )
        self.count_tokens = any(rule.tokens is not None for rule in self._rules)
        self._fail_open = fail_open
        self._clock = clock
        self._count: Count = Here() if url is None or not self._rules else _shared(url)

    def __bool__(self) -> bool:
        """Whether there is any rate."""
        return bool(self._rules)

    async def admit(self, caller: Caller, version: Version, standing: Standing) -> None:
        """Count one request of about as many tokens as `standing` estimates, and note in it how the rates stand.

        Raises `TooMany`, naming the limit and when to come again, and `NotDurable` (503) where rates cannot be counted
        and the setting says that then nothing passes.
        """
        try:
            for rule in self._rules:
                if rule.scope.covers(caller, version):
                    await self._admit(rule, rule.scope.who(caller), standing)
        except TooMany:
            await self.correct(standing, 0)  # what was counted by the rules before: it will not be asked
            raise
        except StorageError as error:
            self._failed(error)
            if not self._fail_open:
                raise NotDurable(
                    "The rates cannot be counted now, so nothing that they limit can be answered. The operator finds "
                    "the cause in /readyz and in the log. Try again shortly.",
                    code="rates_unavailable",
                    retry_after=1,
                ) from error

    async def correct(self, standing: Standing, tokens: int) -> None:
        """Count what a call did use instead of its estimate, in the minute in which it was admitted."""
        difference = min(tokens, _MOST) - standing.estimate
        counted, standing.counted = standing.counted, []
        if difference == 0 or not counted:
            return
        try:
            for key in counted:
                await self._count.add(key, difference)
        except StorageError as error:
            self._failed(error)

    async def check(self) -> None:
        """See whether rates can be counted, and remember it for whoever asks whether this process is ready."""
        try:
            well = await self._count.check()
        except StorageError as error:
            self._failed(error)
            return
        self.last_error = None if well else "the rates' common count does not answer"

    async def close(self) -> None:
        """Let go of every connection; calls under way may go on."""
        await self._count.close()

    async def _admit(self, rule: _Rule, who: str, standing: Standing) -> None:
        if rule.requests is not None:
            hit = await self._count.hit(rule.requests, rule.name, who)
            window = await self._count.stats(rule.requests, rule.name, who)
            standing.requests = _narrower(standing.requests, window)
            if not hit:
                raise _used_up(rule, "requests", window, window.reset)
        if rule.tokens is not None and standing.estimate:  # a question about tokens uses none
            window = await self._take(rule, who, rule.tokens, standing)
            standing.tokens = _narrower(standing.tokens, window)

    async def _take(self, rule: _Rule, who: str, limit: int, standing: Standing) -> Window:
        now = self._clock()
        minute, gone = divmod(now, MINUTE)
        key = f"transom/tokens/{rule.name}/{who}/{int(minute)}"
        before = max(0, await self._count.get(f"transom/tokens/{rule.name}/{who}/{int(minute) - 1}"))
        amount = standing.estimate
        if amount > limit:  # never in one minute; and a common count takes no number however large
            used = _Used(await self._count.get(key), before, gone)
        else:
            used = _Used(await self._count.add(key, amount), before, gone)
            if used.sum <= limit:
                standing.counted.append(key)
                return Window(limit, limit - used.sum, used.until(0, limit=0))
            await self._count.add(key, -amount)
            used = _Used(used.current - amount, before, gone)
        window = Window(limit, max(0, limit - used.sum), used.until(0, limit=0))
        standing.tokens = _narrower(standing.tokens, window)
        raise _too_much(rule, window, amount, used.until(amount, limit=limit))

    def _failed(self, error: StorageError) -> None:
        self.last_error = f"the rates' common count failed ({type(error.storage_error).__name__})"


def _shared(url: str) -> Count:
    from transom.metering.shared_counting import Shared  # noqa: PLC0415 # see there

    return Shared(url)


def _part(left: int, of: int) -> float:
    """Return how much of what was used may still count where there is room for so many; 1 for all of it."""
    return 1.0 if of <= 0 else min(1.0, max(0, left) / of)


def _narrower(one: Window | None, other: Window) -> Window:
    return other if one is None or other.remaining < one.remaining else one


def _used_up(rule: _Rule, what: str, window: Window, seconds: float, also: str = "") -> TooMany:
    wait = max(1, ceil(seconds))
    return TooMany(f"{_said(rule, what, window)}{also} Try again in {wait} s.", retry_after=wait)


def _too_much(rule: _Rule, window: Window, estimate: int, seconds: float) -> TooMany:
    also = f" {window.remaining} are left, and this call may use about {estimate}."
    if estimate > window.limit:
        return TooMany(f"{_said(rule, 'tokens', window)}{also} Ask for less (a smaller `max_tokens`).")
    return _used_up(rule, "tokens", window, seconds, also)


def _said(rule: _Rule, what: str, window: Window) -> str:
    return f"The limit {rule.name!r} of {window.limit} {what} a minute {rule.scope.words} is used up."


def rate_headers(standing: Standing, *, anthropic: bool, now: float) -> list[tuple[bytes, bytes]]:
    """Say how the rates stand, in OpenAI's headers or Anthropic's. `now` in seconds since the Unix epoch."""
    headers = []
    for what, window in (("requests", standing.requests), ("tokens", standing.tokens)):
        if window is None:
            continue
        if anthropic:
            reset = datetime.fromtimestamp(ceil(now + window.reset), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            names = [f"anthropic-ratelimit-{what}-{field}" for field in _FIELDS]
        else:
            reset = f"{ceil(window.reset * 1000)}ms" if window.reset < 1 else f"{ceil(window.reset)}s"
            names = [f"x-ratelimit-{field}-{what}" for field in _FIELDS]
        values = (str(window.limit), str(window.remaining), reset)
        headers += [(name.encode(), value.encode()) for name, value in zip(names, values, strict=True)]
    return headers
