"""What a caller is told of upstreams that did not answer. Their own words and addresses are the operator's."""

import math

from transom.errors import BodyTooLarge, InvalidRequest, Refusal, TooMany, UpstreamFailed, UpstreamTimeout
from transom.upstreams.errors import UpstreamBusy, UpstreamError, UpstreamTimedOut
from transom.values import Version

_OWN = frozenset((401, 402, 403, 404))
"""Statuses that concern Transom's own key, account or settings there: never shown to the caller as theirs."""
_IN_WORDS = {
    "UpstreamUnreachable": "it cannot be reached",
    "UpstreamReset": "it closed the connection",
    "UpstreamGarbage": "what it answers is not HTTP",
    "UpstreamTruncated": "its answer broke off",
    "UpstreamTooLarge": "its answer is too long",
}


def refusal_of(error: UpstreamError, version: Version) -> Refusal:
    """Say to the caller what an upstream's failure means for them; its details are the operator's."""
    if isinstance(error, UpstreamTimedOut):
        return UpstreamTimeout(f"No upstream of {version.name} answered in time. Try again, or ask another model.")
    if isinstance(error, UpstreamBusy):
        return TooMany(
            f"The upstreams of {version.name} have as many requests as they may have, and as many wait. Try again.",
            code="upstreams_busy",
            retry_after=1,
        )
    return UpstreamFailed(
        f"No upstream of {version.name} could answer ({_IN_WORDS.get(type(error).__name__, 'it failed')}). "
        "Try again, or ask another model."
    )


def refusal_of_status(status: int, wait: float | None, version: Version) -> Refusal:
    """Say what an upstream's answer of this status means, where no other could answer. `wait`: its `Retry-After`."""
    seconds = None if wait is None else math.ceil(wait)
    if status == 429:
        return TooMany(
            f"The upstreams of {version.name} take no more requests now. Try again later.", retry_after=seconds
        )
    if status in _OWN:
        return UpstreamFailed(
            f"The upstream of {version.name} refused Transom itself (status {status}). The operator must check its "
            "key and account there, its base_url and the model's name there."
        )
    return UpstreamFailed(
        f"The upstream of {version.name} failed with status {status}. Try again, or ask another model.",
        retry_after=seconds,
    )


def refused_by_upstream(status: int, words: str | None) -> Refusal:
    """Say an upstream's own refusal of a request in another dialect than it was given in."""
    said = f": {words}" if words else "."
    if status == 413:
        return BodyTooLarge(f"The upstream takes no request as long as this{said}")
    return InvalidRequest(f"The upstream refused the request (status {status}){said}", code=f"upstream_{status}")


def not_ready(version: Version) -> Refusal:
    """Say that the embedded engine cannot be asked yet."""
    return UpstreamFailed(
        f"The embedded engine is not ready yet, and {version.name} runs there. Try again in a few seconds.",
        code="engine_not_ready",
        retry_after=2,
    )
