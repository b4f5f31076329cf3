"""A checkpoint: what a log says of itself at one size, as C2SP tlog-checkpoint v1.0.0 writes it. No I/O."""

import binascii
import re
from base64 import b64encode
from typing import Final, NamedTuple

from transom.errors import LedgerError
from transom.ledger.note import decode_base64
from transom.ledger.tree import HASH

_SIZE: Final = re.compile("0|[1-9][0-9]{0,18}", re.ASCII)


class Checkpoint(NamedTuple):
    """A log's name, its size in entries, and the root hash over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a checkpoint's text; lines after the third are extensions, and ignored. Raises `LedgerError`."""
    origin, size, root, *_ = [*text.split("\n"), "", ""]
    try:
        data = decode_base64(root)
    except (binascii.Error, ValueError):
        data = b""
    if not origin or not _SIZE.fullmatch(size) or len(data) != HASH:
        raise LedgerError("This is no checkpoint: it must be three lines, the log's name, its size and its root hash.")
    return Checkpoint(origin, int(size), data)
