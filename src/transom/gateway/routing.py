"""Along the route: which upstream answers. The next one is tried only before a byte has gone to the client."""

import time

from transom.dialects.translate import Dialect
from transom.errors import BodyTooLarge, InvalidRequest, Refusal, TooMany, UpstreamFailed, UpstreamTimeout
from transom.gateway.exchange import Exchange, Here
from transom.gateway.running import Running
from transom.upstreams.errors import UpstreamError, UpstreamTimedOut
from transom.upstreams.response import Response, answered
from transom.values import Attempt, Version

_NEXT = frozenset((401, 403, 404, 408, 429))
"""Besides 5xx, answers that say nothing of the request itself: another upstream may do better."""
HERE = "transom"
"""In the place of an upstream's name: Transom itself answered."""
_OWN = frozenset((401, 403, 404))
"""Of these, what concerns Transom's own key or settings there: never shown to the caller as if it were theirs."""


async def send_along(
    running: Running, version: Version, exchange: Exchange, attempts: list[Attempt]
) -> tuple[str, Dialect, Response]:
    """Return the first usable answer's head along the version's route, who gave it, and in which dialect.

    Every try is added to `attempts`. Raises `UpstreamFailed`, `UpstreamTimeout` or `TooMany` where none answers, and
    `InvalidRequest` where none can be told what is asked.
    """
    last: Refusal | None = None
    for target in version.route:
        upstream = running.upstreams.get(target.upstream)
        began = time.perf_counter()
        if upstream is None:
            # Only the embedded engine comes and goes; every other upstream is checked when the files are read.
            attempts.append(_attempt(target.upstream, "not ready", began))
            last = UpstreamFailed(
                f"The embedded engine is not ready yet, and {version.name} runs there. Try again in a few seconds.",
                code="engine_not_ready",
                retry_after=2,
            )
            continue
        try:
            asked = exchange.ask(upstream, target.model)
        except InvalidRequest as error:
            attempts.append(_attempt(target.upstream, "cannot be told", began))
            last = last or error
            continue
        if isinstance(asked, Here):
            attempts.append(_attempt(HERE, "estimated", began))
            return HERE, exchange.dialect, answered(asked.body)
        try:
            response = await upstream.send(b"POST", asked.path, asked.body, asked.headers)
        except UpstreamError as error:
            attempts.append(_attempt(target.upstream, type(error).__name__, began))
            last = refusal_of(error, version)
            continue
        attempts.append(_attempt(target.upstream, str(response.status), began))
        if response.status < 500 and response.status not in _NEXT:
            return upstream.name, asked.dialect, response
        last = await _refusal_from(response, version)
    assert last is not None
    raise last


def refusal_of(error: UpstreamError, version: Version) -> Refusal:
    """Say to the caller what an upstream's failure means for them; its details are the operator's."""
    if isinstance(error, UpstreamTimedOut):
        return UpstreamTimeout(f"No upstream of {version.name} answered in time. Try again, or ask another model.")
    return UpstreamFailed(
        f"No upstream of {version.name} could answer ({_IN_WORDS.get(type(error).__name__, 'it failed')}). "
        "Try again, or ask another model."
    )


def refused_by_upstream(status: int, words: str | None) -> Refusal:
    """Say an upstream's own refusal of a request in another dialect than it was given in."""
    said = f": {words}" if words else "."
    if status == 413:
        return BodyTooLarge(f"The upstream takes no request as long as this{said}")
    return InvalidRequest(f"The upstream refused the request (status {status}){said}", code=f"upstream_{status}")


_IN_WORDS = {
    "UpstreamBusy": "too many requests wait for it already",
    "UpstreamUnreachable": "it cannot be reached",
    "UpstreamReset": "it closed the connection",
    "UpstreamGarbage": "what it answers is not HTTP",
    "UpstreamTruncated": "its answer broke off",
    "UpstreamTooLarge": "its answer is too long",
}


async def _refusal_from(response: Response, version: Version) -> Refusal:
    retry_after = next((value for name, value in response.headers if name == b"retry-after"), b"")
    status = response.status
    # Nothing in this body is for the caller; a short one keeps the connection, any other costs it.
    if not response.complete:
        response.abort()
    if status == 429:
        wait = int(retry_after) if retry_after.isdigit() else None
        return TooMany(f"The upstreams of {version.name} take no more requests now. Try again later.", retry_after=wait)
    if status in _OWN:
        return UpstreamFailed(
            f"The upstream of {version.name} refused Transom itself (status {status}). The operator must check its "
            "key, its base_url and the model's name there."
        )
    return UpstreamFailed(
        f"The upstream of {version.name} failed with status {status}. Try again, or ask another model."
    )


def _attempt(upstream: str, result: str, began: float) -> Attempt:
    return Attempt(upstream, result, int((time.perf_counter() - began) * 1000))
