"""The witness protocol, exactly as C2SP tlog-witness says: what is asked, and what a witness answers. No I/O.

A witness cosigns a log's checkpoint if the log's key signed it and it goes on from the last one that it cosigned.
Whoever judges keeps what `judge` says is to be kept, by compare-and-set and durably, before the answer leaves.
"""

import binascii
import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from transom.errors import LedgerError
from transom.ledger.checkpoint import Checkpoint, parse_checkpoint
from transom.ledger.cosign import Cosigner
from transom.ledger.fields import MAX_INTEGER
from transom.ledger.note import MAX_BYTES, Verifier, decode_base64, open_note, signature_line, split_note
from transom.ledger.proof import verify_consistency
from transom.ledger.tree import EMPTY_ROOT, HASH

SIZE_TYPE: Final = "text/x.tlog.size"
"""The content type of an answer that says which size the witness knows."""
_TEXT: Final = "text/plain; charset=utf-8"
_MAX_PROOF: Final = 63
_OLD: Final = re.compile("old (0|[1-9][0-9]{0,18})", re.ASCII)


class AddCheckpoint(NamedTuple):
    """A request: the size that the witness is thought to know, the proof from there, and the checkpoint's note."""

    old: int
    proof: Sequence[bytes]
    note: bytes

    @property
    def body(self) -> bytes:
        """The request's bytes."""
        lines = [f"old {self.old}", *(b64encode(each).decode() for each in self.proof)]
        return "\n".join(lines).encode() + b"\n\n" + self.note


class Seen(NamedTuple):
    """What a witness cosigned last of one log: size, root, the note with its own line, when (ms)."""

    size: int
    root: bytes
    note: str
    at: int


class Verdict(NamedTuple):
    """A witness's answer; `keep` is to be durable before it leaves."""

    status: int
    body: str
    content_type: str = _TEXT
    keep: Seen | None = None
    genuine: bool = False
    """The log's own key signed what came, so that it came from the log, if not straight."""


def parse_request(body: bytes) -> AddCheckpoint:
    """Read a request's bytes. Raises `LedgerError`."""
    head, blank, note = body.partition(b"\n\n")
    first, *lines = head.decode("ascii", "replace").split("\n")
    old = _OLD.fullmatch(first)
    if old is None or not blank or len(lines) > _MAX_PROOF or len(note) > MAX_BYTES:
        raise LedgerError(
            f"This is no request to a witness: `old <size>`, at most {_MAX_PROOF} hashes, an empty line, a checkpoint."
        )
    try:
        proof = [decode_base64(line) for line in lines]
    except (binascii.Error, ValueError):
        proof = [b""]
    if any(len(each) != HASH for each in proof):
        raise LedgerError("This is no request to a witness: a line of its proof is not a hash in base64.")
    return AddCheckpoint(int(old[1]), proof, note)


def origin_of(request: AddCheckpoint) -> str:
    """Give the name of the log that a request is about. Raises `LedgerError`."""
    return parse_checkpoint(split_note(request.note)[0]).origin


def log_id(origin: str) -> str:
    """Give the name under which a witness shows what it cosigned of a log: SHA-256 of its origin, in hexadecimal."""
    return hashlib.sha256(origin.encode()).hexdigest()


def judge(
    request: AddCheckpoint, logs: Mapping[str, Sequence[Verifier]], seen: Seen | None, cosigner: Cosigner, now: int
) -> Verdict:
    """Answer a request for a log of which `seen` was cosigned last; `now` in milliseconds since the Unix epoch.

    `logs`: the keys of each log, by its origin.
    """
    # 1. The checkpoint is one, of a log that we know, and the log's own key signed it.
    try:
        text, signatures = split_note(request.note)
        checkpoint = parse_checkpoint(text)
    except LedgerError as error:
        return Verdict(400, f"{error}\n")
    keys = logs.get(checkpoint.origin)
    if keys is None:
        return Verdict(404, "This witness does not know the log. Its operator names logs in [witness] logs.\n")
    try:
        open_note(request.note, keys)
    except LedgerError as error:
        return Verdict(403, f"{error}\n")
    # 2. It goes on from what was cosigned last, and whoever asks knows what that is.
    known = Seen(0, EMPTY_ROOT, "", 0) if seen is None else seen
    problem = _problem(request, checkpoint, known)
    if problem is not None:
        return problem
    # 3. Cosigned. Of the note's lines only those that were verified are kept and shown.
    time = max(now, known.at)  # a clock that went back does not take a cosignature's time back
    line = cosigner.line(text, time // 1000)
    known_ids = {key.key_id for key in keys}
    own = [signature_line(each.name, each.key_id + each.signature) for each in signatures if each.key_id in known_ids]
    note = "".join([text, "\n", *own, line])
    return Verdict(200, line, keep=Seen(checkpoint.size, checkpoint.root, note, time), genuine=True)


def _problem(request: AddCheckpoint, checkpoint: Checkpoint, known: Seen) -> Verdict | None:
    """Say why a genuine checkpoint is not cosigned; None where it is."""
    if request.old > checkpoint.size or checkpoint.size > MAX_INTEGER:
        return Verdict(400, "The old size is larger than the checkpoint's, or that is beyond any log.\n", genuine=True)
    if request.old != known.size:
        return Verdict(409, f"{known.size}\n", SIZE_TYPE, genuine=True)
    before = Checkpoint(checkpoint.origin, known.size, known.root)
    same = request.old != checkpoint.size or checkpoint.root == known.root
    if not same or not verify_consistency(before, checkpoint, request.proof):
        return Verdict(
            422,
            f"The checkpoint of size {checkpoint.size} does not go on from the one of size {known.size} that was "
            "cosigned: the log has a second history, or the proof is not of these two.\n",
            genuine=True,
        )
    return None
