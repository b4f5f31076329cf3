"""One file that proves a decision to anybody: a tlog-proof whose `extra` holds what the proof is of. No I/O.

`extra` is not authenticated (C2SP tlog-proof), and need not be: every word in it is checked against the checkpoint or
against the log's signature (`ledger.check`). It is canonical JSON: `entry`, the decision's entry as text; `outcome`,
its outcome's, with a place and a path of its own under the same checkpoint; `receipt`, the receipt's file; `signers`,
where the log's key was ever rotated, the entries in which each key endorses the next (`ledger.rotation`).
"""

from base64 import b64encode

import msgspec

from transom.errors import LedgerError
from transom.ledger.note import decode_base64
from transom.ledger.proof import ProofFile, parse_proof
from transom.ledger.receipt import ReceiptFile, parse_file


class ProvenOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """An outcome's entry, and its inclusion proof under the file's checkpoint."""

    entry: str
    index: int
    hashes: tuple[bytes, ...]


class Portable(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds. `proof` is of the decision's entry; without its `extra`."""

    proof: ProofFile
    entry: str | None = None
    outcome: ProvenOutcome | None = None
    receipt: ReceiptFile | None = None
    signers: tuple[str, ...] = ()
    """Entries, oldest first. They prove themselves."""

    @property
    def text(self) -> str:
        """The file."""
        extra: dict[str, object] = {}
        if self.entry is not None:
            extra["entry"] = self.entry
        if self.outcome is not None:
            hashes = [b64encode(each).decode() for each in self.outcome.hashes]
            extra["outcome"] = {"entry": self.outcome.entry, "index": self.outcome.index, "hashes": hashes}
        if self.receipt is not None:
            extra["receipt"] = self.receipt.text
        if self.signers:
            extra["signers"] = self.signers
        data = msgspec.json.encode(extra, order="sorted") if extra else b""
        return ProofFile(self.proof.index, self.proof.hashes, self.proof.note, data).text


class _Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    entry: str
    index: int
    hashes: tuple[str, ...]


class _Extra(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    entry: str | None = None
    outcome: _Outcome | None = None
    receipt: str | None = None
    signers: tuple[str, ...] = ()


def parse_portable(text: str) -> Portable:
    """Read a proof's file with whatever its `extra` holds; nothing is verified. Raises `LedgerError`."""
    proof = parse_proof(text)
    bare = ProofFile(proof.index, proof.hashes, proof.note)
    if not proof.extra:
        return Portable(proof=bare)
    try:
        extra = msgspec.json.decode(proof.extra, type=_Extra)
        outcome = None
        if extra.outcome is not None:
            hashes = tuple([decode_base64(each) for each in extra.outcome.hashes])
            outcome = ProvenOutcome(entry=extra.outcome.entry, index=extra.outcome.index, hashes=hashes)
    except (ValueError, RecursionError) as error:  # also what msgspec, base64 and UTF-8 raise
        raise LedgerError(
            f"The `extra` of this proof file is not Transom's: {error}. Give the entry beside."
        ) from error
    receipt = None if extra.receipt is None else parse_file(extra.receipt)
    found = Portable(proof=bare, entry=extra.entry, outcome=outcome, receipt=receipt, signers=extra.signers)
    if found.text != text:
        raise LedgerError("The `extra` of this proof file is not in canonical form, so Transom did not write it.")
    return found
