"""Whether anything was left out: the record held against receipts, against upstreams' accounts, and against itself."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from transom.audit import store
from transom.audit.index import milliseconds
from transom.audit.reconcile import MIDNIGHT, Call, Report, hold_against
from transom.audit.search import Query, search
from transom.audit.usage import Line, span
from transom.errors import LedgerError
from transom.ledger.checkpoint import parse_checkpoint
from transom.ledger.entry import AttemptPart, DecisionEntry, OutcomeEntry, UsagePart, decode
from transom.ledger.keys import LedgerKeys
from transom.ledger.note import Verifier, open_note
from transom.ledger.portable import parse_portable
from transom.ledger.proof import prove, verify_proof
from transom.ledger.receipt import Receipt, ReceiptFile, open_receipt, parse_file
from transom.ledger.tiles import CHECKPOINT, TILES, tiles_of
from transom.ledger.tree import leaf_hash
from transom.storage.engine import Database
from transom.storage.objects import Objects

_PROOF: Final = "c2sp.org/tlog-proof@"
_MOST_BYTES: Final = 4 * 1024 * 1024
ALWAYS_UNKNOWN: Final = (
    "Calls that never came through this door, to an upstream whose account was not given: nothing here can show them.",
    "Calls to upstreams that keep no account, as your own servers and the embedded engine: only receipts tell of them.",
    "In PostgreSQL, rows deleted before a checkpoint covered them: it skips row ids itself, so a gap proves nothing.",
)
"""What no run of this can know, whatever it is given."""


def hold_receipts(
    report: Report, database: Database, objects: Objects, keys: LedgerKeys, folder: Path, *, now: datetime
) -> None:
    """Hold the record against every receipt in a folder. Raises `StorageError`."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        where = str(file.relative_to(folder))
        try:
            receipt = _read_receipt(file, keys.verifiers)
        except LedgerError as error:
            report.note("differing", where, f"No receipt of this log, so it proves nothing: {error}")
            continue
        problem = _broken(database, objects, keys, receipt)
        late = datetime.fromisoformat(receipt.include_by) < now
        if problem is None:
            report.matched += 1
        elif late:
            report.note("omitted", where, f"Decision {receipt.decision} of {receipt.at}: {problem}")
        else:
            report.unknown.append(f"{where}: {problem} It was promised by {receipt.include_by}: ask again then.")


def _read_receipt(file: Path, verifiers: Sequence[Verifier]) -> Receipt:
    if file.stat().st_size > _MOST_BYTES:
        raise LedgerError("it is too long.")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise LedgerError("it is not text.") from error
    found: ReceiptFile | None = parse_portable(text).receipt if text.startswith(_PROOF) else parse_file(text)
    if found is None:
        raise LedgerError("this proof brings no receipt.")
    return open_receipt(found.note, verifiers)


def _broken(database: Database, objects: Objects, keys: LedgerKeys, receipt: Receipt) -> str | None:
    """Say what of a receipt is not as promised."""
    with database.begin(write=False) as connection:
        bodies = store.bodies(connection, [receipt.decision]).get(receipt.decision, {})
        found = store.found_of(connection, [receipt.decision])
    opening = bodies.get("decision/1")
    if opening is None:
        return "It was promised, and is on no record here."
    if leaf_hash(opening) != receipt.leaf:
        return "Another entry stands in its place than the one that was promised."
    if not found:
        return "It is on record, and not in the log."
    try:
        proof = prove(objects, found[0].leaf)
        if proof is None:
            return "It is on record, and not in the published log."
        verify_proof(proof, opening, keys.signer.verifier)
    except LedgerError as error:
        return f"The log does not hold it: {error}"
    return _broken_end(bodies.get("outcome/1"), receipt)


def _broken_end(closing: bytes | None, receipt: Receipt) -> str | None:
    if receipt.status is None and receipt.outcome is None:
        return None
    if closing is None:
        return f"It was answered with status {receipt.status}, and its outcome is on no record."
    if receipt.outcome is not None and leaf_hash(closing) != receipt.outcome:
        return "Another outcome stands in its place than the one that was promised."
    try:
        outcome = decode(closing)
    except LedgerError as error:
        return f"What stands in its outcome's place cannot be read: {error}"
    if receipt.answer is not None and getattr(outcome, "answer", None) is None:
        return "It was answered, and its outcome says that there was no answer."
    return None


def hold_account(report: Report, database: Database, lines: Sequence[Line], upstream: str) -> None:
    """Hold the record against an upstream's account, in the days that it is of. Raises `StorageError`."""
    days = span(lines)
    if days is None:
        report.unknown.append(f"{upstream}'s account has no line, so it says nothing.")
        return
    since, until = (int(each.timestamp() * 1000) for each in (days[0] - MIDNIGHT, days[1] + MIDNIGHT))
    hold_against(report, lines, _calls(database, upstream, since, until), upstream=upstream)


def _calls(database: Database, upstream: str, since: int, until: int) -> Iterator[Call]:
    query = Query(upstream=upstream, since=since, until=until, limit=200)
    while True:
        with database.begin(write=False) as connection:
            page = search(connection, query)
            bodies = store.bodies(connection, [row.decision for row in page.rows])
        for row in page.rows:
            yield from _calls_of(bodies[row.decision], upstream)
        if page.older is None:
            return
        query = msgspec.structs.replace(query, before=page.older)


def _calls_of(bodies: Mapping[str, bytes], upstream: str) -> Iterator[Call]:
    decision, outcome = decode(bodies["decision/1"]), decode(bodies["outcome/1"])
    assert isinstance(decision, DecisionEntry)
    assert isinstance(outcome, OutcomeEntry)
    tries = [each for each in outcome.attempts if each.upstream == upstream]
    for place, each in enumerate(tries):
        last = place == len(tries) - 1 and outcome.upstream == upstream
        usage = outcome.usage if last and outcome.usage and outcome.usage.source == "upstream" else None
        name = outcome.model if last and outcome.model else (each.model or decision.resource.id).partition("@")[0]
        yield Call(
            decision=outcome.decision,
            time=datetime.fromtimestamp(milliseconds(decision.at) / 1000, UTC),
            model=name,
            request=each.request,
            input=None if usage is None else _input(usage),
            output=None if usage is None else _output(usage),
            answered=last and _is_answer(each),
        )


def _is_answer(attempt: AttemptPart) -> bool:
    return attempt.result.startswith("2")


def _input(usage: UsagePart) -> int | None:
    counts = (usage.input, usage.cached_input, usage.cache_write)
    return None if usage.input is None else sum(each or 0 for each in counts)


def _output(usage: UsagePart) -> int | None:
    return None if usage.output is None else usage.output + (usage.reasoning or 0)


def hold_itself(report: Report, database: Database, objects: Objects, keys: LedgerKeys) -> None:
    """Count rows, leaves and objects against each other. Raises `LedgerError`, `StorageError`."""
    note = objects.get(CHECKPOINT)
    size = 0 if note is None else parse_checkpoint(open_note(note, keys.verifiers)).size
    there = objects.sizes(TILES)
    missing = [tile.path for tile in tiles_of(size) if tile.path not in there and tile.full.path not in there]
    for path in missing:
        report.note("omitted", path, "This part of the published log is not in the object store.")
    with database.begin(write=False) as connection:
        rows = store.rows_of_log(connection, size)
        gone = store.rows_gone(connection)
    if rows is not None and rows != size:
        report.note(
            "omitted", "the database", f"The log has {size} entries, and the rows that it was made of are {rows}."
        )
    if gone:
        report.note(
            "omitted",
            "the database",
            f"{gone} rows are gone: SQLite skips no row id, so that many entries were deleted, before a checkpoint "
            "covered them or after.",
        )
    report.matched += size if rows == size else 0
