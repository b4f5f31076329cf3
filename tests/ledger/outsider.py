"""An independent verifier, written from the public specifications alone: it imports nothing of Transom.

C2SP signed-note, tlog-checkpoint, tlog-tiles and tlog-proof; RFC 6962 section 2.1. Slow and plain on purpose.
"""

import base64
import hashlib
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Fetch = Callable[[str], bytes | None]
"""Gives what a GET of a path under the log's prefix answers; None for a 404."""


class Rejected(Exception):
    """The log is not what it should be."""


def need(holds: bool, what: str) -> None:
    if not holds:
        raise Rejected(what)


def unbase64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Rejected("base64") from error
    need(base64.b64encode(data).decode() == text, "base64 is not canonical")
    return data


def verify_note(note: bytes, vkey: str) -> str:
    """Give the text of a note that the key signed."""
    name, _, rest = vkey.partition("+")
    key_hash, _, encoded = rest.partition("+")
    key = unbase64(encoded)
    need(len(key) == 33 and key[0] == 1, "not an Ed25519 verifier key")
    need(hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex() == key_hash, "key hash")
    try:
        message = note.decode()
    except UnicodeDecodeError as error:
        raise Rejected("not UTF-8") from error
    need(not any(ord(c) < 0x20 and c != "\n" for c in message), "control characters")
    split = message.rfind("\n\n")
    need(split >= 0 and message.endswith("\n"), "not a note")
    text, signatures = message[: split + 1], message[split + 2 : -1]
    verified = False
    for line in signatures.split("\n"):
        need(line.startswith("— "), "signature line")
        signer, _, blob = line[2:].partition(" ")
        signature = unbase64(blob)
        need(len(signature) > 4, "signature length")
        if signer == name and signature[:4].hex() == key_hash:
            try:
                Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature[4:], text.encode())
            except InvalidSignature as error:
                raise Rejected("signature") from error
            verified = True
    need(verified, "no signature of the key")
    return text


def read_checkpoint(text: str, vkey: str) -> tuple[int, bytes]:
    lines = text.split("\n")
    need(len(lines) == 4 and lines[3] == "", "three lines")
    need(lines[0] == vkey.partition("+")[0], "origin")
    need(lines[1].isdecimal() and str(int(lines[1])) == lines[1], "size")
    root = unbase64(lines[2])
    need(len(root) == 32, "root")
    return int(lines[1]), root


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def mth(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, over leaf hashes, by its definition."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split_point(len(leaves))
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962 section 2.1.1, by its definition."""
    if len(leaves) == 1:
        return []
    k = split_point(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def proof(m: int, leaves: list[bytes]) -> list[bytes]:
    """PROOF of RFC 6962 section 2.1.2, by its definition."""
    return subproof(m, leaves, whole=True)


def subproof(m: int, leaves: list[bytes], *, whole: bool) -> list[bytes]:
    n = len(leaves)
    if m == n:
        return [] if whole else [mth(leaves)]
    k = split_point(n)
    if m <= k:
        return [*subproof(m, leaves[:k], whole=whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], whole=False), mth(leaves[:k])]


def split_point(n: int) -> int:
    """Give the largest power of two smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def tile_name(level: str, index: int, width: int) -> str:
    groups = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03d}")
    return f"tile/{level}/{'/'.join(groups)}" + (f".p/{width}" if width < 256 else "")


def fetch_tile(fetch: Fetch, level: str, index: int, width: int) -> tuple[bytes, int]:
    """Fetch a tile as tlog-tiles tells clients to: the partial one, else the full one. Give it and its width."""
    data = fetch(tile_name(level, index, width))
    if data is not None:
        return data, width
    data = fetch(tile_name(level, index, 256))
    need(data is not None, f"no tile {level}/{index}")
    assert data is not None
    return data, 256


def verify_log(fetch: Fetch, vkey: str) -> list[bytes]:
    """Give all entries of a log, or raise `Rejected`."""
    note = fetch("checkpoint")
    need(note is not None, "no checkpoint")
    assert note is not None
    size, root = read_checkpoint(verify_note(note, vkey), vkey)
    entries: list[bytes] = []
    for index in range((size + 255) // 256):
        width = min(256, size - index * 256)
        data, there = fetch_tile(fetch, "entries", index, width)
        bundle = []
        while data:
            length = int.from_bytes(data[:2], "big")
            need(len(data) >= 2 + length, "bundle is cut off")
            bundle.append(data[2 : 2 + length])
            data = data[2 + length :]
        need(len(bundle) == there, "bundle's width")
        entries += bundle[:width]
    leaves = [leaf_hash(entry) for entry in entries]
    need(mth(leaves) == root, "root")
    level, row = 0, leaves
    while row:
        for index in range((len(row) + 255) // 256):
            width = min(256, len(row) - index * 256)
            data, there = fetch_tile(fetch, str(level), index, width)
            need(len(data) == 32 * there, "tile's length")
            need(data[: 32 * width] == b"".join(row[index * 256 : index * 256 + width]), "tile's hashes")
        row = [mth(row[start : start + 256]) for start in range(0, len(row) - 255, 256)]
        level += 1
    return entries


def verify_proof_file(text: str, entry: bytes, vkey: str) -> int:
    """Give the index that a tlog-proof file proves for an entry, or raise `Rejected`."""
    head, blank, note = text.partition("\n\n")
    lines = head.split("\n")
    need(bool(blank) and lines[0] == "c2sp.org/tlog-proof@v1", "header")
    need(lines[1].startswith("index "), "index")
    index = int(lines[1].removeprefix("index "))
    size, root = read_checkpoint(verify_note(note.encode(), vkey), vkey)
    need(chain(leaf_hash(entry), index, size, [unbase64(line) for line in lines[2:]]) == root, "inclusion")
    return index


def chain(leaf: bytes, index: int, size: int, proof_hashes: list[bytes]) -> bytes:
    """Give the root that an inclusion proof leads to, by the recursion of RFC 6962 section 2.1.1."""
    if size == 1:
        need(not proof_hashes and index == 0, "proof's length")
        return leaf
    need(bool(proof_hashes), "proof's length")
    k = split_point(size)
    if index < k:
        left = chain(leaf, index, k, proof_hashes[:-1])
        return hashlib.sha256(b"\x01" + left + proof_hashes[-1]).digest()
    right = chain(leaf, index - k, size - k, proof_hashes[:-1])
    return hashlib.sha256(b"\x01" + proof_hashes[-1] + right).digest()
