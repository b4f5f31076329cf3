"""Finds what was altered at rest, piece by piece while the door runs, and makes it whole from what is signed.

The signed root proves the tiles at the log's right edge, these prove the tiles below them, and so on down to the hashes
of single entries. What does not fit is made again from its other copies (a tile from those below it, a bundle from
rows, a row from its bundle), and only if the result is what is proven: nothing is ever overwritten on a guess. A crash
anywhere leaves what was there or what is right. What cannot be proven is reported, and left to `transom ledger verify`.
"""

from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

from transom.errors import LedgerError
from transom.ledger import store
from transom.ledger.checkpoint import Checkpoint, parse_checkpoint
from transom.ledger.contents import content_problem
from transom.ledger.entry import DecisionEntry, OutcomeEntry, decode, type_of
from transom.ledger.keys import LedgerKeys
from transom.ledger.note import open_note
from transom.ledger.proof import TileReader
from transom.ledger.seal import Vault
from transom.ledger.store import CheckpointRow, StoredRow
from transom.ledger.tiles import Tile, edge, pack, parse_path, split_hashes
from transom.ledger.tree import TILE_HEIGHT, TILE_WIDTH, Tree, leaf_hash, root_of
from transom.storage.engine import Database
from transom.storage.objects import Objects

Hashes = list[bytes]
_NOTHING: Final = b""


class Mended(NamedTuple):
    """What was made whole again: a tile by its path, or a row as `entry N` (its place in the log)."""

    what: Literal["tile", "row"]
    name: str
    cause: Literal["altered", "missing"]


class Found(NamedTuple):
    """What one step found."""

    mended: list[Mended]
    problems: list[str]


class Scrubber:
    """Goes round the log of one database and object store for ever, a bundle of entries a step. For one thread."""

    def __init__(self, database: Database, objects: Objects, keys: LedgerKeys) -> None:
        self._database = database
        self._objects = objects
        self._keys = keys
        self._vault = Vault(keys.master_key)
        self._index: int | None = None
        """The bundle that is looked at next; None until it is known how far another process was."""
        self._content = ("", "")
        self._partial = ""

    def step(self) -> Found:
        """Look at one bundle of entries, the tiles above it, its rows, and one kept content. Raises `StorageError`."""
        found = Found([], [])
        with self._database.begin(write=False) as connection:
            newest = store.last_checkpoint(connection)
            index = store.scrubbed(connection) if self._index is None else self._index
        if newest is None or newest.size == 0:
            return found
        if index * TILE_WIDTH >= newest.size:
            index = 0
        look = _Look(self._database, self._objects, self._checkpoint(newest), newest, found)
        look.bundle(index)
        self._partial = look.partial(self._partial)
        self._index = index + 1
        self._look_at_content(found)
        return found

    def remember(self) -> None:
        """Keep how far it is, so that another process goes on from there."""
        with self._database.begin() as connection:
            store.put_scrubbed(connection, self._index or 0)

    def _checkpoint(self, row: CheckpointRow) -> Checkpoint:
        signed = parse_checkpoint(open_note(row.note.encode(), self._keys.verifiers))
        if signed != Checkpoint(self._keys.origin, row.size, row.root):
            raise LedgerError(f"The newest checkpoint's row (size {row.size}) is not what its signed note says.")
        return signed

    def _look_at_content(self, found: Found) -> None:
        with self._database.begin(write=False) as connection:
            rows = store.contents_after(connection, *self._content, 1)
        self._content = (rows[0].decision, rows[0].part) if rows else ("", "")
        for row in rows:
            what = content_problem(row, self._vault)
            if what is not None:  # there is no second copy of a content
                found.problems.append(f"Content of decision {row.decision}, {row.part}: {what}")


class _Look:
    """One look at one signed state of the log."""

    def __init__(
        self, database: Database, objects: Objects, signed: Checkpoint, newest: CheckpointRow, found: Found
    ) -> None:
        self._database = database
        self._objects = objects
        self._signed = signed
        self._last_entry = newest.last_entry
        self._edge = edge(signed.size)
        self._reader = TileReader(objects.get, signed.size)
        self._found = found
        self._right: list[Hashes] | None = None
        """The right edge, once it is proven."""
        self._last: list[bytes] | None = None
        """The entries of the last bundle, once they are."""

    def bundle(self, index: int) -> None:
        """Look at bundle `index`: at the tiles that prove it from above, at itself, and at its rows."""
        self._right = edges = self._edges()
        leaves = None if edges is None else self._proven(edges, 0, index)
        if leaves is not None:
            self._compare(index, leaves, self._rows(index, len(leaves)))

    def partial(self, after: str) -> str:
        """Look at a partial tile of a smaller size that is still there, the next one after a path; give its path.

        Only at the right edge, where there are any, and in a step that has proven what is there. Empty: no more.
        """
        if self._right is None or self._last is None:
            return after
        tiles = [Tile(None, self._edge[0].index), *self._edge]
        paths = sorted(path for tile in tiles for path in self._objects.list(tile.partials))
        path = next((path for path in paths if path > after), "")
        tile = parse_path(path)
        if tile is None or tile.needs > self._signed.size:
            return path
        entries, hashes = self._last, self._right[tile.level or 0]
        good = pack(entries[: tile.width]) if tile.level is None else b"".join(hashes[: tile.width])
        if self._objects.get(path) not in (good, None):
            self._put(tile, good)
        return path

    def _compare(self, index: int, leaves: Hashes, rows: Sequence[StoredRow]) -> None:
        """Hold a bundle and its rows to the hashes that are proven."""
        tile = Tile(None, index, len(leaves))
        bundle = self._entries(index)
        bodies = [row.body for row in rows]
        good = [
            next((each for each in copies if each and leaf_hash(each) == leaf), _NOTHING)
            for leaf, copies in zip(leaves, _side_by_side(bundle, bodies, len(leaves)), strict=True)
        ]
        if not all(good):
            place = index * TILE_WIDTH + good.index(_NOTHING)
            self._found.problems.append(f"Entry {place}: neither its bundle nor its row is what was signed.")
            return
        if index == self._edge[0].index:
            self._last = good
        if bundle != good:
            self._put(tile, pack(good))
        if bodies != good:
            self._mend_rows(index, rows, good)

    def _mend_rows(self, index: int, rows: Sequence[StoredRow], good: Sequence[bytes]) -> None:
        wrong = [place for place, body in enumerate(good) if place >= len(rows) or rows[place].body != body]
        for place in wrong:
            name = f"entry {index * TILE_WIDTH + place}"
            # Where a row is gone or one too many, those after it are shifted, not altered: their columns say so.
            if place >= len(rows) or not _is_of(rows[place], good[place]):
                self._found.problems.append(f"A row of `entry` is missing, or one too many, at or before {name}.")
                return
            with self._database.begin() as connection:
                store.mend_row(connection, rows[place].id, good[place])
            self._found.mended.append(Mended("row", name, "altered"))

    def _edges(self) -> list[Hashes] | None:
        """Give the hashes at the right edge, level by level, proven by the signed root; None where they cannot be."""
        found = [self._tile(level, tile.index) if tile.width else [] for level, tile in enumerate(self._edge)]
        if None not in found and self._is_root([each or [] for each in found]):
            return [each or [] for each in found]
        for made in self._made_edges():
            if self._is_root(made):
                for level, (before, hashes) in enumerate(zip(found, made, strict=True)):
                    if before != hashes:
                        self._put(Tile(level, self._edge[level].index, len(hashes)), b"".join(hashes))
                return made
        self._found.problems.append(f"The tiles at the right edge do not give the root at size {self._signed.size}.")
        return None

    def _made_edges(self) -> Iterator[list[Hashes]]:
        """Make the right edge from what is below it: the last entries, and the full tiles of each level."""
        above = [
            self._roots(level - 1, tile.index * TILE_WIDTH, tile.width)
            for level, tile in enumerate(self._edge)
            if level
        ]
        whole = [each for each in above if each is not None]
        if len(whole) < len(above):
            return
        for leaves in self._made_leaves(self._edge[0].index, self._edge[0].width):
            yield [leaves, *whole]

    def _proven(self, edges: list[Hashes], level: int, index: int) -> Hashes | None:
        """Give a tile's hashes, proven from above; made again where they are not what they must be."""
        if index == self._edge[level].index:
            return edges[level]
        above = self._proven(edges, level + 1, index >> TILE_HEIGHT)
        if above is None:
            return None
        wanted = above[index % TILE_WIDTH]
        hashes = self._tile(level, index)
        if hashes is not None and root_of(hashes) == wanted:
            return hashes
        tile = Tile(level, index)
        for made in self._made(level, index):
            if root_of(made) == wanted:
                self._put(tile, b"".join(made))
                return made
        self._found.problems.append(f"{tile.path} is not what was signed, and nothing below it is.")
        return None

    def _made(self, level: int, index: int) -> Iterator[Hashes]:
        if level == 0:
            yield from self._made_leaves(index, TILE_WIDTH)
        else:
            roots = self._roots(level - 1, index * TILE_WIDTH, TILE_WIDTH)
            if roots is not None:
                yield roots

    def _made_leaves(self, index: int, width: int) -> Iterator[Hashes]:
        """Give what the bundle and the rows say that the hashes of bundle `index` are."""
        if width == 0:
            yield []
            return
        bundle = self._entries(index)
        if bundle is not None:
            yield [leaf_hash(entry) for entry in bundle]
        yield [leaf_hash(row.body) for row in self._rows(index, width)]

    def _rows(self, index: int, width: int) -> Sequence[StoredRow]:
        with self._database.begin(write=False) as connection:
            return store.rows_at(connection, index * TILE_WIDTH, self._last_entry, width)

    def _roots(self, level: int, start: int, count: int) -> Hashes | None:
        """Give the roots of `count` full tiles; None where one is missing."""
        tiles = [self._tile(level, index) for index in range(start, start + count)]
        whole = [root_of(each) for each in tiles if each is not None]
        return whole if len(whole) == count else None

    def _tile(self, level: int, index: int) -> Hashes | None:
        try:
            return split_hashes(self._reader.hashes(level, index))
        except LedgerError:
            return None

    def _entries(self, index: int) -> list[bytes] | None:
        try:
            return self._reader.entries(index)
        except LedgerError:
            return None

    def _is_root(self, edges: list[Hashes]) -> bool:
        return Tree.from_edges(edges).root() == self._signed.root

    def _put(self, tile: Tile, data: bytes) -> None:
        there = self._objects.get(tile.path)
        self._objects.put(tile.path, data)
        self._found.mended.append(Mended("tile", tile.path, "missing" if there is None else "altered"))


def _side_by_side(bundle: Sequence[bytes] | None, bodies: Sequence[bytes], count: int) -> Iterator[tuple[bytes, ...]]:
    """Give both copies of each entry, as far as there are."""
    for place in range(count):
        yield tuple(copies[place] for copies in (bundle or (), bodies) if place < len(copies))


def _is_of(row: StoredRow, body: bytes) -> bool:
    """Say whether a row, by its other columns, is the one of this entry."""
    try:
        entry = decode(body)
    except LedgerError:
        return False
    decision = entry.id if isinstance(entry, DecisionEntry) else None
    decision = entry.decision if isinstance(entry, OutcomeEntry) else decision
    return (row.type, row.decision) == (type_of(entry), decision)
