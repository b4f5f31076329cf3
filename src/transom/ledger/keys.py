"""The ledger's secrets, each in a file of its own: made at first use, never changed.

- `ledger.key` signs checkpoints. Whoever has it can write another log under this name.
- `master.key` opens every prompt and answer that is kept. Losing it erases them all.
- `witness.key` cosigns other logs, where this door is a witness. Whoever has it can say that they were not forked.
- `pseudonym.key` turns callers' ids into pseudonyms. Whoever has it and the ids can tell who asked.
"""

import base64
import binascii
import contextlib
import hmac
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from transom.errors import LedgerError
from transom.ledger.cosign import Cosigner, parse_witness_private
from transom.ledger.note import Signer, Verifier, parse_private
from transom.values import CallerId, Pseudonym

DEFAULT_ORIGIN: Final = "transom.local/ledger"
_KEY: Final = 32


class LedgerKeys:
    """The opened secrets: `signer` (its name is the log's origin), `master_key`, and pseudonyms."""

    def __init__(self, signer: Signer, master_key: bytes, pseudonym_key: bytes) -> None:
        self.signer = signer
        self.master_key = master_key
        self._pseudonym_key = pseudonym_key

    @property
    def origin(self) -> str:
        """The log's name, the first line of every checkpoint."""
        return self.signer.name

    @property
    def vkey(self) -> str:
        """The public key that verifies the log, in its text form. Hand it to whoever is to check."""
        return self.signer.verifier.vkey

    @property
    def verifiers(self) -> tuple[Verifier, ...]:
        """Every public key of this log, the one that signs it now first: each verifies what was signed under it."""
        return (self.signer.verifier,)

    def derive(self, purpose: bytes) -> bytes:
        """Give 32 bytes for one purpose (HMAC-SHA-256 of the master key): the same in every process of this door."""
        return hmac.digest(self.master_key, b"transom/derive/1\n" + purpose, "sha256")

    def pseudonym(self, caller: CallerId) -> Pseudonym:
        """Give the name under which the ledger knows a caller: `p_` and 80 bits of HMAC-SHA-256 in hexadecimal."""
        return Pseudonym("p_" + hmac.digest(self._pseudonym_key, caller.encode(), "sha256").hex()[:20])


def load_or_create(folder: Path, origin: str = DEFAULT_ORIGIN) -> LedgerKeys:
    """Open the ledger's keys in `folder`, making folder (0700) and files (0600) that do not exist yet.

    Raises `LedgerError` where others may read them, a file is damaged, or the log has another origin.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_if_open_to_others(folder, "700")
        text = _read_or_create(folder / "ledger.key", lambda: Signer(origin, secrets.token_bytes(_KEY)).private_text)
        master = _secret(folder / "master.key")
        pseudonym = _secret(folder / "pseudonym.key")
    except OSError as error:
        raise LedgerError(
            f"{folder}: the ledger's keys cannot be read or made ({error.strerror}). "
            "Let the user that runs Transom own this folder and its files."
        ) from error
    signer = _signer(folder / "ledger.key", text)
    if signer.name != origin:
        raise LedgerError(
            f"{folder / 'ledger.key'} is the key of the log {signer.name!r}, but the settings name it {origin!r}. "
            f"Set ledger.origin to {signer.name!r}; another name needs another key and another, empty database."
        )
    return LedgerKeys(signer, master, pseudonym)


def load_or_create_witness(folder: Path, name: str) -> Cosigner:
    """Open the key with which this door cosigns other logs, made at first use. Raises `LedgerError`."""
    file = folder / "witness.key"
    try:
        text = _read_or_create(file, lambda: Cosigner(name, secrets.token_bytes(_KEY)).private_text)
    except OSError as error:
        raise LedgerError(f"{file}: it cannot be read or made ({error.strerror}).") from error
    try:
        cosigner = parse_witness_private(text)
    except LedgerError as error:
        raise LedgerError(f"{file}: {error} Restore the file from a backup.") from None
    if cosigner.name != name:
        raise LedgerError(
            f"{file} is the key of the witness {cosigner.name!r}, but the settings name it {name!r}. Set witness.name "
            f"to {cosigner.name!r}; another name needs another key, and a database without what this one has cosigned."
        )
    return cosigner


def _signer(file: Path, text: str) -> Signer:
    try:
        return parse_private(text)
    except LedgerError as error:
        raise LedgerError(f"{file}: {error} Restore the file from a backup.") from None


def _secret(file: Path) -> bytes:
    text = _read_or_create(file, lambda: base64.b64encode(secrets.token_bytes(_KEY)).decode())
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != _KEY:
        raise LedgerError(f"{file}: this is not base64 of {_KEY} bytes. Restore the file from a backup.")
    return key


def _read_or_create(file: Path, make: Callable[[], str]) -> str:
    if not file.exists():
        _create(file, make() + "\n")
    _refuse_if_open_to_others(file, "600")
    return file.read_text(encoding="utf-8").strip()


def _create(file: Path, text: str) -> None:
    """Write a new file whole or not at all; one that another process made meanwhile stays as it is."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        # A crash up to here leaves a draft that nobody reads: the next start makes another key.
        with contextlib.suppress(FileExistsError):
            file.hardlink_to(draft)
    finally:
        draft.unlink()
    # A crash before the folder is synced may lose the file's name. Nothing was signed or sealed under it yet.
    parent = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _refuse_if_open_to_others(path: Path, mode: str) -> None:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise LedgerError(f"{path}: others may read or write it. Run: chmod {mode} {path}")
