"""One try at one target: asked, and sorted into an answer, or what it says of trying on."""

import re
import time
from collections.abc import Iterable

import msgspec

from transom.dialects.translate import Dialect
from transom.errors import InvalidRequest, Refusal
from transom.gateway.apart import apart
from transom.gateway.exchange import Asked, Exchange, Here
from transom.gateway.route.refusals import not_ready, refusal_of, refusal_of_status
from transom.gateway.route.retry import NOBODY_KNOWS, fault_of, fault_of_status, retry_after
from transom.registry.routing import Fault
from transom.upstreams.client import Upstream
from transom.upstreams.errors import UpstreamError, UpstreamLeftAlone, UpstreamReset
from transom.upstreams.response import Response, answered
from transom.values import Target, Version

_NEXT = frozenset((401, 402, 403, 404, 408, 429))
"""Besides 5xx, answers that say nothing of the request itself: another upstream may do better."""
_REQUEST = frozenset((b"x-request-id", b"request-id"))
_plain = re.compile(rb"[!-~]{1,128}").fullmatch
HERE = "transom"
"""In the place of an upstream's name: Transom itself answered."""


class Tried(msgspec.Struct):
    """What came of one try: a usable answer's head and its dialect, or `refusal`, and what `retry.on` calls it.

    Neither where it was not tried, being `left_alone`.
    """

    upstream: str
    result: str
    response: Response | None = None
    spoken: Dialect | None = None
    refusal: Refusal | None = None
    fault: Fault | None = None
    wait: float | None = None
    """Seconds that the upstream asked to be left alone."""
    maybe_billed: bool = False
    """It was asked and gave no answer, so that nobody knows whether it did the work."""
    left_alone: bool = False
    """It was not asked: it turned out not to be well while the request waited for a place."""
    stale: bool = False
    """A kept connection ended just as it was taken up again: the same target may be asked once more, on a new one."""
    request: str | None = None
    """What the upstream calls it, where its answer says so."""
    untold: tuple[str, ...] = ()
    """What it was not told (`exchange.Asked`)."""


def given_up(upstream: str) -> Tried:
    """Say of a try that it was cut short: the client left, or another answered first."""
    return Tried(upstream, "cancelled", maybe_billed=True)


async def attempt(
    upstream: Upstream | None,
    target: Target,
    version: Version,
    exchange: Exchange,
    *,
    fresh: bool = False,
    only_well: bool = False,
) -> Tried:
    """Ask one target: on a new connection where `fresh`, not at all where it is to be left alone and `only_well`.

    Raises nothing of an upstream's.
    """
    if upstream is None:
        # Only the embedded engine comes and goes; every other upstream is checked when the files are read.
        return Tried(target.upstream, "not ready", refusal=not_ready(version))
    try:
        asked = await apart(len(exchange.call.body), exchange.ask, upstream, target.model)
    except InvalidRequest as error:
        return Tried(target.upstream, "cannot be told", refusal=error)
    if isinstance(asked, Here):
        return Tried(HERE, "estimated", answered(asked.body), exchange.dialect)
    try:
        response = await upstream.send(b"POST", asked.path, asked.body, asked.headers, fresh=fresh, only_well=only_well)
    except UpstreamError as error:
        return _failed(error, version)
    return _heard(response, target, version, asked)


def _failed(error: UpstreamError, version: Version) -> Tried:
    if isinstance(error, UpstreamLeftAlone):
        return Tried(error.upstream, error.why, left_alone=True)
    return Tried(
        error.upstream,
        type(error).__name__,
        refusal=refusal_of(error, version),
        fault=fault_of(error),
        maybe_billed=not error.never_sent,
        stale=isinstance(error, UpstreamReset) and error.stale,
    )


def _heard(response: Response, target: Target, version: Version, asked: Asked) -> Tried:
    status, request = response.status, _request(response.headers)
    if status < 500 and status not in _NEXT:
        return Tried(target.upstream, str(status), response, asked.dialect, request=request, untold=asked.untold)
    # Nothing in this body is for the caller; a short one keeps the connection, any other costs it.
    if not response.complete:
        response.abort()
    wait = retry_after(response.headers, time.time())
    refusal = refusal_of_status(status, wait, version)
    fault, billed = fault_of_status(status), status in NOBODY_KNOWS
    return Tried(
        target.upstream, str(status), refusal=refusal, fault=fault, wait=wait, maybe_billed=billed, request=request
    )


def _request(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return what OpenAI's (`x-request-id`) or Anthropic's (`request-id`) servers, or likenesses, call a request."""
    for name, value in headers:
        if name in _REQUEST and _plain(value):
            return value.decode("ascii")
    return None
