"""This door as a witness for other logs: `POST /witness/add-checkpoint`, and what it has cosigned (C2SP tlog-witness).

No entry is written for a cosignature: two doors that witness each other would make each other's logs grow for ever.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection

from transom.errors import LedgerError, NotFound
from transom.gateway.reads import open_read
from transom.gateway.request import Request
from transom.gateway.running import Door
from transom.ledger import store
from transom.ledger.cosign import Cosigner
from transom.ledger.note import MAX_BYTES, Verifier
from transom.ledger.witness import AddCheckpoint, Verdict, judge, log_id, origin_of, parse_request

_MOST_BYTES: Final = MAX_BYTES + 4_096
"""A note, and 63 lines of proof before it."""
_TRIES: Final = 3
_NO_WITNESS: Final = "This door is no witness, or not for this log. Its operator names logs in [witness] logs."


class Witness:
    """Cosigns the checkpoints of `logs` (the keys of each, by its origin)."""

    def __init__(self, cosigner: Cosigner, logs: Mapping[str, Sequence[Verifier]]) -> None:
        self._cosigner = cosigner
        self._logs = logs
        self._origins = {log_id(origin): origin for origin in logs}

    def refusal(self, request: AddCheckpoint) -> Verdict | None:
        """Say why what no known log signed is refused; `None` for what must be judged by what was cosigned before."""
        verdict = judge(request, self._logs, None, self._cosigner, 0)
        return None if verdict.genuine else verdict

    def add(self, connection: Connection, request: AddCheckpoint) -> Verdict:
        """Judge a request, and keep what follows in this transaction: it must be committed before the answer leaves."""
        origin = origin_of(request)
        for _ in range(_TRIES):
            seen = store.last_seen(connection, origin)
            verdict = judge(request, self._logs, seen, self._cosigner, time.time_ns() // 1_000_000)
            if verdict.keep is None or store.swap_seen(connection, origin, seen, verdict.keep):
                return verdict
        raise LedgerError("Others have this log cosigned at the same moment. Try again.")

    def origin(self, path: str) -> str | None:
        """Give the log whose last cosigned checkpoint is asked for at `<SHA-256 of its origin>/checkpoint`."""
        name, _, what = path.partition("/")
        return self._origins.get(name) if what == "checkpoint" else None


async def add_checkpoint(door: Door, witness: Witness | None, request: Request) -> None:
    """Answer a request for a cosignature."""
    async with open_read(door, request, "witness", count=False) as headers:
        if witness is None:
            raise NotFound(_NO_WITNESS)
        body = await request.body(_MOST_BYTES, door.server.body_seconds)
        verdict = await _judged(door, witness, body)
        if not request.secrets and not verdict.genuine:
            # A log that is known by its signature is no stranger, and asks for every checkpoint of its own.
            door.anonymous_reads["witness"] += 1
    headers.append((b"content-type", verdict.content_type.encode()))
    await request.respond(verdict.status, headers, verdict.body.encode())


async def _judged(door: Door, witness: Witness, body: bytes) -> Verdict:
    try:
        # Apart from the event loop, since a request may be long; and strangers' without a look at the database, where
        # decisions wait to be written.
        asked, refusal = await asyncio.to_thread(_read, witness, body)
        if refusal is not None:
            return refusal
        # Committed on return: what is cosigned is kept before anybody sees that it is.
        return await door.database.run(lambda connection: witness.add(connection, asked), write=True)
    except LedgerError as error:
        return Verdict(400, f"{error}\n")


def _read(witness: Witness, body: bytes) -> tuple[AddCheckpoint, Verdict | None]:
    asked = parse_request(body)
    return asked, witness.refusal(asked)


async def show_witnessed(door: Door, witness: Witness | None, request: Request, path: str) -> None:
    """Show the last checkpoint of a log that was cosigned here, for monitors."""
    async with open_read(door, request, "witness") as headers:
        origin = None if witness is None else witness.origin(path)
        seen = None if origin is None else await door.database.run(lambda each: store.last_seen(each, origin))
        if seen is None:
            raise NotFound(_NO_WITNESS)
    headers += [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-cache")]
    await request.respond(200, headers, seen.note.encode())
