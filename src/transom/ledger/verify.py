"""Verification of a whole log: by anyone from what is published, or with the database besides.

Nothing here trusts the sequencer's code but for formats and hashing; tests hold both against a verifier of their own.
Entries stream through; what stays in memory is a decision's id, about 100 bytes each, and the paths of the tiles.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice, zip_longest
from typing import Final, TypeAlias

from transom.errors import LedgerError
from transom.ledger import store
from transom.ledger.checkpoint import Checkpoint, parse_checkpoint
from transom.ledger.contents import verify_contents
from transom.ledger.entry import DecisionEntry, Entry, OutcomeEntry, decode, timestamp, type_of
from transom.ledger.fields import MAX_INTEGER
from transom.ledger.keys import LedgerKeys
from transom.ledger.note import Verifier, open_note, parse_vkey, split_note
from transom.ledger.proof import TileReader
from transom.ledger.remote import Source
from transom.ledger.report import Report
from transom.ledger.rotation import learn
from transom.ledger.seal import Vault
from transom.ledger.store import CheckpointRow
from transom.ledger.tiles import CHECKPOINT, TILES, Tile, edge, pack, parse_path
from transom.ledger.tree import HASH, TILE_HEIGHT, TILE_WIDTH, Tree, leaf_hash
from transom.storage.engine import Database
from transom.storage.objects import Objects
from transom.values import DecisionId

_OPEN_MS: Final = 60_000
_ROWS: Final = 2_048
_LOOK_SECONDS: Final = 0.05


Bundle: TypeAlias = list[bytes]
Watch: TypeAlias = Callable[[int, Bundle], None]
"""Is shown each bundle: the index of its first entry, and its entries."""


def verify_log(objects: Source, vkey: str, *, now_ms: int | None = None) -> Report:
    """Verify a log from what is published alone, as anybody can who has its verifier key, or one that it had before.

    Raises `LedgerError` only if `vkey` is malformed, `StorageError` if the store fails; the rest is in the report.
    """
    report = Report()
    _verify_published(objects, [parse_vkey(vkey)], report, _now(now_ms))
    return report


def verify_all(database: Database, objects: Objects, keys: LedgerKeys, *, now_ms: int | None = None) -> Report:
    """Verify a log as its operator can: what is published, that it is what the database holds, and every commitment.

    May run beside a sequencer at work. Raises `StorageError`.
    """
    report = Report()
    # Read before the published one, which may only be newer.
    with database.begin(write=False) as connection:
        newest = store.last_checkpoint(connection)
    rows = _RowCheck(database, keys.verifiers, report)
    _verify_published(objects, keys.verifiers, report, _now(now_ms), rows.watch)
    rows.finish(newest)
    verify_contents(database, Vault(keys.master_key), report)
    return report


def wait_published(database: Database, objects: Objects, seconds: float) -> bool:
    """Wait, for `seconds` at most, until the newest signed checkpoint is published; say whether there is any log yet.

    There is none where nothing was ever signed and no decision made. A sequencer publishes a moment after it signs, or,
    where it died in between, its successor does within seconds: to verify in that moment would report as harm what is
    only under way.
    """
    until = time.monotonic() + seconds
    while True:
        with database.begin(write=False) as connection:
            newest = store.last_checkpoint(connection)
            decided = store.any_decision(connection)
        note = objects.get(CHECKPOINT)
        if newest is not None and note is not None and _size_of(note) >= newest.size:
            return True
        if time.monotonic() > until:
            return decided or newest is not None or note is not None
        time.sleep(_LOOK_SECONDS)


def _size_of(note: bytes) -> int:
    try:
        return parse_checkpoint(split_note(note)[0]).size
    except LedgerError:
        return MAX_INTEGER  # not readable: nothing to wait for


def _verify_published(
    objects: Source, verifiers: Sequence[Verifier], report: Report, now_ms: int, watch: Watch | None = None
) -> None:
    """Verify everything that is published."""
    # 1. The checkpoint is signed by the log's key.
    note = objects.get(CHECKPOINT)
    if note is None:
        report.add("There is no checkpoint. Has a sequencer ever run?", CHECKPOINT)
        return
    try:
        checkpoint = parse_checkpoint(_opened(objects, note, verifiers))
    except LedgerError as error:
        report.add(str(error), CHECKPOINT)
        return
    report.checkpoint = checkpoint
    if checkpoint.origin != verifiers[0].name:
        report.add(f"The checkpoint is of the log {checkpoint.origin!r}, not of {verifiers[0].name!r}.", CHECKPOINT)
    # 2. The entries hash to the tiles, and the tiles to the root.
    life = _Life(report)
    tree = _verify_tree(TileReader(objects.get, checkpoint.size), report, [life.watch, *([watch] if watch else [])])
    if (tree.size, tree.root()) != (checkpoint.size, checkpoint.root):
        report.add(f"The entries do not give the root that was signed at size {checkpoint.size}.", CHECKPOINT)
    # 3. Partial tiles that are still there from before say the same.
    _verify_leftovers(objects, checkpoint.size, report)
    # 4. Every decision is there once, and has at most one outcome, after it.
    life.finish(now_ms)


def _opened(objects: Source, note: bytes, verifiers: Sequence[Verifier]) -> str:
    """Open a note by keys that are trusted, or by one that such a key has endorsed in the log. Raises `LedgerError`."""
    try:
        return open_note(note, verifiers)
    except LedgerError as error:
        try:
            learned = learn(objects.get, parse_checkpoint(split_note(note)[0]), verifiers)
        except LedgerError:
            raise error from None
        if not learned:
            raise
        return open_note(note, [*verifiers, *learned])


def _verify_tree(reader: TileReader, report: Report, watches: Iterable[Watch]) -> Tree:
    """Go through all bundles; compare every hash tile with what the entries give. Give the tree that they give."""
    tree = Tree()
    edges: list[bytearray] = []
    for index in range(-(-reader.size // TILE_WIDTH)):
        try:
            entries = reader.entries(index)
        except LedgerError as error:
            report.add(str(error), Tile(None, index).path)
            return tree  # whatever follows would only repeat it
        for watch in watches:
            watch(index * TILE_WIDTH, entries)
        for level, hashes in enumerate(tree.extend([leaf_hash(entry) for entry in entries])):
            if level == len(edges):
                edges.append(bytearray())
            edges[level] += b"".join(hashes)
            if len(edges[level]) == TILE_WIDTH * HASH:
                _compare(
                    reader, Tile(level, (tree.size >> (TILE_HEIGHT * (level + 1))) - 1), bytes(edges[level]), report
                )
                edges[level].clear()
    for level, last in enumerate(edge(reader.size)):
        if last.width:
            _compare(reader, Tile(level, last.index), bytes(edges[level]), report)
    return tree


def _compare(reader: TileReader, tile: Tile, hashes: bytes, report: Report) -> None:
    try:
        if reader.hashes(tile.level or 0, tile.index) != hashes:
            report.add("The tile is not what the entries below it hash to.", tile.path)
    except LedgerError as error:
        report.add(str(error), tile.path)


def _verify_leftovers(objects: Source, size: int, report: Report) -> None:
    """Compare partial tiles of smaller sizes with what is there now."""
    reader = TileReader(objects.get, size)
    for path in objects.list(TILES):
        tile = parse_path(path)
        if tile is None or tile.width == TILE_WIDTH or tile.needs > size:
            continue
        data = objects.get(path)
        with suppress(LedgerError):  # what is there now is damaged: that is reported already
            if tile.level is None:
                now = pack(reader.entries(tile.index)[: tile.width])
            else:
                now = reader.hashes(tile.level, tile.index)[: tile.width * HASH]
            if data not in (now, None):  # None: deleted meanwhile
                report.add("The partial tile is not the beginning of what replaced it.", path)


class _Life:
    """The life of every decision, as the entries tell it."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._open: dict[DecisionId, str] = {}
        self._closed: set[bytes] = set()

    def watch(self, first: int, entries: Bundle) -> None:
        for index, data in enumerate(entries, first):
            try:
                entry = decode(data)
            except LedgerError as error:
                self._report.add(str(error), f"entry {index}")
                continue
            self._report.entries[type_of(entry)] += 1
            self._follow(index, entry)

    def finish(self, now_ms: int) -> None:
        until = timestamp(now_ms - _OPEN_MS)
        self._report.open += [decision for decision, at in self._open.items() if at < until]

    def _follow(self, index: int, entry: Entry) -> None:
        if isinstance(entry, DecisionEntry):
            decision = DecisionId(entry.id)
            if decision in self._open or _short(decision) in self._closed:
                self._report.add(f"Decision {decision} is in the log twice.", f"entry {index}")
            self._open[decision] = entry.at
        elif isinstance(entry, OutcomeEntry):
            if self._open.pop(entry.decision, None) is None:
                known = _short(entry.decision) in self._closed
                what = "has a second outcome" if known else "has an outcome, but is not in the log before it"
                self._report.add(f"Decision {entry.decision} {what}.", f"entry {index}")
            self._closed.add(_short(entry.decision))


class _RowCheck:
    """The database's side: rows are the leaves, and every checkpoint ever signed is of this one log."""

    def __init__(self, database: Database, verifiers: Sequence[Verifier], report: Report) -> None:
        self._database = database
        self._verifiers = verifiers
        self._report = report
        self._rows = self._read_rows()
        self._checkpoints = self._read_checkpoints()
        self._next = next(self._checkpoints, None)
        self._tree = Tree()
        self._last_entry = 0
        self._broken = False

    def watch(self, first: int, entries: Bundle) -> None:
        if self._broken:
            return
        rows = list(islice(self._rows, len(entries)))
        for index, (row, entry) in enumerate(zip_longest(rows, entries), first):
            if row is None or row[1] != entry:
                where = f"entry {index}" if row is None else f"entry {index}, row {row[0]} of `entry`"
                self._report.add("The database's row is not what the log holds; later rows are not compared.", where)
                self._broken = True
                return
        self._follow(first, rows)

    def finish(self, newest: CheckpointRow | None) -> None:
        """Compare what is published with the newest checkpoint, `newest` having been read before it."""
        if not self._broken:
            self._follow(self._tree.size, [])
        published = self._report.checkpoint
        if newest is None or published is None:
            if newest is not None or published is not None:
                self._report.add("Checkpoints are only in the database, or only published.", CHECKPOINT)
            return
        with self._database.begin(write=False) as connection:
            same = store.checkpoints_after(connection, published.size - 1, 1)
            self._report.waiting = store.count_after(connection, same[0].last_entry) if same else 0
        if published.size < newest.size:
            self._report.add(f"The published checkpoint is not the newest, of size {newest.size}.", CHECKPOINT)
        # Not byte by byte: witnesses' lines are added to what is published.
        if [(row.size, row.root) for row in same] != [(published.size, published.root)]:
            self._report.add("The published checkpoint is not in the database.", CHECKPOINT)

    def _follow(self, first: int, rows: Sequence[tuple[int, bytes]]) -> None:
        """Add rows to the tree, stopping at each checkpoint's size to compare it."""
        place, end = first, first + len(rows)
        while self._next is not None and self._next.size <= end:
            self._extend(rows[place - first : self._next.size - first])
            place = self._next.size
            self._compare(self._next)
            self._next = next(self._checkpoints, None)
        self._extend(rows[place - first :])

    def _extend(self, rows: Sequence[tuple[int, bytes]]) -> None:
        self._tree.extend([leaf_hash(body) for _, body in rows])
        if rows:
            self._last_entry = rows[-1][0]

    def _compare(self, row: CheckpointRow) -> None:
        self._report.checkpoints += 1
        where = f"checkpoint of size {row.size} in the database"
        if (row.size, row.root, row.last_entry) != (self._tree.size, self._tree.root(), self._last_entry):
            self._report.add("The checkpoint is not of this log.", where)
        try:
            signed = parse_checkpoint(open_note(row.note.encode(), self._verifiers))
        except LedgerError as error:
            self._report.add(str(error), where)
            return
        if signed != Checkpoint(self._verifiers[0].name, row.size, row.root):
            self._report.add("The checkpoint's row is not what its note says.", where)

    def _read_rows(self) -> Iterator[tuple[int, bytes]]:
        after = 0
        while True:
            with self._database.begin(write=False) as connection:
                rows = store.entries_as_stored(connection, after, _ROWS)
            if not rows:
                return
            yield from rows
            after = rows[-1][0]

    def _read_checkpoints(self) -> Iterator[CheckpointRow]:
        size = -1
        while True:
            with self._database.begin(write=False) as connection:
                rows = store.checkpoints_after(connection, size, _ROWS)
            if not rows:
                return
            yield from rows
            size = rows[-1].size


def _short(decision: DecisionId) -> bytes:
    return bytes.fromhex(decision.replace("-", ""))


def _now(now_ms: int | None) -> int:
    return time.time_ns() // 1_000_000 if now_ms is None else now_ms
