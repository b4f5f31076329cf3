"""Inclusion and consistency proofs (RFC 6962 sections 2.1.1 and 2.1.2), made from tiles, and proof files (tlog-proof).

Making one takes a few tiles, whatever the log's size. Verifying one takes no I/O and trusts nobody.
"""

import binascii
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from transom.errors import LedgerError
from transom.ledger.checkpoint import Checkpoint, parse_checkpoint
from transom.ledger.note import Verifier, decode_base64, open_note, split_note
from transom.ledger.tiles import CHECKPOINT, Tile, edge, split_hashes, unpack
from transom.ledger.tree import HASH, TILE_HEIGHT, TILE_WIDTH, leaf_hash, node_hash, root_of
from transom.storage.objects import Objects

_HEADER: Final = "c2sp.org/tlog-proof@v1"


class TileReader:
    """Reads tiles and bundles of the log at one size. `get` gives an object's bytes by path, or None."""

    def __init__(self, get: Callable[[str], bytes | None], size: int) -> None:
        self._get = get
        self.size = size
        self._edge = edge(size)
        self._hashes: dict[tuple[int, int], list[bytes]] = {}

    def width(self, level: int, index: int) -> int:
        """Say how many hashes a tile has at this size."""
        last = self._edge[level]
        return TILE_WIDTH if index < last.index else last.width

    def hashes(self, level: int, index: int) -> bytes:
        """Give a tile's bytes at this size. Raises `LedgerError` where it is missing or not of its length."""
        width = self.width(level, index)
        tile, data = self._fetch(Tile(level, index, width))
        if len(data) != tile.width * HASH:
            raise _damaged(tile)
        return data[: width * HASH]

    def entries(self, index: int) -> list[bytes]:
        """Give a bundle's entries at this size. Raises `LedgerError` where it is missing or damaged."""
        width = self.width(0, index)
        tile, data = self._fetch(Tile(None, index, width))
        entries = unpack(data)
        if len(entries) != tile.width:
            raise _damaged(tile)
        return entries[:width]

    def subtree(self, height: int, index: int) -> bytes:
        """Give the root of the full subtree of 2^height leaves that begins at leaf index * 2^height."""
        level, within = divmod(height, TILE_HEIGHT)
        start = index << within
        place = (level, start // TILE_WIDTH)
        if place not in self._hashes:
            self._hashes[place] = split_hashes(self.hashes(*place))
        offset = start % TILE_WIDTH
        return root_of(self._hashes[place][offset : offset + (1 << within)])

    def range_hash(self, start: int, end: int) -> bytes:
        """Give RFC 6962's MTH over the leaves from `start` to before `end`; `start` as its recursion makes it."""
        count = end - start
        if count & (count - 1) == 0:
            height = count.bit_length() - 1
            return self.subtree(height, start >> height)
        middle = start + _split(count)
        return node_hash(self.range_hash(start, middle), self.range_hash(middle, end))

    def _fetch(self, tile: Tile) -> tuple[Tile, bytes]:
        """Fetch a tile: partial where that is what this size has, else the full one, which may have replaced it."""
        for form in (tile, tile.full):
            data = self._get(form.path)
            if data is not None:
                return form, data
        raise LedgerError(
            f"{tile.path} is missing. Restart Transom: it writes again from the database what is missing."
        )


@dataclass(frozen=True, slots=True)
class ProofFile:
    """What a tlog-proof file says: that the entry at `index` is in the log whose signed checkpoint is `note`."""

    index: int
    hashes: tuple[bytes, ...]
    note: str
    extra: bytes = b""

    @property
    def text(self) -> str:
        """The file."""
        extra = [f"extra {b64encode(self.extra).decode()}"] if self.extra else []
        hashes = [b64encode(each).decode() for each in self.hashes]
        return "\n".join([_HEADER, *extra, f"index {self.index}", *hashes, "", self.note])


def inclusion(reader: TileReader, index: int) -> list[bytes]:
    """Give the inclusion proof of a leaf in the tree of `reader.size`, its sibling first (PATH, RFC 6962 2.1.1)."""
    if not 0 <= index < reader.size:
        raise LedgerError(f"The log has {reader.size} entries, so there is no proof for entry {index} yet.")
    proof: list[bytes] = []
    start, end = 0, reader.size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(reader.range_hash(middle, end))
            end = middle
        else:
            proof.append(reader.range_hash(start, middle))
            start = middle
    return proof[::-1]


def consistency(reader: TileReader, old: int) -> list[bytes]:
    """Prove that the tree of `reader.size` grew from that of size `old` (PROOF, RFC 6962 2.1.2)."""
    if not 0 <= old <= reader.size:
        raise LedgerError(f"The log has {reader.size} entries, so nothing can be proven from size {old}.")
    proof: list[bytes] = []
    start, end = 0, reader.size
    whole = True  # the old tree is exactly the leaves from 0 to `end`
    if old in (0, end):
        return proof
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(reader.range_hash(middle, end))
            end = middle
        else:
            proof.append(reader.range_hash(start, middle))
            start, whole = middle, False
    if not whole:
        proof.append(reader.range_hash(start, end))
    return proof[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Say whether `proof` shows that the leaf (its hash) is at `index` in the tree (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    first, last, result = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if first & 1 or first == last:
            result = node_hash(sibling, result)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        first, last = first >> 1, last >> 1
    return last == 0 and result == root


def verify_consistency(old: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> bool:
    """Say whether `proof` shows that the tree of `new` grew from that of `old` (RFC 9162 section 2.1.4.2)."""
    if old.size in (0, new.size):
        return not proof and (old.size == 0 or old.root == new.root)
    if old.size > new.size or not proof:
        return False
    hashes = [old.root, *proof] if old.size & (old.size - 1) == 0 else list(proof)
    first, last = old.size - 1, new.size - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    before = after = hashes[0]
    for each in hashes[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            before, after = node_hash(each, before), node_hash(each, after)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            after = node_hash(after, each)
        first, last = first >> 1, last >> 1
    return last == 0 and before == old.root and after == new.root


class Published:
    """A log at the checkpoint that was published when this was opened: all its proofs are under that one."""

    def __init__(self, note: bytes, reader: TileReader) -> None:
        self._note = note.decode()
        self._reader = reader
        self.size = reader.size

    def inclusion(self, index: int) -> tuple[bytes, ...]:
        """Give an entry's inclusion proof. Raises `LedgerError`."""
        return tuple(inclusion(self._reader, index))

    def prove(self, index: int) -> ProofFile:
        """Make an entry's proof file. Raises `LedgerError`."""
        return ProofFile(index, self.inclusion(index), self._note)


def open_published(objects: Objects) -> Published | None:
    """Open the log at its published checkpoint; None where there is none yet. Raises `LedgerError`, `StorageError`."""
    note = objects.get(CHECKPOINT)
    if note is None:
        return None
    return Published(note, TileReader(objects.get, parse_checkpoint(split_note(note)[0]).size))


def prove(objects: Objects, index: int) -> ProofFile | None:
    """Make the proof file of an entry from what is published; None where the log does not reach it yet."""
    published = open_published(objects)
    return None if published is None or index >= published.size else published.prove(index)


def parse_proof(text: str) -> ProofFile:
    """Read a tlog-proof file. Raises `LedgerError`."""
    head, blank, note = text.partition("\n\n")
    header, *lines = head.split("\n")
    extra = lines.pop(0).removeprefix("extra ") if lines and lines[0].startswith("extra ") else ""
    label, _, number = (lines.pop(0) if lines else "").partition(" ")
    if header != _HEADER or not blank or label != "index" or not (number.isascii() and number.isdecimal()):
        raise LedgerError(f"This is no proof file: it must start with {_HEADER} and say the entry's index.")
    try:
        hashes = tuple(decode_base64(line) for line in lines)
        proof = ProofFile(int(number), hashes, note, decode_base64(extra))
    except (binascii.Error, ValueError) as error:
        raise LedgerError("This is no proof file: one of its lines is not base64.") from error
    if str(proof.index) != number or any(len(each) != HASH for each in hashes):
        raise LedgerError("This is no proof file: one of its hashes is not of 32 bytes, or its index is not plain.")
    return proof


def verify_proof(proof: ProofFile, entry: bytes, *verifiers: Verifier) -> Checkpoint:
    """Give the checkpoint that `proof` shows `entry` to be in.

    Raises `LedgerError` where the checkpoint is not signed by any of `verifiers`, or the proof is not of this entry.
    """
    # 1. The checkpoint is the log's own.
    checkpoint = parse_checkpoint(open_note(proof.note.encode(), verifiers))
    if checkpoint.origin != verifiers[0].name:
        raise LedgerError(f"The checkpoint is of the log {checkpoint.origin!r}, not of {verifiers[0].name!r}.")
    # 2. The entry is at this place of that log.
    if not verify_inclusion(leaf_hash(entry), proof.index, checkpoint.size, proof.hashes, checkpoint.root):
        raise LedgerError(
            f"The proof does not show this entry at {proof.index} of {checkpoint.size}: entry or proof was altered."
        )
    return checkpoint


def _split(count: int) -> int:
    """Give the largest power of two below `count` (which is more than one)."""
    return 1 << ((count - 1).bit_length() - 1)


def _damaged(tile: Tile) -> LedgerError:
    return LedgerError(
        f"{tile.path} is damaged: it has not its length. Delete it and restart Transom: it is made again from the "
        "database."
    )
