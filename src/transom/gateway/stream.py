"""A streamed answer, chunk by chunk, as the upstream gives it."""

from transom.decisions.record import Outcome, Record
from transom.dialects.errors import openai_stream_error
from transom.dialects.interface import Dialect
from transom.errors import Refusal, UpstreamFailed
from transom.gateway.refuse import still_stands
from transom.gateway.request import Request
from transom.gateway.routing import refusal_of
from transom.gateway.running import Door
from transom.upstreams.errors import UpstreamError
from transom.upstreams.response import Response


async def relay_stream(
    door: Door, request: Request, record: Record, outcome: Outcome, dialect: Dialect, response: Response
) -> None:
    """Hand over server-sent events untouched; say so, to the client and on the record, where they end too soon.

    A client's library takes a stream that merely stops for a whole answer. So a cut stream ends with an error event.
    """
    chunk = await response.next()
    await door.decisions.durable(record)
    await still_stands(door, record.caller)
    outcome.http_status = 200
    headers = [header for header in response.headers if header[0] in (b"content-type", b"x-request-id")]
    headers += [(b"cache-control", b"no-cache"), (b"transom-decision", record.id.encode())]
    await request.start(200, headers)
    received: list[bytes] = []
    failure: Refusal | None = None
    try:
        failure = await _pass_on(request, response, chunk, received, door.server.max_answer_bytes)
    except UpstreamError as error:
        assert record.version is not None
        failure = refusal_of(error, record.version)
    finally:
        outcome.answer = b"".join(received)
        facts = dialect.read_stream(outcome.answer)
        outcome.model, outcome.usage = facts.model, facts.usage
    outcome.complete = facts.complete
    if failure is None and facts.failed:
        outcome.reason = "upstream_error_event"
    elif failure is None and not facts.complete:
        failure = UpstreamFailed(
            "The upstream's answer broke off before its end. What came so far is incomplete. Try again.",
            code="upstream_truncated",
        )
    if failure is not None:
        outcome.reason = failure.code
        await request.write(openai_stream_error(failure, record.id), more=True)
    elif not facts.failed:
        outcome.status = "answered"
    await request.write(b"", more=False)


async def _pass_on(
    request: Request, response: Response, chunk: bytes, received: list[bytes], limit: int
) -> Refusal | None:
    size = 0
    while chunk:
        size += len(chunk)
        if size > limit:
            response.abort()
            return UpstreamFailed("The answer is longer than this door takes. Ask for less.", code="answer_too_long")
        received.append(chunk)
        await request.write(chunk, more=True)
        chunk = await response.next()
    return None
