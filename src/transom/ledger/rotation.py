"""A log's key and the one that takes its place: the old one endorses the new one, in an entry of the log itself.

So whoever trusts an old key, and reads the log from a place that they know on, comes to trust the new one.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from transom.errors import LedgerError
from transom.ledger.acts import SignerEntry
from transom.ledger.checkpoint import Checkpoint
from transom.ledger.entry import decode
from transom.ledger.note import Signer, Verifier, decode_base64, open_note, parse_vkey, signature_line, split_note
from transom.ledger.note import encode_base64 as base64_of
from transom.ledger.proof import TileReader
from transom.ledger.tiles import edge, split_hashes
from transom.ledger.tree import TILE_WIDTH, Tree, leaf_hash

_MARK: Final = b'"type":"signer/1"'
_NOTHING: Final = Checkpoint("", 0, b"")


def endorse(old: Signer, vkey: str) -> str:
    """Have the key `old` say that `vkey` takes its place: `SignerEntry.endorsement`."""
    _, (signature,) = split_note(old.sign(_text(vkey)).encode())
    return base64_of(signature.key_id + signature.signature)


def endorsed(entry: SignerEntry, trusted: Sequence[Verifier]) -> Verifier | None:
    """Give the key that an entry names, if one of the `trusted` says that it takes its place."""
    if entry.endorsement is None:
        return None
    try:
        new = parse_vkey(entry.vkey)
        line = signature_line(new.name, decode_base64(entry.endorsement))
        open_note(f"{_text(entry.vkey)}\n{line}".encode(), trusted)
    except (LedgerError, ValueError):
        return None
    return new


def learn(
    get: Callable[[str], bytes | None], new: Checkpoint, trusted: Sequence[Verifier], old: Checkpoint = _NOTHING
) -> list[Verifier]:
    """Give the keys that took the place of `trusted` ones in the entries between two checkpoints of a log.

    `new` need not be signed by anybody: what counts is that the entries after `old`, which is trusted, lead to it.
    Reads every bundle between the two. Raises `LedgerError` where one is missing, or they do not lead there.
    """
    tree = _tree(get, old)
    found: list[Verifier] = []
    for entries in _entries(TileReader(get, new.size), old.size):
        tree.extend([leaf_hash(entry) for entry in entries])
        for entry in entries:
            act = decode(entry) if _MARK in entry else None
            verifier = endorsed(act, [*trusted, *found]) if isinstance(act, SignerEntry) else None
            if verifier is not None:
                found.append(verifier)
    if (tree.size, tree.root()) != (new.size, new.root):
        raise LedgerError(f"The entries do not lead from size {old.size} to the root at size {new.size}.")
    return found


def _tree(get: Callable[[str], bytes | None], at: Checkpoint) -> Tree:
    """Rebuild the tree of a trusted checkpoint from its tiles."""
    reader = TileReader(get, at.size)
    edges = [
        split_hashes(reader.hashes(level, tile.index)) if tile.width else [] for level, tile in enumerate(edge(at.size))
    ]
    tree = Tree.from_edges(edges)
    if at.size and tree.root() != at.root:
        raise LedgerError(f"The tiles do not give the root at size {at.size}.")
    return tree


def _entries(reader: TileReader, start: int) -> Iterator[list[bytes]]:
    for index in range(start // TILE_WIDTH, -(-reader.size // TILE_WIDTH)):
        entries = reader.entries(index)
        yield entries[max(0, start - index * TILE_WIDTH) :]


def _text(vkey: str) -> str:
    return f"transom-signer/1\n{vkey}\n"
