"""Receipts: what the log's key signs of a decision at once, before the log holds it. No I/O.

What is signed is a signed note (`ledger.note`) over lines in this order; those from `prompt` on may be missing:

    transom-receipt/1
    log <the log's name>
    decision <its id>
    at <its time>
    include-by <when the log will hold it, at the latest>
    leaf <hash of the decision's entry as a leaf of the log>
    prompt <commitment> <size>
    status <HTTP status> <the refusal's code, if it was one>
    answer <commitment> <size> complete|cut
    outcome <hash of the outcome's entry as a leaf of the log>

Its second line is never a tree's size, so that no receipt passes for a checkpoint under the same key. The salts that
open its commitments stand before it in the file, in nobody's signature: the commitments themselves check them.
"""

import binascii
import re
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from transom.errors import LedgerError
from transom.ledger.entry import AnswerPart, CommitmentPart
from transom.ledger.fields import DecisionRef, Time
from transom.ledger.note import Signer, Verifier, decode_base64, open_note
from transom.ledger.tree import HASH

_HEADER: Final = "transom-receipt/1"
_FILE: Final = "transom-receipt-file/1"
_REASON: Final = re.compile(r"[a-z0-9_]{1,200}", re.ASCII)
_LINES: Final = ("log", "decision", "at", "include-by", "leaf", "prompt", "status", "answer", "outcome")
_ALWAYS: Final = 5
_SALT: Final = 32


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What is promised of one decision. `leaf` and `outcome` are leaf hashes."""

    log: str
    decision: DecisionRef
    at: Time
    include_by: Time
    leaf: bytes
    prompt: CommitmentPart | None = None
    status: int | None = None
    """What the caller was answered; missing where that had not ended when it was signed."""
    reason: str | None = None
    answer: AnswerPart | None = None
    outcome: bytes | None = None
    """Known once the outcome is on record."""

    @property
    def text(self) -> str:
        """The lines that are signed."""
        lines = [
            _HEADER,
            f"log {self.log}",
            f"decision {self.decision}",
            f"at {self.at}",
            f"include-by {self.include_by}",
            f"leaf {_encode(self.leaf)}",
        ]
        if self.prompt is not None:
            lines.append(f"prompt {self.prompt.commitment} {self.prompt.size}")
        if self.status is not None:
            # A code that is not a plain word has no place in a line; the outcome's entry has it.
            plain = self.reason is not None and _REASON.fullmatch(self.reason) is not None
            lines.append(f"status {self.status} {self.reason}" if plain else f"status {self.status}")
        if self.answer is not None:
            whole = "complete" if self.answer.complete else "cut"
            lines.append(f"answer {self.answer.commitment} {self.answer.size} {whole}")
        if self.outcome is not None:
            lines.append(f"outcome {_encode(self.outcome)}")
        return "\n".join(lines) + "\n"


class ReceiptFile(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt as its holder keeps it: the signed note, and the salts that prove the prompt and the answer.

    Who has a salt can try guesses of what was said. A salt is missing where it was erased, or is not the asker's.
    """

    note: str
    prompt_salt: bytes | None = None
    answer_salt: bytes | None = None

    @property
    def text(self) -> str:
        """The file."""
        salts = (("prompt-salt", self.prompt_salt), ("answer-salt", self.answer_salt))
        lines = [_FILE, *[f"{name} {_encode(salt)}" for name, salt in salts if salt is not None]]
        return "\n".join(lines) + "\n\n" + self.note


def sign(receipt: Receipt, signer: Signer) -> str:
    """Give the signed note of a receipt."""
    return signer.sign(receipt.text)


def parse_file(text: str) -> ReceiptFile:
    """Read a receipt's file; nothing is verified. Raises `LedgerError`."""
    head, blank, note = text.partition("\n\n")
    header, *lines = head.split("\n")
    salts: dict[str, bytes] = {}
    for line in lines:
        name, _, encoded = line.partition(" ")
        salts[name] = _decode(encoded, _SALT)
    found = ReceiptFile(note=note, prompt_salt=salts.get("prompt-salt"), answer_salt=salts.get("answer-salt"))
    if header != _FILE or not blank or found.text != text:
        raise _no_receipt(f"it must begin with {_FILE}, salts and an empty line")
    return found


def open_receipt(note: str, verifiers: Sequence[Verifier]) -> Receipt:
    """Verify a receipt's signature and read it.

    Raises `LedgerError` where no key of `verifiers` signed it, or it is of another log than the key's.
    """
    receipt = parse_receipt(open_note(note.encode(), verifiers))
    if receipt.log not in {verifier.name for verifier in verifiers}:
        raise LedgerError(f"This receipt is of the log {receipt.log!r}, not of {verifiers[0].name!r}.")
    return receipt


def parse_receipt(text: str) -> Receipt:
    """Read what a receipt's signature covers. Raises `LedgerError`."""
    header, *lines = text.removesuffix("\n").split("\n")
    said = dict(line.partition(" ")[::2] for line in lines)
    if header != _HEADER or not set(_LINES[:_ALWAYS]) <= set(said) <= set(_LINES):
        raise _no_receipt("it must be lines as `transom-receipt/1` has them")
    try:
        receipt = msgspec.convert(
            {
                "log": said["log"],
                "decision": said["decision"],
                "at": said["at"],
                "include_by": said["include-by"],
                "leaf": _decode(said["leaf"], HASH),
                "prompt": _part(said.get("prompt")),
                "status": _status(said.get("status")),
                "reason": (said.get("status") or "").partition(" ")[2] or None,
                "answer": _part(said.get("answer")),
                "outcome": _decode(said["outcome"], HASH) if "outcome" in said else None,
            },
            Receipt,
        )
        datetime.fromisoformat(receipt.include_by)
    except (msgspec.ValidationError, ValueError) as error:
        raise _no_receipt(str(error)) from error
    if receipt.text != text:
        raise _no_receipt("its lines are not in their order, or not written as Transom writes them")
    return receipt


def _part(words: str | None) -> dict[str, object] | None:
    """Read `<commitment> <size>`, and the word that says whether an answer is whole."""
    if words is None:
        return None
    commitment, _, rest = words.partition(" ")
    size, _, whole = rest.partition(" ")
    return {"commitment": commitment, "size": _number(size)} | ({"complete": whole == "complete"} if whole else {})


def _status(words: str | None) -> int | None:
    return None if words is None else _number(words.partition(" ")[0])


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 17):
        raise ValueError(f"{text[:20]!r} is no number")
    return int(text)


def _decode(text: str, length: int) -> bytes:
    try:
        data = decode_base64(text)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != length:
        raise _no_receipt(f"{text[:60]!r} is not {length} bytes in base64")
    return data


def _encode(data: bytes) -> str:
    return b64encode(data).decode()


def _no_receipt(why: str) -> LedgerError:
    return LedgerError(f"This is no receipt: {why}. Take the file, or the `transom-receipt` header, as it came.")
