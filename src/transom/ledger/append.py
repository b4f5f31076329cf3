"""Turns entries into tiles and bundles, in their order. Says what to write; whoever calls does it."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from transom.ledger.tiles import Tile, pack
from transom.ledger.tree import HASH, TILE_HEIGHT, TILE_WIDTH, Tree, leaf_hash

Write: TypeAlias = Callable[[Tile, bytes], None]


class Appender:
    """The right edge of the log, as bytes. Full tiles are written as they fill, partial ones once, by `finish`.

    `edges` are the partial tiles' hashes, level by level from the lowest, `bundle` the entries of the partial bundle.
    """

    def __init__(self, write: Write, edges: Sequence[Sequence[bytes]] = (), bundle: bytes = b"") -> None:
        self._write = write
        self._tree = Tree.from_edges(edges)
        self._edges = [bytearray(b"".join(hashes)) for hashes in edges]
        self._bundle = bytearray(bundle)

    @property
    def size(self) -> int:
        """How many entries the log has."""
        return self._tree.size

    @property
    def room(self) -> int:
        """How many entries fit until the bundle is full: at most so many may be added at once."""
        return TILE_WIDTH - self._tree.size % TILE_WIDTH

    def root(self) -> bytes:
        """Give the root hash over all entries."""
        return self._tree.root()

    def add(self, entries: Sequence[bytes]) -> None:
        """Add at most `room` entries; write what they fill."""
        assert len(entries) <= self.room
        bundle = Tile(None, self.size // TILE_WIDTH)
        self._bundle += pack(entries)
        grown = self._tree.extend([leaf_hash(entry) for entry in entries])
        if self.size % TILE_WIDTH == 0:
            self._write(bundle, bytes(self._bundle))
            self._bundle.clear()
        for level, hashes in enumerate(grown):
            if level == len(self._edges):
                self._edges.append(bytearray())
            self._edges[level] += b"".join(hashes)
            if len(self._edges[level]) == TILE_WIDTH * HASH:
                self._write(Tile(level, self._index(level) - 1), bytes(self._edges[level]))
                self._edges[level].clear()

    def finish(self) -> None:
        """Write the partial tiles and the partial bundle that a log of this size has."""
        if self._bundle:
            self._write(Tile(None, self._index(0), self.size % TILE_WIDTH), bytes(self._bundle))
        for level, hashes in enumerate(self._edges):
            if hashes:
                self._write(Tile(level, self._index(level), len(hashes) // HASH), bytes(hashes))

    def _index(self, level: int) -> int:
        """Give the index of the tile at the right edge of a level: how many full ones precede it."""
        return self.size >> (TILE_HEIGHT * (level + 1))
