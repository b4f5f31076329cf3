"""The Merkle tree of RFC 6962 section 2.1: hashes, and the right edge of a growing tree. No I/O."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

EMPTY_ROOT: Final = sha256(b"").digest()
TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 256
"""Hashes in a full tile (C2SP tlog-tiles)."""
HASH: Final = 32
"""Bytes in a hash."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash an entry into its leaf: SHA-256(0x00 ‖ entry)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two children into their node: SHA-256(0x01 ‖ left ‖ right)."""
    return sha256(b"\x01" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Give the root over leaves' hashes, or over the roots of equally large full subtrees (the last may be smaller).

    Pairing level by level and carrying an odd last one up gives RFC 6962's tree: it splits at the largest power of
    two below the size.
    """
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        carried = level[-1:] if len(level) % 2 else []
        level = _pair(level) + carried
    return level[0]


class Tree:
    """The right edge of a tree: enough to add leaves and to know the root, in memory of log2(size) hashes."""

    def __init__(self) -> None:
        self.size = 0
        self._waiting: list[bytes | None] = []
        """By height: the root of the full subtree of 2^height leaves that has no right sibling yet."""

    @classmethod
    def from_edges(cls, edges: Iterable[Sequence[bytes]]) -> "Tree":
        """Rebuild a tree from the hashes in the partial tile at its right edge, level by level (each under 256)."""
        tree = cls()
        for level, hashes in enumerate(edges):
            tree._waiting += [None] * (level * TILE_HEIGHT - len(tree._waiting))
            tree.size += len(hashes) << (level * TILE_HEIGHT)
            tree._add(hashes, level * TILE_HEIGHT)
        return tree

    def extend(self, leaves: Sequence[bytes]) -> list[Sequence[bytes]]:
        """Add leaves' hashes. Give the hashes that this adds to the tiles of each level: `leaves` first."""
        self.size += len(leaves)
        return self._add(leaves, 0)

    def root(self) -> bytes:
        """Give the root hash of the whole tree."""
        root: bytes | None = None
        for subtree in self._waiting:
            if subtree is not None:
                root = subtree if root is None else node_hash(subtree, root)
        return EMPTY_ROOT if root is None else root

    def _add(self, hashes: Sequence[bytes], height: int) -> list[Sequence[bytes]]:
        added = []
        while hashes:
            if height % TILE_HEIGHT == 0:
                added.append(hashes)
            if height == len(self._waiting):
                self._waiting.append(None)
            waiting = self._waiting[height]
            row = [waiting, *hashes] if waiting is not None else list(hashes)
            self._waiting[height] = row[-1] if len(row) % 2 else None
            hashes = _pair(row)
            height += 1
        return added


def _pair(row: Sequence[bytes]) -> list[bytes]:
    """Hash neighbours two by two; an odd last one is left out."""
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=False)]
