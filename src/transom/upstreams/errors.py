"""What can go wrong between Transom and an upstream.

    UpstreamError
    ├── UpstreamBusy          as many requests as allowed already wait for a connection, or one waited too long
    ├── UpstreamLeftAlone     it turned out not to be well while the request waited for a place
    ├── UpstreamUnreachable   no connection could be made: name, network, refusal, certificate
    ├── UpstreamTimedOut      a phase took longer than its setting allows
    ├── UpstreamReset         the connection ended before the answer's head was here
    ├── UpstreamGarbage       what came is not an HTTP answer, or not one that was asked for
    ├── UpstreamTruncated     the connection ended in the middle of the answer
    ├── UpstreamTooLarge      the answer is longer than its reader takes
    └── UpstreamAborted       this side gave up: `abort`, or the task that read was cancelled

None of them reaches a client as it is: their texts name upstreams and addresses, and are for operators.
"""

from typing import ClassVar, Literal

from transom.errors import TransomError

TimedPhase = Literal["connect", "first_byte", "between_chunks", "whole"]
Phase = TimedPhase | Literal["queue", "head", "body"]


class UpstreamError(TransomError):
    """An upstream did not answer as it should: which one, in which phase, what happened, what to check.

    `never_sent` means that no byte of the request went out, so that another try cannot be a second request.
    """

    never_sent: bool = False
    counts_against_health: ClassVar[bool] = True

    def __init__(self, upstream: str, phase: Phase, what: str) -> None:
        self.upstream = upstream
        self.phase = phase
        super().__init__(f"upstream {upstream!r}, phase {phase}: {what}")


class UpstreamBusy(UpstreamError):
    """No connection was free, and none became free in time. It says nothing about the upstream's health."""

    never_sent = True
    counts_against_health = False


class UpstreamLeftAlone(UpstreamError):
    """It is left alone since the request began to wait, for the reason `why`."""

    never_sent = True
    counts_against_health = False

    def __init__(self, upstream: str, why: str) -> None:
        self.why = why
        super().__init__(upstream, "queue", f"{why} since this request began to wait. See its own log for the reason")


class UpstreamUnreachable(UpstreamError):
    """No connection could be made."""

    never_sent = True


class UpstreamTimedOut(UpstreamError):
    """A phase, named as the setting that limits it, took too long."""

    def __init__(self, upstream: str, phase: TimedPhase, what: str) -> None:
        super().__init__(upstream, phase, what)
        self.never_sent = phase == "connect"


class UpstreamReset(UpstreamError):
    """The connection ended before the answer's head was here.

    `stale` means a kept connection that ended just after it was taken up again, before any byte of the answer:
    most likely the upstream had closed it for idleness. Nothing proves it: whether to ask again is the caller's choice.
    """

    stale: bool = False


class UpstreamGarbage(UpstreamError):
    """What came is not HTTP, contradicts itself, or was not asked for."""


class UpstreamTruncated(UpstreamError):
    """The connection ended in the middle of the answer."""


class UpstreamTooLarge(UpstreamError):
    """The answer is longer than its reader takes."""

    counts_against_health = False


class UpstreamAborted(UpstreamError):
    """This side gave up."""

    counts_against_health = False
