"""The path of one request: the steps of docs/architecture.md, in order. Everything that is answered passes here."""

import asyncio
import time

from transom.decisions.record import Outcome, Record
from transom.dialects.interface import Dialect
from transom.errors import UpstreamFailed
from transom.gateway.refuse import end, permit, stands, still_stands
from transom.gateway.request import Request
from transom.gateway.routing import send_along
from transom.gateway.running import Door
from transom.gateway.stream import relay_stream
from transom.metering.prices import cost
from transom.safeguards.interface import refuse_blocked
from transom.upstreams.response import Response
from transom.values import Context, Version

_PASSED_ON = frozenset((b"content-type", b"retry-after", b"x-request-id"))
"""Headers of an upstream's answer that mean something to its caller."""


async def answer(door: Door, request: Request, dialect: Dialect) -> None:
    """Answer one request, or refuse it, on the record either way.

    Raises `Unidentified` alone: who cannot be identified has no decision of their own.
    """
    running = door.running  # one reading of the declared files for the whole request, whatever is reloaded meanwhile
    # 1. callers: who asks. Before the body, so that strangers cannot make us read it.
    caller = await door.identify(request.secret)
    record = door.decisions.begin(caller, dialect.ACTION)
    outcome = Outcome("failed")
    response: Response | None = None
    try:
        stands(caller)
        # 2. dialects: what is asked.
        call = dialect.read(await request.body(door.server.max_body_bytes, door.server.body_seconds))
        record.prompt, record.stream = call.body, call.stream
        # 3. registry: of which version.
        record.version = version = running.registry.resolve_for(call.model, dialect.KIND)
        record.resource = version.resource
        # 4. policy: whether they may.
        context = Context(stream=call.stream, loopback=request.loopback)
        record.ruling = running.policies.rule(caller, dialect.ACTION, version.resource, context)
        permit(record, running.policies)
        # 5. metering: whether there is any left.
        running.rates.admit(caller)
        # 6. safeguards: whether the prompt may leave.
        safeguards = record.ruling.obligations.safeguards
        record.verdicts = running.safeguards.check_prompt(safeguards, call)
        refuse_blocked(record.verdicts)
        # 7. decisions: the durable write starts now and runs while the upstream works.
        door.decisions.open(record)
        request.watch()
        # 8. routing: along the route, until one answers.
        began = time.perf_counter()
        upstream, response = await send_along(running, version, call, dialect, outcome.attempts)
        outcome.upstream = upstream.name
        # 9. safeguards: answers are not checked, and the record says so.
        outcome.verdicts = running.safeguards.skip_answer(safeguards)
        # 10. durable: then, and only then, the first byte may leave.
        if call.stream and response.status == 200 and _content_type(response).startswith(b"text/event-stream"):
            await relay_stream(door, request, record, outcome, dialect, response)
        else:
            await _relay_whole(door, request, record, outcome, dialect, response)
        outcome.upstream_seconds = time.perf_counter() - began
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - `end` sorts every end there is
        await end(door, request, record, outcome, error)
    finally:
        # 11. close: whatever came of it.
        request.unwatch()
        if response is not None:
            response.abort()
        _settle(outcome, record.version)
        door.decisions.close(record, outcome)


async def _relay_whole(
    door: Door, request: Request, record: Record, outcome: Outcome, dialect: Dialect, response: Response
) -> None:
    """Hand over a plain answer: an upstream's own refusal of the request goes through as it is."""
    body = await response.read(door.server.max_answer_bytes)
    if response.status == 200:
        facts = dialect.read_answer(body)
        if not facts.complete:
            raise UpstreamFailed("The upstream's answer is not what it was asked for. Try again, or ask another model.")
        outcome.status, outcome.model, outcome.usage = "answered", facts.model, facts.usage
    else:
        outcome.reason = f"upstream_{response.status}"
    outcome.answer, outcome.complete, outcome.http_status = body, True, response.status
    await door.decisions.durable(record)
    await still_stands(door, record.caller)
    headers = [header for header in response.headers if header[0] in _PASSED_ON]
    headers.append((b"transom-decision", record.id.encode()))
    await request.respond(response.status, headers, body)


def _content_type(response: Response) -> bytes:
    return next((value for name, value in response.headers if name == b"content-type"), b"")


def _settle(outcome: Outcome, version: Version | None) -> None:
    """Price what was used."""
    if version is None or version.price is None:
        return
    outcome.cost = cost(outcome.usage, version.price)
    outcome.currency, outcome.prices = version.price.currency, version.digest
