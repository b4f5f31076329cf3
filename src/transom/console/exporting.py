"""Exports over HTTP: streamed while they are made, for as long as whoever asked for them may have them."""

import asyncio
from collections.abc import Iterator, Sequence

import msgspec
from starlette.responses import Response, StreamingResponse

from transom.audit.asking import FIELDS
from transom.audit.export import Source, choose, chosen_rows, found_rows, open_source
from transom.audit.exported import Row, json_lines
from transom.audit.looks import Look, read_why, record_look
from transom.audit.parquet import parquet
from transom.console import searching
from transom.console.site import Visit
from transom.errors import InvalidRequest
from transom.gateway.reads import ruled
from transom.gateway.request import ClientGoneError

_FORMATS = {"jsonl": (json_lines, "application/jsonl"), "parquet": (parquet, "application/vnd.apache.parquet")}


async def export(visit: Visit) -> Response:
    """Export what a search finds, every decision with its entries and their proofs against one checkpoint."""
    query = searching.read(visit)
    source = await _source(visit)
    return _stream(visit, source, found_rows(source, query))


async def export_with_content(visit: Visit) -> Response:
    """Export what a search finds with prompts and answers, to whoever says why they look."""
    why = read_why(visit.asked("reason"), visit.asked("note"))
    query = searching.read(visit)
    door, site = visit.site.door, visit.site
    # To export is one permission and to read what was said another: two rulings, two decisions on record.
    async with ruled(door, visit.caller, "read_content", peer=visit.peer) as record:
        source = await _source(visit)
        chosen = await asyncio.to_thread(choose, source, query)
        look = Look(
            by=visit.caller.pseudonym,
            decisions=chosen,
            why=why,
            via=record.id,
            retain_seconds=door.decisions.retain_seconds,
        )
        await door.database.run(lambda connection: record_look(connection, site.vault, look), write=True)
    opened = msgspec.structs.replace(source, vault=site.vault)
    return _stream(visit, opened, chosen_rows(opened, chosen))


async def _source(visit: Visit) -> Source:
    site = visit.site
    searched = {name: value for name in FIELDS if (value := visit.asked(name))}
    return await asyncio.to_thread(open_source, site.door.database, site.objects, site.keys, searched)


def _stream(visit: Visit, source: Source, pages: Iterator[Sequence[Row]]) -> Response:
    name = visit.asked("format") or "jsonl"
    if name not in _FORMATS:
        raise InvalidRequest(f"format is {name[:64]!r}. It is jsonl or parquet.", param="format")
    write, media_type = _FORMATS[name]
    body = write(source.header, _while_standing(visit, pages))
    headers = {"content-disposition": f'attachment; filename="transom-decisions.{name}"'}
    return StreamingResponse(body, headers=headers, media_type=media_type)


def _while_standing(visit: Visit, pages: Iterator[Sequence[Row]]) -> Iterator[Sequence[Row]]:
    """End in the middle, which a reader sees, where the key is revoked or this process ends."""
    door = visit.site.door
    for page in pages:
        if door.stopping.is_set() or door.keyring.refusal(visit.caller) is not None:
            raise ClientGoneError
        yield page
