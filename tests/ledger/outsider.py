"""An independent verifier, written from the public specifications alone: it imports nothing of Transom.

C2SP signed-note, tlog-checkpoint, tlog-tiles and tlog-proof; RFC 6962 section 2.1. Receipts, and what stands in the
`extra` of their proofs, by docs/receipts.md. Slow and plain on purpose.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

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


def verify_cosignature(note: bytes, vkey: str) -> int | None:
    """Give the time at which a witness cosigned a note (C2SP tlog-cosignature), None where it has no line of it."""
    name, _, rest = vkey.partition("+")
    key_hash, _, encoded = rest.partition("+")
    key = unbase64(encoded)
    need(len(key) == 33 and key[0] == 4, "not an Ed25519 cosigner's key")
    need(hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex() == key_hash, "key hash")
    text, _, signatures = note.rpartition(b"\n\n")
    for line in signatures.decode().splitlines():
        signer, _, blob = line.removeprefix("— ").partition(" ")
        data = unbase64(blob)
        if signer == name and data[:4].hex() == key_hash:
            need(len(data) == 76, "length")
            time = int.from_bytes(data[4:12], "big")
            message = f"cosignature/v1\ntime {time}\n".encode() + text + b"\n"
            try:
                Ed25519PublicKey.from_public_bytes(key[1:]).verify(data[12:], message)
            except InvalidSignature as error:
                raise Rejected("cosignature") from error
            return time
    return None


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


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


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
    need(bool(blank) and lines.pop(0) == "c2sp.org/tlog-proof@v1", "header")
    if lines[0].startswith("extra "):
        unbase64(lines.pop(0).removeprefix("extra "))
    need(lines[0].startswith("index "), "index")
    index = int(lines[0].removeprefix("index "))
    size, root = read_checkpoint(verify_note(note.encode(), vkey), vkey)
    need(index < size, "index")
    need(chain(leaf_hash(entry), index, size, [unbase64(line) for line in lines[1:]]) == root, "inclusion")
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


def extra(text: str) -> dict[str, Any]:
    """Give what stands in the `extra` of a receipt's proof."""
    line = text.split("\n")[1]
    need(line.startswith("extra "), "extra")
    try:
        found = json.loads(unbase64(line.removeprefix("extra ")))
    except ValueError as error:
        raise Rejected("extra") from error
    need(isinstance(found, dict), "extra")
    return dict(found)


def verify_receipt_file(text: str, vkey: str) -> dict[str, str]:
    """Give a receipt's lines by their first word, or raise `Rejected`."""
    head, blank, note = text.partition("\n\n")
    need(bool(blank) and head.split("\n")[0] == "transom-receipt-file/1", "the file's header")
    header, *lines = verify_note(note.encode(), vkey).removesuffix("\n").split("\n")
    need(header == "transom-receipt/1", "the receipt's header")
    said = dict(line.split(" ", 1) for line in lines)
    need(len(said) == len(lines), "a line stands twice")
    need(said["log"] == vkey.partition("+")[0], "log")
    return said


def prove_said(text: str, **contents: bytes) -> None:
    """Say, by a receipt's salts and commitments, that `prompt` and `answer` are what was said, or raise `Rejected`."""
    head, _, note = text.partition("\n\n")
    try:
        salts = dict(line.split(" ", 1) for line in head.split("\n")[1:])
        said = dict(line.split(" ", 1) for line in note.partition("\n\n")[0].split("\n")[1:])
    except ValueError as error:
        raise Rejected("lines") from error
    for part, content in contents.items():
        need(f"{part}-salt" in salts and part in said, f"nothing is said of the {part}")
        promised, size, *_ = said[part].split(" ")
        salt = unbase64(salts[f"{part}-salt"])
        found = hmac.digest(salt, b"ledger-commit/1\n" + content, "sha256")
        need(unbase64(promised) == found and int(size) == len(content), f"not this {part}")


def verify_portable(text: str, vkey: str, receipt: str) -> dict[str, str]:
    """Check a receipt against its proof, as a stranger who holds both and the vkey; give decision and status."""
    try:
        return _verify_portable(text, vkey, receipt)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Rejected("not of the shape that it must have") from error


def _verify_portable(text: str, vkey: str, receipt: str) -> dict[str, str]:
    said, found = verify_receipt_file(receipt, vkey), extra(text)
    entry, outcome = found["entry"].encode(), found["outcome"]
    verify_proof_file(text, entry, vkey)
    need(unbase64(said["leaf"]) == leaf_hash(entry), "leaf")
    decision = json.loads(entry)
    need((decision["id"], decision["at"]) == (said["decision"], said["at"]), "decision")
    need(commits(decision.get("prompt")) == said.get("prompt"), "prompt")
    note = text.partition("\n\n")[2]
    size, root = read_checkpoint(verify_note(note.encode(), vkey), vkey)
    path = [unbase64(each) for each in outcome["hashes"]]
    ended = outcome["entry"].encode()
    need(0 <= outcome["index"] < size and chain(leaf_hash(ended), outcome["index"], size, path) == root, "outcome")
    end = json.loads(ended)
    need(end["decision"] == said["decision"], "another decision's outcome")
    if "outcome" in said:
        need(unbase64(said["outcome"]) == leaf_hash(ended), "another outcome")
    if "status" in said:
        need(str(end["http_status"]) == said["status"].split(" ")[0], "status")
        answer = end.get("answer")
        whole = answer and f"{commits(answer)} {'complete' if answer['complete'] else 'cut'}"
        need(whole == said.get("answer"), "answer")
    need(
        {"entry", "outcome", "receipt"} == set(found) - {"signers"} and set(outcome) == {"entry", "index", "hashes"},
        "extra",
    )
    need(verify_receipt_file(found["receipt"], vkey)["leaf"] == said["leaf"], "another decision's receipt")
    return {"decision": decision["id"], "status": end["status"]}


def commits(part: dict[str, Any] | None) -> str | None:
    """Write a commitment of an entry as a receipt's line has it."""
    return None if part is None else f"{part['commitment']} {part['size']}"
