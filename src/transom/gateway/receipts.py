"""Receipts and proofs, read after the answer has left."""

import asyncio
import re
from typing import Final

from transom.decisions.receipts import Held
from transom.errors import NotFound
from transom.gateway.reads import ruled
from transom.gateway.request import Request
from transom.gateway.running import Door
from transom.values import DecisionId

_PATH: Final = re.compile(
    r"/receipts/(?P<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?P<proof>\.tlog-proof)?", re.ASCII
)
_READINGS: Final = 10
_PAUSE_SECONDS: Final = 0.05
"""An outcome is on record a moment after the answer's last byte, and who asks for its receipt may be faster."""


async def read_receipt(door: Door, request: Request) -> None:
    """Answer with a decision's receipt, or with its proof: to its own caller, and to whom policy lets see others'."""
    caller = await door.identify(request.secrets)
    asked = _PATH.fullmatch(request.path)
    held = None if asked is None else await _closed(door, DecisionId(asked["id"]))
    own = held is not None and held.decision.by == caller.pseudonym
    unseen = None if own else _unknown()
    async with ruled(door, caller, "read_receipt", peer=request.peer, own=own, unseen=unseen) as record:
        if asked is None or held is None:
            raise _unknown()
        body = await (_proof if asked["proof"] else _receipt)(door, held, own=own)
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"cache-control", b"private, no-store"),
        (b"transom-decision", record.id.encode()),
    ]
    await request.respond(200, headers, body.encode())


async def _closed(door: Door, decision: DecisionId) -> Held | None:
    """Read what is on record of a decision, giving its outcome half a second to get there."""
    for _ in range(_READINGS):
        held = await door.database.run(lambda connection: door.receipts.held(connection, decision))
        if held is None or held.outcome is not None:
            break
        await asyncio.sleep(_PAUSE_SECONDS)
    return held


async def _receipt(door: Door, held: Held, *, own: bool) -> str:
    found = await door.database.run(lambda connection: door.receipts.of_held(connection, held, salts=own))
    return found.text


async def _proof(door: Door, held: Held, *, own: bool) -> str:
    found = await door.database.run(lambda connection: door.receipts.prove(connection, held, salts=own))
    if found is None:
        raise NotFound(
            "The log does not hold all of this decision yet. The next checkpoint takes it in: try again in a second.",
            code="not_in_the_log_yet",
            retry_after=1,
        )
    return found.text


def _unknown() -> NotFound:
    return NotFound(
        "You have no decision of this id. It stands in an answer's `transom-decision` header; its receipt is at "
        "/receipts/ID, its proof at /receipts/ID.tlog-proof.",
        code="decision_not_found",
    )
