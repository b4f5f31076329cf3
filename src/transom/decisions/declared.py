"""What was declared and came into force, kept under its digest: decisions and entries name it, and it can be had again.

`declared/sha256/` is not the log: whoever may read that need not see policies. Objects there are never changed and
never deleted; each proves itself by its name.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

from transom.config.digest import digest
from transom.errors import LedgerError
from transom.storage.objects import Objects
from transom.values import Digest

FOLDER: Final = "declared/sha256"


class MissingError(LedgerError):
    """What an entry names by its digest is not kept."""


def keep(objects: Objects, texts: Iterable[bytes]) -> None:
    """Keep texts under their digests; one that is there and damaged is made whole. Raises `StorageError`."""
    for text in texts:
        path = _path(digest(text))
        if not objects.create(path, text) and objects.get(path) != text:
            objects.put(path, text)


def load(objects: Objects, wanted: Digest, what: str) -> bytes:
    """Give what has a digest. Raises `MissingError`; `LedgerError` where it was altered; `StorageError`."""
    text = objects.get(_path(wanted))
    if text is None:
        raise MissingError(f"{what} ({wanted}) is not kept: nothing lies at {_path(wanted)} of the object store.")
    if digest(text) != wanted:
        found = hashlib.sha256(text).hexdigest()
        raise LedgerError(
            f"{what} ({wanted}) was altered: what lies at {_path(wanted)} has the digest sha256:{found}. "
            "Restore that object from a backup."
        )
    return text


def _path(of: Digest) -> str:
    hexadecimal = of.removeprefix("sha256:")
    return f"{FOLDER}/{hexadecimal[:2]}/{hexadecimal[2:]}"
