"""How a request ends that was not simply answered: each way once, on the record, in the dialect's own error shape."""

import asyncio
import logging

from transom.decisions.life import status_of
from transom.decisions.record import Outcome, Record
from transom.decisions.writer import KeyNoLongerStandsError
from transom.errors import Forbidden, Internal, LedgerError, NotDurable, Refusal, StorageError, Unidentified
from transom.gateway.promise import hand_over
from transom.gateway.request import ClientGoneError, Request
from transom.gateway.route.refusals import refusal_of
from transom.gateway.running import Door
from transom.policy.explain import refusal as ruling_text
from transom.policy.ruling import Policies
from transom.upstreams.errors import UpstreamError
from transom.values import Caller, Version

_READINGS = 5
_log = logging.getLogger("transom.gateway")


def stands(caller: Caller) -> None:
    """Raise `Unidentified` where the caller's key was one of ours and no longer opens anything."""
    if caller.refusal is not None:
        raise no_longer_stands(caller.refusal)


async def still_stands(door: Door, caller: Caller) -> None:
    """Raise `Unidentified` where the caller's key was revoked or replaced meanwhile. No wait lies behind this.

    The decision is durable then, so the group commit has not seen it. Whoever revokes waits `REVOKED_SECONDS` before
    they say that it is done; that is why a reading that is not stale is enough. Raises `NotDurable` where the keys
    cannot be read.
    """
    for _ in range(_READINGS):
        if not door.keyring.stale:
            break
        await door.reread_keys()
    else:
        raise NotDurable(
            "The keys cannot be read fast enough, so no answer may leave. Try again shortly.", retry_after=1
        )
    why = door.keyring.refusal(caller)
    if why is not None:
        raise no_longer_stands(why)


def no_longer_stands(why: str) -> Unidentified:
    """Say that a key was revoked or replaced, or has expired; or that a provider's subject is blocked."""
    if why == "blocked":
        return Unidentified("You are blocked at this door. Ask an operator.", code="caller_blocked")
    return Unidentified(f"This key is {why}. Ask an operator for a new one.", code=f"key_{why}")


def permit(record: Record, policies: Policies, unseen: Refusal | None = None) -> None:
    """Raise `unseen`, else `Forbidden`, which names the policies, where the record's ruling forbids."""
    ruling = record.ruling
    if ruling is not None and ruling.effect == "forbid":
        if unseen is not None:
            raise unseen
        text = ruling_text(ruling, policies, record.caller, record.action, record.resource)
        raise Forbidden(f"Refused: {text}", policies=ruling.policies)


async def end(door: Door, request: Request, record: Record, outcome: Outcome, error: BaseException) -> None:
    """Bring a request that raised `error` to its end: tell the client, if there is one, and complete the outcome.

    A cancellation that is not the client's leaving is raised again: the server is going down.
    """
    if isinstance(error, asyncio.CancelledError | ClientGoneError):
        _gone(request, outcome, error)
        return
    request.unwatch()
    await _refuse(door, request, record, outcome, error)


def _gone(request: Request, outcome: Outcome, error: BaseException) -> None:
    if isinstance(error, asyncio.CancelledError):
        if not request.gone:
            outcome.status, outcome.reason = "interrupted", "shutdown"
            raise error
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
    if outcome.handed_over:
        # Clients close as soon as they have read the end, which may be before the upstream closes.
        outcome.status = "answered" if outcome.complete else "failed"
        outcome.reason = None if outcome.complete else "upstream_error_event"
    else:
        outcome.status, outcome.reason = "abandoned", "client_gone"


def to_refusal(error: BaseException, what: str, version: Version | None = None) -> Refusal:
    """Say what an error means to a caller. Only what is listed in the error tree reaches a client with its text.

    `what` names the request in the log: its decision, or its route where there is none.
    """
    if isinstance(error, Refusal):
        return error
    if isinstance(error, KeyNoLongerStandsError):
        return no_longer_stands(str(error))
    if isinstance(error, UpstreamError) and version is not None:
        return refusal_of(error, version)
    if isinstance(error, StorageError):
        _log.warning("%s: %s", what, error)
        text = "What was asked for cannot be read now. Try again shortly."
        return NotDurable(text, code="not_readable", retry_after=1)
    if isinstance(error, LedgerError):
        _log.error("%s: %s", what, error)
        return Internal("The record is not as it must be. Run `transom ledger verify` on the door's machine.")
    _log.error("%s failed within", what, exc_info=error)
    return Internal("Something failed within Transom. The operator finds it in the log.")


async def _refuse(door: Door, request: Request, record: Record, outcome: Outcome, error: BaseException) -> None:
    if not request.started:
        # What an upstream may have answered does not leave; it is not kept.
        outcome.answer, outcome.complete = None, False
    refusal = await recorded_refusal(door, record, outcome, error)
    if request.started:
        words = request.dialect.stream_error(refusal, record.id, begun=bool(outcome.answer))
        outcome.answer = (outcome.answer or b"") + words
        await request.write(words, more=True)
        await request.write(b"", more=False)
    else:
        if not isinstance(refusal, NotDurable):  # which the log may never hold
            hand_over(door, request, record, outcome)
        await send_refusal(request, refusal, record.id)


async def recorded_refusal(door: Door, record: Record, outcome: Outcome, error: BaseException) -> Refusal:
    """Turn what was raised into what its caller is told, durable before it leaves."""
    if isinstance(error, KeyNoLongerStandsError):
        # Nothing of this decision was written; its refusal is written instead, under the same id.
        record.opening = None
    refusal = to_refusal(error, f"decision {record.id}", record.version)
    _describe(outcome, refusal)
    try:
        if record.opening is None:
            await door.decisions.refuse(record, outcome)
        else:
            await door.decisions.durable(record)
    except KeyNoLongerStandsError as revoked:
        return await recorded_refusal(door, record, outcome, revoked)
    except NotDurable as late:
        # What could not be written stays in line and is written when it can be: a refusal as it was ruled, since what
        # the caller is told instead says nothing of the request.
        _describe(outcome, late)
        return late
    return refusal


def _describe(outcome: Outcome, refusal: Refusal) -> None:
    outcome.status = status_of(refusal, asked_upstream=bool(outcome.attempts))
    outcome.reason, outcome.http_status = refusal.code or refusal.type, refusal.status


async def send_refusal(request: Request, refusal: Refusal, decision: str | None) -> None:
    """Send a refusal in the client's own error shape."""
    headers = [(b"content-type", b"application/json")]
    if decision is not None:
        headers.append((b"transom-decision", decision.encode()))
    if refusal.retry_after is not None:
        headers.append((b"retry-after", b"%d" % refusal.retry_after))
    if refusal.allow is not None:
        headers.append((b"allow", refusal.allow.encode()))
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refusal.status == 408:
        headers.append((b"connection", b"close"))
    await request.respond(refusal.status, headers, request.dialect.error(refusal, decision))
