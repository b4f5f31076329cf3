"""Cosignatures: what a witness signs of another's checkpoint, exactly as C2SP tlog-cosignature v1.0.1 says. No I/O.

Type 0x04: Ed25519 over `cosignature/v1`, a time, and the checkpoint's text. A witness that signs says that it has seen
this tree, and never a smaller one or one that does not go on from it. Lines of other types (0x06, ML-DSA-44) are not
verified yet: like any unknown key's they are passed over.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from transom.errors import LedgerError
from transom.ledger.note import (
    after_private_prefix,
    check_name,
    encode_base64,
    key_id,
    parse_key,
    signature_line,
    split_note,
)

KIND: Final = b"\x04"
"""The signature type of a witness's key."""
_TIME_BYTES: Final = 8
_SIGNATURE_BYTES: Final = 64
_MAX_TIME: Final = 2**63 - 1


class Cosignature(NamedTuple):
    """A verified one: whose, when it was made (seconds since the Unix epoch), and its line, newline included."""

    witness: str
    time: int
    line: str


class CosignatureVerifier:
    """A witness's public key with its name."""

    def __init__(self, name: str, public: bytes) -> None:
        check_name(name)
        self.name = name
        self.public = public
        self.key_id = key_id(name, public, KIND)
        self._key = Ed25519PublicKey.from_public_bytes(public)

    @property
    def vkey(self) -> str:
        """The key's text form: `<name>+<key id in hex>+<base64(type ‖ public key)>`."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(KIND + self.public)}"

    def time_of(self, text: str, signature: bytes) -> int | None:
        """Give the time that `signature` says (8 bytes of it, and 64 of Ed25519); `None` if it is not over `text`."""
        time = int.from_bytes(signature[:_TIME_BYTES], "big")
        if len(signature) != _TIME_BYTES + _SIGNATURE_BYTES or time > _MAX_TIME:
            return None
        try:
            self._key.verify(signature[_TIME_BYTES:], _message(text, time))
        except InvalidSignature:
            return None
        return time


class Cosigner:
    """A witness's private key with its name. The name is not signed, so no two witnesses may share a key."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = CosignatureVerifier(name, self._key.public_key().public_bytes_raw())
        self.name = name

    @property
    def private_text(self) -> str:
        """The secret key's text form, as that of a log's key but for its type."""
        return f"PRIVATE+KEY+{self.name}+{self.verifier.key_id.hex()}+{encode_base64(KIND + self._seed)}"

    def line(self, text: str, time: int) -> str:
        """Cosign a checkpoint's text at `time`, in seconds since the Unix epoch: a line for its note."""
        signature = self._key.sign(_message(text, time))
        return signature_line(self.name, self.verifier.key_id + time.to_bytes(_TIME_BYTES, "big") + signature)


def parse_witness_vkey(vkey: str) -> CosignatureVerifier:
    """Read the text form of a witness's public key. Raises `LedgerError`."""
    name, hexadecimal, public = parse_key(vkey.strip(), "verifier key of a witness", KIND)
    verifier = CosignatureVerifier(name, public)
    if hexadecimal != verifier.key_id.hex():
        raise LedgerError(f"The verifier key of {name} is damaged: its id is not that of the key. Copy it again.")
    return verifier


def parse_witness_private(text: str) -> Cosigner:
    """Read the text form of a witness's secret key. Raises `LedgerError`, which never shows the key."""
    name, hexadecimal, seed = parse_key(after_private_prefix(text), "secret key of a witness", KIND)
    cosigner = Cosigner(name, seed)
    if hexadecimal != cosigner.verifier.key_id.hex():
        raise LedgerError(f"The secret key of {name} is damaged: its id is not that of the key.")
    return cosigner


def cosignatures(note: bytes, verifiers: Sequence[CosignatureVerifier]) -> list[Cosignature]:
    """Give the cosignatures of these witnesses on a note; whether the log signed it is for `note.open_note` to say.

    Raises `LedgerError` where the note is malformed, or one that says it is of a known witness is not.
    """
    text, signatures = split_note(note)
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    found: dict[str, Cosignature] = {}
    for each in signatures:
        verifier = known.get((each.name, each.key_id))
        if verifier is None:
            continue
        time = verifier.time_of(text, each.signature)
        if time is None:
            raise LedgerError(f"The cosignature of {each.name} on this note is wrong: the note was altered.")
        found[each.name] = Cosignature(each.name, time, signature_line(each.name, each.key_id + each.signature))
    return list(found.values())


def _message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()
