"""The stream of news behind the first page: server-sent events (WHATWG HTML, section 9.2)."""

import asyncio
import time
from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse

from transom.console import state
from transom.console.feed import News
from transom.console.site import Visit
from transom.errors import StorageError

_QUIET_SECONDS = 15.0
"""After so long without news, a comment keeps proxies from closing the stream."""
_STATE_SECONDS = 1.0


async def events(visit: Visit) -> Response:
    """Open a stream: new decisions as rows, and the door's state when it changes."""
    every = visit.request.query_params.get("show") == "all"
    last = visit.request.headers.get("last-event-id", "")
    after = int(last) if last.isascii() and last.isdecimal() and len(last) < 19 else visit.number("after")
    return StreamingResponse(_stream(visit, after, every), media_type="text/event-stream")


async def _stream(visit: Visit, after: int | None, every: bool) -> AsyncIterator[str]:  # noqa: FBT001 - what the page shows, once
    feed = visit.site.feed
    shown = ""
    looked = spoke = 0.0
    async with feed.listen() as queue:
        yield "retry: 2000\n\n"
        try:
            news: News | None = None if after is None else await feed.since(after)
        except StorageError:
            news = None
        while _stands(visit):
            if news is not None:
                now = time.monotonic()
                said = _decisions(visit, news, every)
                if now - looked >= _STATE_SECONDS:
                    looked, panel = now, _panel(visit, news)
                    said += _event("state", panel) if panel != shown else ""
                    shown = panel
                if said:
                    spoke = now
                    yield said
                elif now - spoke > _QUIET_SECONDS:
                    spoke = now
                    yield ": still here\n\n"
            news = await _next(queue, visit)


async def _next(queue: asyncio.Queue[News], visit: Visit) -> News | None:
    """Wait for news, but not for longer than it may take to notice that the stream must end."""
    stopping = visit.site.door.stopping
    waits = {asyncio.ensure_future(queue.get()), asyncio.ensure_future(stopping.wait())}
    done, rest = await asyncio.wait(waits, timeout=_QUIET_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    for each in rest:
        each.cancel()
    return next((found for each in done if isinstance(found := each.result(), News)), None)


def _stands(visit: Visit) -> bool:
    """Say whether the listener may go on: key, session, policy, and this process."""
    door, session = visit.site.door, visit.session
    return (
        session is not None
        and time.time() < session.expires
        and door.keyring.refusal(visit.caller) is None
        and visit.may("read_decisions", flagged=visit.only_flagged)
        and not door.stopping.is_set()
    )


def _decisions(visit: Visit, news: News, every: bool) -> str:  # noqa: FBT001 - as above
    rows = [row for row in news.rows if (every or row.answer) and (row.flagged or not visit.only_flagged)]
    if not rows:
        return ""
    return _event("decisions", visit.render("rows.html", rows=rows), news.newest)


def _panel(visit: Visit, news: News) -> str:
    door = state.door_state(visit.site, news.ledger_size)
    return visit.render("panel.html", door=door, models=state.models(visit))


def _event(name: str, data: str, id_: int | None = None) -> str:
    lines = "".join(f"data: {line}\n" for line in data.splitlines() if line.strip())
    number = "" if id_ is None else f"id: {id_}\n"
    return f"event: {name}\n{number}{lines}\n"
