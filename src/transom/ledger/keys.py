"""The ledger's secrets, each in a file of its own, or wherever the settings say: made at first use.

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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from transom.config.secrets import SecretRef
from transom.errors import LedgerError
from transom.ledger.cosign import Cosigner, parse_witness_private
from transom.ledger.note import Signer, Verifier, parse_private, parse_vkey
from transom.storage.durable import fsync
from transom.values import CallerId, Pseudonym

DEFAULT_ORIGIN: Final = "transom.local/ledger"
LOG_KEY: Final = "ledger.key"
NEXT_KEY: Final = "ledger.key.next"
"""The key that is to sign the log next, until it does."""
RETIRED: Final = "ledger.vkeys"
"""The public keys that signed this log before, one a line, the last one last."""
_KEY: Final = 32


class KeySources(NamedTuple):
    """Where the secrets are, where they are not in the keys' folder."""

    key: SecretRef | None = None
    master_key: SecretRef | None = None
    pseudonym_key: SecretRef | None = None


_IN_THE_FOLDER: Final = KeySources()


class LedgerKeys:
    """The opened secrets: `signer` (its name is the log's origin), `master_key`, and pseudonyms.

    `retired`: the public keys that signed this log before.
    """

    def __init__(
        self, signer: Signer, master_key: bytes, pseudonym_key: bytes, retired: Sequence[Verifier] = ()
    ) -> None:
        self.signer = signer
        self._retired = tuple(each for each in retired if each.vkey != signer.verifier.vkey)
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
        return (self.signer.verifier, *self._retired)

    def derive(self, purpose: bytes) -> bytes:
        """Give 32 bytes for one purpose (HMAC-SHA-256 of the master key): the same in every process of this door."""
        return hmac.digest(self.master_key, b"transom/derive/1\n" + purpose, "sha256")

    def pseudonym(self, caller: CallerId) -> Pseudonym:
        """Give the name under which the ledger knows a caller: `p_` and 80 bits of HMAC-SHA-256 in hexadecimal."""
        return Pseudonym("p_" + hmac.digest(self._pseudonym_key, caller.encode(), "sha256").hex()[:20])


def load_or_create(folder: Path, origin: str = DEFAULT_ORIGIN, sources: KeySources = _IN_THE_FOLDER) -> LedgerKeys:
    """Open the ledger's keys in `folder`, making folder (0700) and files (0600) that do not exist yet.

    Those that `sources` names are read from there, once, and never made. Raises `LedgerError` where others may read
    them, one is damaged, or the log has another origin; `ConfigError` where a source gives none.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_if_open_to_others(folder, "700")
        if sources.key is None:
            where = str(folder / LOG_KEY)
            text = _read_or_create(folder / LOG_KEY, lambda: Signer(origin, secrets.token_bytes(_KEY)).private_text)
        else:
            where = "ledger.key"
            text = sources.key.resolve(where)
        master = _secret(folder / "master.key", sources.master_key, "ledger.master_key")
        pseudonym = _secret(folder / "pseudonym.key", sources.pseudonym_key, "ledger.pseudonym_key")
        retired = read_retired(folder)
    except OSError as error:
        raise LedgerError(
            f"{folder}: the ledger's keys cannot be read or made ({error.strerror}). "
            "Let the user that runs Transom own this folder and its files."
        ) from error
    signer = _signer(where, text)
    if signer.name != origin:
        raise LedgerError(
            f"{where} is the key of the log {signer.name!r}, but the settings name it {origin!r}. "
            f"Set ledger.origin to {signer.name!r}; another name needs another key and another, empty database."
        )
    return LedgerKeys(signer, master, pseudonym, retired)


def read_retired(folder: Path) -> list[Verifier]:
    """Give the public keys that signed this log before, the last one first. Raises `LedgerError`."""
    file = folder / RETIRED
    try:
        lines = file.read_text(encoding="utf-8").split() if file.exists() else []
        return [parse_vkey(line) for line in reversed(lines)]
    except (OSError, UnicodeDecodeError, LedgerError) as error:
        raise LedgerError(f"{file}: {error} Restore the file from a backup.") from error


def retire(folder: Path, verifier: Verifier) -> None:
    """Keep a public key among those that signed this log before: durable on return, and again harmless."""
    lines = [each.vkey for each in reversed(read_retired(folder))]
    if verifier.vkey not in lines:
        _replace(folder / RETIRED, "".join(f"{line}\n" for line in [*lines, verifier.vkey]))


def next_signer(file: Path, origin: str) -> Signer:
    """Open the key that is to sign the log next, made where there is none yet. Raises `LedgerError`."""
    try:
        signer = _signer(
            str(file), _read_or_create(file, lambda: Signer(origin, secrets.token_bytes(_KEY)).private_text)
        )
    except OSError as error:
        raise LedgerError(f"{file}: it cannot be read or made ({error.strerror}).") from error
    if signer.name != origin:
        raise LedgerError(f"{file} is a key of {signer.name!r}, and the log is {origin!r}. Name another file.")
    return signer


def take_up_next(folder: Path) -> None:
    """Put the next key in the place of the one that signs now, whose secret is gone with that. Durable on return."""
    (folder / NEXT_KEY).replace(folder / LOG_KEY)
    fsync(folder)


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


def _signer(where: str, text: str) -> Signer:
    try:
        return parse_private(text)
    except LedgerError as error:
        raise LedgerError(f"{where}: {error} Restore it from a backup.") from None


def _secret(file: Path, source: SecretRef | None, setting: str) -> bytes:
    if source is None:
        where = str(file)
        text = _read_or_create(file, lambda: base64.b64encode(secrets.token_bytes(_KEY)).decode())
    else:
        where, text = setting, source.resolve(setting)
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != _KEY:
        raise LedgerError(f"{where}: this is not base64 of {_KEY} bytes. Restore it from a backup.")
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
    fsync(file.parent)


def _replace(file: Path, text: str) -> None:
    """Write a file whole or not at all, in place of any that is there."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    _create(draft, text)
    draft.replace(file)
    fsync(file.parent)


def _refuse_if_open_to_others(path: Path, mode: str) -> None:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise LedgerError(f"{path}: others may read or write it. Run: chmod {mode} {path}")
