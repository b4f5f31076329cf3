"""A streamed answer, event by event, as the upstream gives it."""

from functools import lru_cache
from urllib.parse import quote

from transom.decisions.record import Outcome, Record
from transom.dialects.translate import Dialect
from transom.errors import Refusal, UpstreamFailed
from transom.gateway.exchange import Exchange, Passing
from transom.gateway.promise import hand_over
from transom.gateway.refuse import still_stands
from transom.gateway.request import Request
from transom.gateway.route.refusals import refusal_of
from transom.gateway.running import Door
from transom.upstreams.errors import UpstreamError
from transom.upstreams.response import Response


async def relay_stream(
    door: Door,
    request: Request,
    record: Record,
    outcome: Outcome,
    exchange: Exchange,
    spoken: Dialect,
    response: Response,
) -> None:
    """Hand over server-sent events, in the caller's dialect; say so, to client and record, where they end too soon.

    A client's library takes a stream that merely stops for a whole answer. So a cut stream ends with an error event;
    and half an event never leaves, because a library would fail on it before it came to the error.
    """
    chunk = await response.next()
    await door.decisions.durable(record)
    await still_stands(door, record.caller)
    hand_over(door, request, record, outcome)  # of the question alone: the answer is yet to come
    outcome.http_status = 200
    passing = exchange.stream(spoken)
    headers = [header for header in response.headers if header[0] == b"x-request-id"]
    headers += [
        (b"content-type", passing.content_type),
        (b"cache-control", b"no-cache"),
        *about(record, outcome, exchange),
    ]
    await request.start(200, headers)
    sent: list[bytes] = []
    rest = b""
    failure: Refusal | None = None
    over = False
    try:
        await _pass_on(request, response, chunk, passing, sent, door.server.max_answer_bytes)
        over = True
    except UpstreamError as error:
        assert record.version is not None
        failure = refusal_of(error, record.version)
    except UpstreamFailed as error:
        failure = error
    finally:
        answer = b"".join(sent)
        rest, facts = passing.end(answer)
        outcome.answer = answer + rest
        outcome.complete, outcome.model, outcome.usage = facts.complete, facts.model, facts.usage
        outcome.ended = over or (facts.complete and not facts.more)
        outcome.handed_over = not rest and (facts.complete or facts.failed)
    if failure is None and not (facts.complete or facts.failed):
        failure = passing.failure()
    if failure is not None:
        outcome.reason = failure.code
        ending = rest + exchange.dialect.stream_error(failure, record.id, begun=bool(answer + rest))
        outcome.answer = answer + ending  # every byte that the caller was sent
        await request.write(ending, more=False)
        return
    if facts.failed:
        outcome.reason = "upstream_error_event"
    else:
        outcome.status = "answered"
    await request.write(rest, more=False)


def about(record: Record, outcome: Outcome, exchange: Exchange) -> list[tuple[bytes, bytes]]:
    """Return the headers that tell of the decision, who answered, and what they were not told."""
    headers = [(b"transom-decision", record.id.encode())]
    version = outcome.version or record.version
    if version is not None and outcome.upstream is not None:
        headers += [(b"transom-model", _said(version.name)), (b"transom-upstream", _said(outcome.upstream))]
    if exchange.recall is not None:
        headers.append((b"transom-cache", b"hit" if exchange.recall.hit else b"miss"))
    if exchange.untold:
        headers.append((b"transom-not-carried", ", ".join(exchange.untold).encode("ascii", "replace")[:2000]))
    return headers


@lru_cache(1024)
def _said(name: str) -> bytes:
    """Return a declared name as a header can hold it."""
    return quote(name, safe="@/:+ ").encode()


async def _pass_on(
    request: Request, response: Response, chunk: bytes, passing: Passing, sent: list[bytes], limit: int
) -> None:
    """Send events as they become whole. Raises `UpstreamFailed` past `limit` bytes of the upstream's."""
    size = 0
    while chunk:
        is_first = size == 0
        size += len(chunk)
        if size > limit:
            response.abort()
            raise UpstreamFailed("The answer is longer than this door takes. Ask for less.", code="answer_too_long")
        whole = passing.feed(chunk)
        if whole:
            sent.append(whole)
        if whole or is_first:  # the answer's head waits for what follows it: it must not wait for words
            await request.write(whole, more=True)
        chunk = await response.next()
