"""Signed notes and their keys, exactly as C2SP signed-note v1.0.0 says. No I/O.

A note is a text, an empty line, and one line a signature: `— <key name> <base64(key id ‖ signature)>`.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from transom.errors import LedgerError

ED25519: Final = b"\x01"
"""The signature type of a log's own key."""
MAX_BYTES: Final = 1_048_576
_MAX_SIGNATURES: Final = 100
_DASH: Final = "— "
_KEY_ID_BYTES: Final = 4


class Verifier:
    """A public Ed25519 key with its name: verifies what the `Signer` of the same name signed."""

    def __init__(self, name: str, public: bytes) -> None:
        check_name(name)
        self.name = name
        self.public = public
        self.key_id = key_id(name, public)
        self._key = Ed25519PublicKey.from_public_bytes(public)

    @property
    def vkey(self) -> str:
        """The key's text form: `<name>+<key id in hex>+<base64(type ‖ public key)>`."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(ED25519 + self.public)}"

    def verify(self, text: str, signature: bytes) -> bool:
        """Say whether `signature` (64 bytes) is this key's over `text`."""
        try:
            self._key.verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


class Signer:
    """A private Ed25519 key with its name. `seed` is the 32 secret bytes of RFC 8032."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(name, self._key.public_key().public_bytes_raw())
        self.name = name

    @property
    def private_text(self) -> str:
        """The secret key's text form, Go's: `PRIVATE+KEY+<name>+<key id>+<base64(type ‖ seed)>`."""
        return f"PRIVATE+KEY+{self.name}+{self.verifier.key_id.hex()}+{encode_base64(ED25519 + self._seed)}"

    def sign(self, text: str) -> str:
        """Give the signed note over `text`, which ends with a newline."""
        check_text(text)
        return f"{text}\n{signature_line(self.name, self.verifier.key_id + self._key.sign(text.encode()))}"


class Signature(NamedTuple):
    """One signature line of a note."""

    name: str
    key_id: bytes
    signature: bytes


def key_id(name: str, public: bytes, kind: bytes = ED25519) -> bytes:
    """Give a key's id: the first four bytes of SHA-256(name ‖ newline ‖ type ‖ public key)."""
    return hashlib.sha256(name.encode() + b"\n" + kind + public).digest()[:_KEY_ID_BYTES]


def signature_line(name: str, signature: bytes) -> str:
    """Write the line of a signature, its key's id included."""
    return f"{_DASH}{name} {encode_base64(signature)}\n"


def parse_vkey(vkey: str) -> Verifier:
    """Read a verifier key's text form. Raises `LedgerError`."""
    name, hexadecimal, public = parse_key(vkey.strip(), "verifier key")
    verifier = Verifier(name, public)
    if hexadecimal != verifier.key_id.hex():
        raise LedgerError(f"The verifier key of {name} is damaged: its id is not that of the key. Copy it again.")
    return verifier


def parse_private(text: str) -> Signer:
    """Read a secret key's text form. Raises `LedgerError`, which never shows the key."""
    rest = after_private_prefix(text)
    name, hexadecimal, seed = parse_key(rest, "secret key")
    signer = Signer(name, seed)
    if hexadecimal != signer.verifier.key_id.hex():
        raise LedgerError(f"The secret key of {name} is damaged: its id is not that of the key.")
    return signer


def split_note(note: bytes) -> tuple[str, list[Signature]]:
    """Split a note into its text and its signatures, none of them verified. Raises `LedgerError` if it is malformed."""
    if len(note) > MAX_BYTES:
        raise LedgerError(f"This note has {len(note)} bytes; no note has more than {MAX_BYTES}.")
    try:
        whole = note.decode()
    except UnicodeDecodeError as error:
        raise LedgerError("This is no signed note: it is not UTF-8.") from error
    text, blank, lines = whole.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise LedgerError("This is no signed note: no empty line and signatures after the text.")
    text += "\n"
    check_text(text)
    signatures = [_parse_signature(line) for line in lines[:-1].split("\n")]
    if len(signatures) > _MAX_SIGNATURES:
        raise LedgerError(f"This note has {len(signatures)} signatures; no note has more than {_MAX_SIGNATURES}.")
    return text, signatures


def open_note(note: bytes, verifiers: Sequence[Verifier]) -> str:
    """Verify a note and give its text: at least one known key signed it, and no known key's signature is bad.

    Signatures of unknown keys are ignored. Raises `LedgerError`.
    """
    text, signatures = split_note(note)
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    verified = False
    for signature in signatures:
        verifier = known.get((signature.name, signature.key_id))
        if verifier is None:
            continue
        if not verifier.verify(text, signature.signature):
            raise LedgerError(f"The signature of {signature.name} on this note is wrong: the note was altered.")
        verified = True
    if not verified:
        names = ", ".join(verifier.vkey for verifier in verifiers)
        raise LedgerError(f"This note is not signed by {names}. It is of another log, or of another key.")
    return text


def check_name(name: str) -> None:
    """Raise `LedgerError` unless `name` may name a key: not empty, no space, no plus, no control character."""
    if not name or "+" in name or not name.isprintable() or any(character.isspace() for character in name):
        raise LedgerError(f"{name!r} cannot name a key: use a name like example.org/ledger, without spaces and plus.")


def check_text(text: str) -> None:
    """Raise `LedgerError` unless `text` may be signed: ends with a newline, no other control character."""
    if not text.endswith("\n") or any(character < " " and character != "\n" for character in text):
        raise LedgerError("This text cannot be a note's: it must end with a newline and hold no control characters.")


def decode_base64(text: str) -> bytes:
    """Decode canonical, padded base64. Raises `ValueError` for anything else."""
    data = base64.b64decode(text, validate=True)
    if encode_base64(data) != text:
        raise ValueError("base64 is not canonical")
    return data


def _parse_signature(line: str) -> Signature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    try:
        data = decode_base64(encoded)
    except (binascii.Error, ValueError):
        data = b""
    if not line.startswith(_DASH) or not space or len(data) <= _KEY_ID_BYTES:
        raise LedgerError(f"This is no signed note: {line!r} is not a signature line.")
    check_name(name)
    return Signature(name, data[:_KEY_ID_BYTES], data[_KEY_ID_BYTES:])


def after_private_prefix(text: str) -> str:
    """Give what follows the prefix of every secret key's text form. Raises `LedgerError`, which never shows the key."""
    start, prefix, rest = text.strip().partition("PRIVATE+KEY+")
    if start or not prefix:
        raise LedgerError("This is not a note's secret key: it does not start with PRIVATE+KEY+.")
    return rest


def parse_key(text: str, what: str, kind: bytes = ED25519) -> tuple[str, str, bytes]:
    """Give name, key id as written, and the 32 key bytes of `<name>+<key id>+<base64>`. Raises `LedgerError`."""
    name, _, rest = text.partition("+")
    hexadecimal, _, encoded = rest.partition("+")
    try:
        data = decode_base64(encoded)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != len(kind) + 32 or data[:1] != kind:
        raise LedgerError(
            f"This is no Ed25519 {what} of type {kind[0]}: it must be <name>+<8 hexadecimal digits>+<base64>."
        )
    check_name(name)
    return name, hexadecimal, data[1:]


def encode_base64(data: bytes) -> str:
    """Encode as canonical, padded base64."""
    return base64.b64encode(data).decode()
