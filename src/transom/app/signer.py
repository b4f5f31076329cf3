"""The key that signs the log: its beginning on record, and another in its place.

A rotation, and what a crash just after each step means:
1. The next key is made, in a file of its own. Nobody knows it yet; the next try finds it.
2. The old public key is kept among those that signed the log before. It still signs: nothing changes by that.
3. The entry: the old key endorses the new one. From here on the new one signs; `settle` does step 4 at the next start.
4. The new key takes the old one's file. The old secret is gone.
"""

import time
from pathlib import Path
from typing import Final

import msgspec

from transom.app.build import Stores
from transom.app.reload import FILES
from transom.decisions.governance import TERMINAL, newest_signer, record_signer
from transom.decisions.recover import recover
from transom.decisions.store import await_inserts, instances
from transom.errors import LedgerError
from transom.ledger.keys import NEXT_KEY, load_or_create, next_signer, retire, take_up_next
from transom.ledger.note import parse_vkey
from transom.ledger.rotation import endorse

_SILENT_MS: Final = 60_000
"""After so long a silence a process that cannot be seen is taken for dead (`decisions.recover`)."""


def settle(stores: Stores) -> Stores:
    """See that the key in hand is the one that the log names, and put it on record where it is the first.

    Finishes a rotation that was cut off; give the stores with the key that signs. Raises `LedgerError`.
    """
    with stores.database.begin() as connection:
        await_inserts(connection)
        named = newest_signer(connection)
        if named is None or parse_vkey(named).name != stores.keys.origin:
            record_signer(connection, stores.keys, stores.keys.vkey, by=FILES)
            return stores
    folder, settings = stores.home.data / "keys", stores.settings.ledger
    if named != stores.keys.vkey and (folder / NEXT_KEY).exists() and settings.key is None:
        if next_signer(folder / NEXT_KEY, stores.keys.origin).verifier.vkey == named:
            take_up_next(folder)
        stores = msgspec.structs.replace(stores, keys=load_or_create(folder, settings.origin, settings.sources))
    if named != stores.keys.vkey:
        raise LedgerError(
            f"The log says that {named} signs it, but the key in hand is {stores.keys.vkey}. Put the key that belongs "
            "to this database in its place (data/keys/ledger.key, or where ledger.key says)."
        )
    return stores


def rotate(stores: Stores, file: Path | None) -> str:
    """Have another key sign the log from the next start on; give its public key. The door must not run.

    `file`: where the next key is, or is made; needed where `ledger.key` names another place for keys than their folder,
    into which it must then be brought. Raises `LedgerError`.
    """
    stores = settle(stores)
    _refuse_beside_others(stores)
    elsewhere = stores.settings.ledger.key is not None
    if elsewhere != (file is not None):
        raise LedgerError(
            "ledger.key names where the log's key is kept, so Transom cannot replace it: say with --new-key in which "
            "file the next one is, or is to be made."
            if elsewhere
            else "The log's key is in data/keys, where Transom replaces it: leave --new-key out."
        )
    folder = stores.home.data / "keys"
    new = next_signer(file or folder / NEXT_KEY, stores.keys.origin).verifier.vkey
    if new in {each.vkey for each in stores.keys.verifiers}:
        raise LedgerError(f"{new} has signed this log already. A rotation needs another key.")
    retire(folder, stores.keys.signer.verifier)
    with stores.database.begin() as connection:
        record_signer(connection, stores.keys, new, by=TERMINAL, endorsement=endorse(stores.keys.signer, new))
    if not elsewhere:
        take_up_next(folder)
    return new


def _refuse_beside_others(stores: Stores) -> None:
    """Refuse while a process signs, on this machine or another: it has the old key in memory."""
    recover(stores.database)
    with stores.database.begin(write=False) as connection:
        alive = [each for each in instances(connection) if each.seen > time.time_ns() // 1_000_000 - _SILENT_MS]
    if alive:
        raise LedgerError(
            f"{len(alive)} processes serve this database ({alive[0].id}). Stop them first: each has the old key in "
            "memory. One that was killed where this machine cannot see it is taken for dead after a minute."
        )
