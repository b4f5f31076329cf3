"""Whatever is shown and is no answer of a model: the same identification, ruling and record."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from transom.decisions.record import Outcome, Record
from transom.decisions.writer import KeyNoLongerStandsError
from transom.errors import NotDurable, Refusal, StorageError
from transom.gateway.refuse import no_longer_stands, permit, record_refusal, stands
from transom.gateway.request import Request
from transom.gateway.running import NOBODY, Door
from transom.values import DOOR, Caller, Context, Resource


@asynccontextmanager
async def ruled(
    door: Door, caller: Caller, action: str, *, loopback: bool, resource: Resource = DOOR
) -> AsyncIterator[Record]:
    """Rule on `action` and make the decision durable; the block then shows what was asked for; then close it.

    A refusal, the ruling's or one that the block raises, is durable before it is raised on, with its decision's id.
    """
    record = door.decisions.begin(caller, action)
    record.resource = resource
    outcome = Outcome("failed")
    try:
        stands(caller)
        record.ruling = door.running.policies.rule(caller, action, resource, Context(loopback=loopback))
        permit(record, door.running.policies)
        door.decisions.open(record)
        await door.decisions.durable(record)
        yield record
        outcome.status, outcome.http_status = "answered", 200
    except Refusal as refusal:
        raise await _recorded(door, record, outcome, refusal) from refusal
    except StorageError as error:
        text = "What was asked for cannot be read now. Try again shortly."
        unread = NotDurable(text, code="not_readable", retry_after=1)
        raise await _recorded(door, record, outcome, unread) from error
    except KeyNoLongerStandsError as error:
        record.opening = None
        raise await _recorded(door, record, outcome, no_longer_stands(str(error))) from error
    finally:
        door.decisions.close(record, outcome)


@asynccontextmanager
async def open_read(door: Door, request: Request, action: str) -> AsyncIterator[list[tuple[bytes, bytes]]]:
    """Rule on a read that policy may leave open to anyone; gives the header that names the decision, if there is one.

    Who sends no key and needs none is counted, not recorded one by one: else anybody could make the log grow.
    """
    if request.secret is None:
        ruling = door.running.policies.rule(NOBODY, action, DOOR, Context(loopback=request.loopback))
        if ruling.effect == "permit":
            door.anonymous_reads[action] += 1
            yield []
            return
    async with ruled(door, await door.identify(request.secret), action, loopback=request.loopback) as record:
        yield [(b"transom-decision", record.id.encode())]


async def _recorded(door: Door, record: Record, outcome: Outcome, refusal: Refusal) -> Refusal:
    refusal = await record_refusal(door, record, outcome, refusal)
    refusal.decision = record.id
    return refusal
