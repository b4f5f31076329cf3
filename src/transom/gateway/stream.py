"""A streamed answer, event by event, as the upstream gives it."""

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
from transom.upstreams.sse import WholeEvents


async def relay_stream(
    door: Door, request: Request, record: Record, outcome: Outcome, dialect: Dialect, response: Response
) -> None:
    """Hand over server-sent events untouched; say so, to the client and on the record, where they end too soon.

    A client's library takes a stream that merely stops for a whole answer. So a cut stream ends with an error event;
    and half an event never leaves, because a library would fail on it before it came to the error.
    """
    chunk = await response.next()
    await door.decisions.durable(record)
    await still_stands(door, record.caller)
    outcome.http_status = 200
    headers = [header for header in response.headers if header[0] in (b"content-type", b"x-request-id")]
    headers += [(b"cache-control", b"no-cache"), (b"transom-decision", record.id.encode())]
    await request.start(200, headers)
    sent: list[bytes] = []
    rest = b""
    failure: Refusal | None = None
    try:
        rest = await _pass_on(request, response, chunk, sent, door.server.max_answer_bytes)
    except UpstreamError as error:
        assert record.version is not None
        failure = refusal_of(error, record.version)
    except UpstreamFailed as error:
        failure = error
    finally:
        answer = b"".join(sent)
        facts = dialect.read_stream(answer + rest)
        ended = facts.complete or facts.failed
        # Where the answer did end, what is left lacks its blank line and nothing else: it goes out as it came.
        outcome.answer = answer + rest if ended else answer
        outcome.complete, outcome.model, outcome.usage = facts.complete, facts.model, facts.usage
    if failure is None and not ended:
        failure = UpstreamFailed(
            "The upstream's answer broke off before its end. What came so far is incomplete. Try again.",
            code="upstream_truncated",
        )
    if failure is not None:
        outcome.reason = failure.code
        await request.write(openai_stream_error(failure, record.id), more=False)
        return
    if facts.failed:
        outcome.reason = "upstream_error_event"
    else:
        outcome.status = "answered"
    await request.write(rest, more=False)


async def _pass_on(request: Request, response: Response, chunk: bytes, sent: list[bytes], limit: int) -> bytes:
    """Send events as they become whole; give what is left at the stream's end. Raises `UpstreamFailed` past `limit`."""
    events = WholeEvents()
    size = 0
    while chunk:
        size += len(chunk)
        if size > limit:
            response.abort()
            raise UpstreamFailed("The answer is longer than this door takes. Ask for less.", code="answer_too_long")
        whole = events.feed(chunk)
        if whole:
            sent.append(whole)
            await request.write(whole, more=True)
        chunk = await response.next()
    return events.rest
