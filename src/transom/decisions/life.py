r"""A decision's life, as a table. Every transition there is stands here.

    (nothing) --open--> open --close--> answered | blocked | refused | failed | abandoned
                         \--recover--> interrupted

A refusal opens and closes in one write. `interrupted` is what a restart finds: its process died in between.
"""

from collections.abc import Mapping
from typing import Final

from transom.errors import Blocked, Refusal
from transom.values import Status

STATUSES: Final[Mapping[Status, str]] = {
    "answered": "the whole answer was handed over",
    "blocked": "a safeguard blocked it",
    "refused": "it was refused before any upstream was asked",
    "failed": "an upstream, or Transom itself, failed",
    "abandoned": "the caller went away before the answer was whole",
    "interrupted": "Transom died in between; found at the next start",
}
"""What each end means, in words for a person."""


def status_of(refusal: Refusal, *, asked_upstream: bool) -> Status:
    """Name the end that a refusal makes: what was asked of an upstream and refused has failed."""
    if isinstance(refusal, Blocked):
        return "blocked"
    return "failed" if asked_upstream or refusal.status >= 500 else "refused"
