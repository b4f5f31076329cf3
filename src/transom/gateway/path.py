"""The path of one request: the steps of docs/architecture.md, in order. Everything that is answered passes here."""

import asyncio
import time

from transom.decisions.record import Outcome, Record
from transom.dialects.translate import Dialect
from transom.gateway.apart import apart
from transom.gateway.bounds import check_model, check_network
from transom.gateway.exchange import Exchange
from transom.gateway.meter import Meter
from transom.gateway.promise import expect, hand_over
from transom.gateway.refuse import end, permit, stands, still_stands
from transom.gateway.request import Request
from transom.gateway.route.permits import rule_on
from transom.gateway.route.refusals import refused_by_upstream
from transom.gateway.routing import send_along
from transom.gateway.running import Door
from transom.gateway.stream import about, relay_stream
from transom.safeguards.interface import refuse_blocked
from transom.upstreams.response import Response
from transom.values import Context

_PASSED_ON = frozenset((b"content-type", b"retry-after", b"x-request-id"))
"""Headers of an upstream's answer that mean something to its caller."""


async def answer(door: Door, request: Request, dialect: Dialect) -> None:
    """Answer one request, or refuse it, on the record either way.

    Raises `Unidentified` alone: who cannot be identified has no decision of their own.
    """
    running = door.running  # one reading of the declared files for the whole request, whatever is reloaded meanwhile
    # 1. callers: who asks. Before the body, so that strangers cannot make us read it.
    caller = await door.identify(request.secrets)
    record = door.decisions.begin(caller, dialect.ACTION)
    expect(door, request, record)
    outcome = Outcome("failed")
    response: Response | None = None
    meter = Meter(running, record)
    began = 0.0
    try:
        stands(caller)
        check_network(caller, request.peer)
        # 2. dialects: what is asked.
        body = await request.body(door.server.max_body_bytes, door.server.body_seconds)
        record.prompt = body  # also where it cannot be read: its caller may want to prove what they sent
        call = await apart(len(body), dialect.read, body)
        record.stream = call.stream
        # 3. registry: of which version.
        record.version = version = running.registry.resolve_for(call.model, dialect.KIND)
        record.resource = version.resource
        check_model(caller, version.resource)
        # 4. policy: whether they may.
        context = Context(stream=call.stream, loopback=request.loopback)
        record.ruling = rule_on(running, caller, dialect.ACTION, version, context)
        permit(record, running.policies)
        # 5. metering: whether there is any left.
        await meter.admit(call, request)
        # 6. safeguards: whether the prompt may leave.
        safeguards = record.ruling.obligations.safeguards
        record.safeguards = running.safeguards.digest if safeguards else None
        record.verdicts = await apart(len(body), running.safeguards.check_prompt, safeguards, call)
        refuse_blocked(record.verdicts)
        # 7. decisions: the durable write starts now and runs while the upstream works.
        door.decisions.open(record)
        request.watch()
        if record.holds:  # no upstream is asked before what it may cost is held
            await door.decisions.durable(record)
        # 8. routing: along the route, until one answers.
        began = time.perf_counter()
        exchange = Exchange(dialect, call, request.passed_on, counted=meter.counts_money)
        spoken, response = await send_along(running, record, context, exchange, outcome)
        # 9. safeguards: answers are not checked, and the record says so.
        outcome.verdicts = running.safeguards.skip_answer(safeguards)
        # 10. durable: then, and only then, the first byte may leave.
        relay = relay_stream if call.stream and response.status == 200 and _is_stream(response) else _relay_whole
        await relay(door, request, record, outcome, exchange, spoken, response)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - `end` sorts every end there is
        await end(door, request, record, outcome, error)
    finally:
        # 11. close: whatever came of it.
        request.unwatch()
        if response is not None:
            outcome.upstream_seconds = time.perf_counter() - began  # whoever left, it worked until now
            response.abort()
        await _close(door, meter, record, outcome)


async def _close(door: Door, meter: Meter, record: Record, outcome: Outcome) -> None:
    """Charge what was used, and record what came of it even where the charging is cut short."""
    try:
        await meter.settle(outcome)
    finally:
        door.decisions.close(record, outcome)


async def _relay_whole(
    door: Door,
    request: Request,
    record: Record,
    outcome: Outcome,
    exchange: Exchange,
    spoken: Dialect,
    response: Response,
) -> None:
    """Hand over a plain answer: an upstream's own refusal of the request goes through as it is, if it can be read."""
    body = await response.read(door.server.max_answer_bytes)
    headers = [header for header in response.headers if header[0] in _PASSED_ON]
    if response.status == 200:
        body, facts = await apart(len(body), exchange.answer, spoken, body)
        outcome.status, outcome.model, outcome.usage = "answered", facts.model, facts.usage
        if exchange.recall is not None:
            exchange.recall.settle(outcome, body)
    elif spoken.NAME == exchange.dialect.NAME:
        outcome.reason = f"upstream_{response.status}"
    else:
        raise refused_by_upstream(response.status, spoken.read_error(body))
    outcome.answer, outcome.complete, outcome.http_status = body, True, response.status
    outcome.ended = True
    await door.decisions.durable(record)
    await still_stands(door, record.caller)
    hand_over(door, request, record, outcome)
    await request.respond(response.status, [*headers, *about(record, outcome, exchange)], body)


def _is_stream(response: Response) -> bool:
    kind = next((value for name, value in response.headers if name == b"content-type"), b"")
    return kind.startswith(b"text/event-stream")
