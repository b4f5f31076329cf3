"""What the requests that were made anyway say about an upstream."""

import time

from transom.upstreams.breaker import Breaker
from transom.upstreams.errors import UpstreamError


class Health:
    """The last that was seen of one upstream. Times are seconds since the epoch; `None` is "not yet"."""

    __slots__ = ("breaker", "consecutive_failures", "last_answer_at", "last_error", "last_error_at")

    def __init__(self, breaker: Breaker | None = None) -> None:
        self.breaker = breaker
        """What leaves the upstream alone when it keeps failing; it hears of every answer and every failure."""
        self.consecutive_failures: int = 0
        """Requests in a row that brought no usable answer."""
        self.last_error: str | None = None
        """The text of the last failure, kept after later answers; for operators, without secrets."""
        self.last_error_at: float | None = None
        self.last_answer_at: float | None = None

    def answered(self, status: int) -> None:
        """Note an answer's head.

        5xx is the upstream's failure, and 401 is ours (its key), which no other request will escape. Other 4xx are
        about one request.
        """
        if status >= 500 or status == 401:
            remedy = "check its key" if status == 401 else "look at the upstream's own status"
            self._note(f"answered with status {status}: {remedy}")
            return
        self.consecutive_failures = 0
        self.last_answer_at = time.time()
        if self.breaker is not None:
            self.breaker.answered()

    def failed(self, error: UpstreamError) -> None:
        """Note a failure, unless it says nothing about the upstream."""
        if error.counts_against_health:
            self._note(str(error))

    def _note(self, text: str) -> None:
        self.consecutive_failures += 1
        self.last_error = text
        self.last_error_at = time.time()
        if self.breaker is not None:
            self.breaker.failed()
