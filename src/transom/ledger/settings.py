"""`[ledger]` of `transom.toml`."""

from typing import Annotated

import msgspec

from transom.ledger.keys import DEFAULT_ORIGIN


class LedgerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The log's name and pace. Read at start; the origin is fixed with the log's first key."""

    origin: str = DEFAULT_ORIGIN
    """A scheme-less URL under which outsiders find the log (C2SP tlog-checkpoint)."""
    interval_seconds: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.25
    """How often what became durable is sequenced and signed."""
