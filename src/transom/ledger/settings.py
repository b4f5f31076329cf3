"""`[ledger]` of `transom.toml`."""

from typing import Annotated, Literal

import msgspec

from transom.ledger.keys import DEFAULT_ORIGIN


class LedgerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The log's name and pace. Read at start; the origin is fixed with the log's first key."""

    origin: str = DEFAULT_ORIGIN
    """A scheme-less URL under which outsiders find the log (C2SP tlog-checkpoint)."""
    interval_seconds: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.25
    """How often what became durable is sequenced and signed."""
    receipts: Literal["asked", "always"] = "asked"
    """Which answers carry a receipt: those whose caller asked for one, or all."""
    promise_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 60
    """How long after a receipt was signed the log may take until it holds what it promises."""
