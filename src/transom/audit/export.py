"""Decisions handed out with what proves them: every row carries its entries and their proofs against one checkpoint.

The checkpoint is chosen first and is the same for all rows, so that a reader needs one signature and one size. Each row
is proven here before it leaves: what is not in the log as the database has it is not exported.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection

from transom.audit import store
from transom.audit.exported import FORMAT, Header, Leaf, Row, row_of
from transom.audit.search import Query, search
from transom.audit.store import FoundRow
from transom.decisions.store import contents_of
from transom.errors import InvalidRequest, LedgerError, NotFound
from transom.ledger.checkpoint import Checkpoint, parse_checkpoint
from transom.ledger.entry import timestamp
from transom.ledger.keys import LedgerKeys
from transom.ledger.note import open_note
from transom.ledger.proof import ProofFile, TileReader, inclusion, verify_inclusion
from transom.ledger.seal import Vault
from transom.ledger.tiles import CHECKPOINT
from transom.ledger.tree import leaf_hash
from transom.storage.engine import Database
from transom.storage.objects import Objects
from transom.values import DecisionId

MOST_WITH_CONTENT: Final = 100_000
"""Decisions that one export shows the content of: they are chosen, and the look is on record, before the first."""
_PAGE: Final = 200
_Prove = Callable[[bytes, int], Leaf]


class Source(msgspec.Struct, frozen=True, eq=False):
    """Where an export is made from. `vault` opens contents: only once the look at them is on record."""

    database: Database
    objects: Objects
    note: str
    checkpoint: Checkpoint
    header: Header
    vault: Vault | None = None


def open_source(database: Database, objects: Objects, keys: LedgerKeys, searched: Mapping[str, str]) -> Source:
    """Choose the newest published checkpoint. `searched`: what is asked for, in words.

    Raises `NotFound` where nothing is published yet, `LedgerError` where it is not of our own, `StorageError`.
    """
    note = objects.get(CHECKPOINT)
    if note is None:
        raise NotFound("There is no log yet, so there is nothing to export. The first entry begins it.")
    checkpoint = parse_checkpoint(open_note(note, keys.verifiers))
    at = timestamp(time.time_ns() // 1_000_000)
    header = Header(FORMAT, keys.origin, keys.vkey, note.decode(), at, dict(searched))
    return Source(database, objects, note.decode(), checkpoint, header)


def choose(source: Source, query: Query) -> list[DecisionId]:
    """Choose the decisions whose content is to be shown. Raises `InvalidRequest` where they are too many."""
    chosen: list[DecisionId] = []
    for page in _found(source, query):
        chosen += [row.decision for row in page]
        if len(chosen) > MOST_WITH_CONTENT:
            raise InvalidRequest(
                f"The search finds more than {MOST_WITH_CONTENT} decisions, too many to show the content of at once. "
                "Narrow it, with since and until for example."
            )
    return chosen


def found_rows(source: Source, query: Query) -> Iterator[list[Row]]:
    """Give the rows of everything that a search finds under the checkpoint, proven, a page at a time.

    Raises `LedgerError`, `StorageError`.
    """
    for page in _found(source, query):
        yield _rows(source, page)


def chosen_rows(source: Source, chosen: Sequence[DecisionId]) -> Iterator[list[Row]]:
    """Give the rows of exactly these decisions, proven, a page at a time. Raises as `found_rows` does."""
    for start in range(0, len(chosen), _PAGE):
        wanted = chosen[start : start + _PAGE]
        with source.database.begin(write=False) as connection:
            page = {row.decision: row for row in store.found_of(connection, wanted)}
        yield _rows(source, [page[id_] for id_ in wanted if id_ in page])


def _found(source: Source, query: Query) -> Iterator[list[FoundRow]]:
    page = msgspec.structs.replace(query, limit=_PAGE)
    while True:
        with source.database.begin(write=False) as connection:
            result = search(connection, page)
        yield [row for row in result.rows if row.leaf < source.checkpoint.size]
        if result.older is None:
            return
        page = msgspec.structs.replace(page, before=result.older)


def _rows(source: Source, page: Sequence[FoundRow]) -> list[Row]:
    prove = _prover(source)
    with source.database.begin(write=False) as connection:
        bodies = store.bodies(connection, [row.decision for row in page])
        return [_row(connection, source, row, bodies.get(row.decision, {}), prove) for row in page]


def _row(connection: Connection, source: Source, row: FoundRow, bodies: Mapping[str, bytes], prove: _Prove) -> Row:
    opening = prove(bodies.get("decision/1", b""), row.leaf)
    # One that ended after the checkpoint is exported as it stood then.
    ended = row.outcome_leaf is not None and row.outcome_leaf < source.checkpoint.size
    closing = prove(bodies.get("outcome/1", b""), row.outcome_leaf or 0) if ended else None
    said = {} if source.vault is None else _content(connection, source.vault, row.decision)
    return row_of(opening, closing, prompt=said.get("prompt"), answer=said.get("answer"))


def _prover(source: Source) -> _Prove:
    """Give what proves entries, over a reader that remembers the tiles of one page."""
    checkpoint = source.checkpoint
    reader = TileReader(source.objects.get, checkpoint.size)

    def prove(entry: bytes, leaf: int) -> Leaf:
        hashes = tuple(inclusion(reader, leaf))
        if not verify_inclusion(leaf_hash(entry), leaf, checkpoint.size, hashes, checkpoint.root):
            raise LedgerError(
                f"Entry {leaf} of the log is not what the database has, or the index names another place. "
                "Run `transom ledger verify`, then `transom decisions reindex`."
            )
        return Leaf(entry, leaf, ProofFile(leaf, hashes, source.note).text)

    return prove


def _content(connection: Connection, vault: Vault, decision: DecisionId) -> dict[str, str]:
    said: dict[str, str] = {}
    for row in contents_of(connection, decision):
        opened = vault.open(row.key, row.sealed, decision, row.part)
        if opened.content is not None:
            said[row.part] = opened.content.decode("utf-8", "replace")
    return said
