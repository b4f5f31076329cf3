"""Whatever is shown and is no answer of a model: the same identification, ruling and record."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from transom.decisions.record import Outcome, Record
from transom.errors import Refusal
from transom.gateway.bounds import check_model, check_network
from transom.gateway.refuse import permit, recorded_refusal, stands, still_stands
from transom.gateway.request import ClientGoneError, Request, is_loopback
from transom.gateway.running import NOBODY, Door
from transom.values import DOOR, Caller, Context, Resource


@asynccontextmanager
async def ruled(
    door: Door,
    caller: Caller,
    action: str,
    *,
    peer: str | None,
    resource: Resource = DOOR,
    flagged: bool = False,
    own: bool = False,
    unseen: Refusal | None = None,
) -> AsyncIterator[Record]:
    """Rule on `action`, asked from `peer`; make the decision durable; let the block make what was asked for; close it.

    `flagged` and `own` are policy's (`values.Context`); `unseen` is said, where policy forbids, of what the caller may
    not even know to exist. What the block made may be sent once it is left, not within it: the caller's key is looked
    at again at its end.
    Raises `Refusal`, durable and with its decision's id, whatever it was that the ruling or the block raised.
    """
    record = door.decisions.begin(caller, action)
    record.resource = resource
    outcome = Outcome("failed")
    try:
        stands(caller)
        check_network(caller, peer)
        check_model(caller, resource)
        context = Context(loopback=is_loopback(peer), flagged=flagged, own=own)
        record.ruling = door.running.policies.rule(caller, action, resource, context)
        permit(record, door.running.policies, unseen)
        door.decisions.open(record)
        await door.decisions.durable(record)
        yield record
        if not record.gave_up_key:
            await still_stands(door, caller)
        outcome.status, outcome.http_status = "answered", 200
    except ClientGoneError:
        outcome.status, outcome.reason = "abandoned", "client_gone"
        raise
    except Exception as error:
        refusal = await recorded_refusal(door, record, outcome, error)
        refusal.decision = record.id
        raise refusal from error
    finally:
        door.decisions.close(record, outcome)


@asynccontextmanager
async def open_read(
    door: Door, request: Request, action: str, *, count: bool = True
) -> AsyncIterator[list[tuple[bytes, bytes]]]:
    """Rule on a read that policy may leave open to anyone; gives the header that names the decision, if there is one.

    Who sends no key and needs none is counted, not recorded one by one: else anybody could make the log grow. Without
    `count` the block does that. As with `ruled`, it makes what is sent after it.
    """
    if not request.secrets:
        ruling = door.running.policies.rule(NOBODY, action, DOOR, Context(loopback=request.loopback))
        if ruling.effect == "permit":
            door.anonymous_reads[action] += count
            yield []
            return
    async with ruled(door, await door.identify(request.secrets), action, peer=request.peer) as record:
        yield [(b"transom-decision", record.id.encode())]
