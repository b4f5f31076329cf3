"""Rates: so many requests a minute for each caller. Counted in this process: one worker only.

The counting is the `limits` library's moving window, so that no minute's border lets twice the rate pass.
"""

import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from transom.errors import TooMany
from transom.metering.settings import LimitSettings
from transom.values import Caller


class Rates:
    """The limits in force. Their counts live as long as this object and survive a reload of other settings."""

    def __init__(self, settings: tuple[LimitSettings, ...]) -> None:
        self.settings = settings
        self._items = tuple(
            (limit.group, RateLimitItemPerMinute(limit.requests_per_minute))
            for limit in settings
            if limit.requests_per_minute is not None
        )
        self._window = MovingWindowRateLimiter(MemoryStorage()) if settings else None

    def admit(self, caller: Caller) -> None:
        """Count one request. Raises `TooMany` naming the limit and when to come again."""
        if self._window is None:
            return
        for group, item in self._items:
            if group is not None and group not in caller.groups:
                continue
            if not self._window.hit(item, caller.id, group or "*"):
                reset = self._window.get_window_stats(item, caller.id, group or "*").reset_time
                wait = max(1, round(reset - time.time() + 0.5))
                raise TooMany(
                    f"The limit of {item.amount} requests a minute for {_whom(group)} is used up. "
                    f"Try again in {wait} s.",
                    retry_after=wait,
                )


def _whom(group: str | None) -> str:
    return f"each caller of group {group!r}" if group else "each caller"
