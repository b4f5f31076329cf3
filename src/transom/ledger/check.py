"""What a stranger checks of one decision, with the log's public key alone. No I/O, and nobody is taken at their word.

A receipt says what was asked and answered; a proof, that the log holds it. Each check is a step with what it found; a
step that fails makes the whole fail, whatever the others say.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple, TypeAlias

from transom.errors import LedgerError
from transom.ledger.acts import SignerEntry
from transom.ledger.checkpoint import Checkpoint, parse_checkpoint
from transom.ledger.cosign import CosignatureVerifier, cosignatures
from transom.ledger.entry import AnswerPart, CommitmentPart, DecisionEntry, OutcomeEntry, decode
from transom.ledger.note import Verifier, open_note
from transom.ledger.portable import Portable, ProvenOutcome
from transom.ledger.proof import verify_inclusion
from transom.ledger.receipt import Receipt, ReceiptFile, open_receipt
from transom.ledger.rotation import endorsed
from transom.ledger.seal import Part, commitment
from transom.ledger.tree import leaf_hash

Said: TypeAlias = Literal["holds", "wrong", "not checked"]


class Witnesses(NamedTuple):
    """Whose cosignatures a checkpoint must have, and of how many of them at least."""

    keys: Sequence[CosignatureVerifier] = ()
    quorum: int = 0


NOBODY: Final = Witnesses()
"""No witness is asked for: the log's own signature is enough."""


class Step(NamedTuple):
    """One check, and what it found."""

    said: Said
    what: str


class Findings:
    """What was checked, in order."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return all(step.said != "wrong" for step in self.steps)

    def add(self, said: Said, what: str) -> None:
        """Add a step."""
        self.steps.append(Step(said, what))

    def need(self, holds: bool, yes: str, no: str) -> None:  # noqa: FBT001 - the point of it
        """Add a step that holds, or is wrong."""
        self.add("holds" if holds else "wrong", yes if holds else no)


def check_receipt(
    file: ReceiptFile,
    verifiers: Sequence[Verifier],
    *,
    prompt: bytes | None = None,
    answer: bytes | None = None,
    proof: Portable | None = None,
    now: datetime | None = None,
    witnesses: Witnesses = NOBODY,
) -> Findings:
    """Check a receipt; that `prompt` and `answer` are what it was given for; that `proof` keeps its promise."""
    found = Findings()
    if proof is not None:
        verifiers = _with_endorsed(found, proof, verifiers)
    # 1. The receipt is the log's own.
    try:
        receipt = open_receipt(file.note, verifiers)
    except LedgerError as error:
        found.add("wrong", str(error))
        return found
    ended = "its end was not known yet" if receipt.status is None else f"answered with status {receipt.status}"
    reason = f" ({receipt.reason})" if receipt.reason else ""
    found.add("holds", f"{receipt.log} signed this receipt of decision {receipt.decision}, made at {receipt.at}.")
    found.add("holds", f"By the receipt: {ended}{reason}.")
    # 2. What was asked, and what was answered.
    _compare(found, "prompt", receipt.prompt, file.prompt_salt, prompt)
    _compare(found, "answer", receipt.answer, file.answer_salt, answer)
    # 3. The log holds what the receipt promises.
    if proof is not None:
        _check_brought(found, file, receipt, proof, verifiers)
        _check_promise(found, receipt, proof, verifiers)
        _check_witnesses(found, proof, witnesses)
    elif (now or datetime.now(UTC)) > datetime.fromisoformat(receipt.include_by):
        found.add(
            "not checked",
            f"The log was to hold this by {receipt.include_by}: its proof is due, at /receipts/{receipt.decision}"
            ".tlog-proof. An operator who cannot give it has broken what they signed.",
        )
    else:
        found.add("not checked", f"The log will hold this by {receipt.include_by}; give its proof then.")
    return found


def check_proof(
    proof: Portable, verifiers: Sequence[Verifier], *, entry: bytes | None = None, witnesses: Witnesses = NOBODY
) -> Findings:
    """Check that the log holds `entry`, else the entry that the file brings, and the outcome that it brings."""
    found = Findings()
    verifiers = _with_endorsed(found, proof, verifiers)
    body = entry if entry is not None or proof.entry is None else proof.entry.encode()
    if body is None:
        found.add("wrong", "This proof brings no entry. Give the entry that it is to prove, byte for byte.")
        return found
    checkpoint = _check_inclusion(found, proof, body, verifiers)
    if checkpoint is not None and proof.outcome is not None and entry is None:
        _check_outcome_inclusion(found, checkpoint, proof.outcome)
    _check_witnesses(found, proof, witnesses)
    return found


def _with_endorsed(found: Findings, proof: Portable, verifiers: Sequence[Verifier]) -> Sequence[Verifier]:
    """Add the keys that took the place of trusted ones, by these ones' own signatures."""
    trusted = list(verifiers)
    for text in proof.signers:
        try:
            entry = decode(text.encode())
        except LedgerError as error:
            found.add("wrong", str(error))
            continue
        if not isinstance(entry, SignerEntry):
            found.add("wrong", "What the proof brings as a rotation of the log's key is another kind of entry.")
        elif entry.vkey not in {each.vkey for each in trusted}:
            new = endorsed(entry, trusted)
            if new is None:
                found.add("not checked", f"No key that you trust has endorsed {entry.vkey}: it does not count.")
            else:
                found.add("holds", f"The key {new.vkey} is endorsed by the one before it, which you trust.")
                trusted.append(new)
    return trusted


def _compare(
    found: Findings, part: Part, promised: CommitmentPart | AnswerPart | None, salt: bytes | None, content: bytes | None
) -> None:
    if promised is None:
        found.add("not checked" if content is None else "wrong", f"The receipt says nothing of the {part}.")
        return
    cut = ", cut off before its end," if isinstance(promised, AnswerPart) and not promised.complete else ""
    if content is None:
        found.add("not checked", f"The {part}{cut} has {promised.size} bytes; give them to compare them.")
    elif salt is None:
        found.add("wrong", f"The salt that would prove the {part} is not in this file. Use the caller's own receipt.")
    else:
        found.need(
            (len(content), commitment(salt, content)) == (promised.size, promised.commitment),
            f"The {part}{cut} is the very one, {promised.size} bytes.",
            f"The {part} is another than the receipt was given for ({len(content)} bytes, where it had "
            f"{promised.size}). A byte more or less, as of a newline at the end, makes it another.",
        )


def _check_brought(
    found: Findings, file: ReceiptFile, receipt: Receipt, proof: Portable, verifiers: Sequence[Verifier]
) -> None:
    """Hold the receipt that a proof brings against the one that is checked."""
    brought = proof.receipt
    if brought is None or brought == file:
        return
    try:
        same = open_receipt(brought.note, verifiers).leaf == receipt.leaf
    except LedgerError:
        same = False
    salts = ((file.prompt_salt, brought.prompt_salt), (file.answer_salt, brought.answer_salt))
    if not same or any(ours != theirs for ours, theirs in salts if ours is not None and theirs is not None):
        found.add("wrong", "The receipt that the proof brings is another than this one, or was altered.")


def _check_promise(found: Findings, receipt: Receipt, proof: Portable, verifiers: Sequence[Verifier]) -> None:
    """Hold a proof against what the receipt promised."""
    if proof.entry is None:
        found.add("wrong", "The proof brings no entry. Use the one from /receipts/ID.tlog-proof.")
        return
    # 1. The decision's entry is in the log, and is the one that was signed for.
    checkpoint = _check_inclusion(found, proof, proof.entry.encode(), verifiers)
    if checkpoint is None:
        return
    same = leaf_hash(proof.entry.encode()) == receipt.leaf
    found.need(same, "It is the entry that the receipt promised.", "It is not the entry that the receipt promised.")
    if not same:
        return
    # 2. The receipt says of it what it says itself.
    try:
        decision = decode(proof.entry.encode())
    except LedgerError as error:
        found.add("wrong", str(error))
        return
    found.need(
        isinstance(decision, DecisionEntry)
        and (decision.id, decision.at, decision.prompt) == (receipt.decision, receipt.at, receipt.prompt),
        "The entry names the same decision, time and prompt as the receipt.",
        "The entry does not name the decision, time and prompt that the receipt does.",
    )
    # 3. So does its outcome.
    if proof.outcome is None:
        found.add("not checked", "The decision had no outcome yet when this proof was made: fetch it again.")
        return
    outcome = _check_outcome_inclusion(found, checkpoint, proof.outcome)
    if outcome is not None:
        _check_outcome(found, receipt, outcome, proof.outcome)


def _check_outcome(found: Findings, receipt: Receipt, outcome: OutcomeEntry, proven: ProvenOutcome) -> None:
    if outcome.decision != receipt.decision:
        found.add("wrong", f"It is the outcome of another decision, {outcome.decision}.")
        return
    if receipt.outcome is not None and leaf_hash(proven.entry.encode()) != receipt.outcome:
        found.add("wrong", "It is not the outcome that the receipt was given for.")
        return
    if receipt.status is None:
        found.add("not checked", f"The log says that it was {outcome.status}, which the receipt was too early for.")
        return
    same = (outcome.http_status, outcome.answer) == (receipt.status, receipt.answer)
    if not same and outcome.status == "interrupted":
        found.add(
            "wrong",
            "The log says `interrupted` and holds no answer, and the receipt is of one. Either the process died right "
            "after it had answered, or somebody would rather not have answered. The receipt stands.",
        )
        return
    found.need(
        same,
        f"The log says that it was {outcome.status}, with the receipt's status and answer.",
        "The log says another status or another answer than the receipt. The receipt stands.",
    )


def _check_inclusion(
    found: Findings, proof: Portable, entry: bytes, verifiers: Sequence[Verifier]
) -> Checkpoint | None:
    """Check that the log holds an entry; give its checkpoint where it does."""
    file = proof.proof
    try:
        checkpoint = parse_checkpoint(open_note(file.note.encode(), verifiers))
    except LedgerError as error:
        found.add("wrong", str(error))
        return None
    names = {verifier.name for verifier in verifiers}
    if checkpoint.origin not in names:
        found.add("wrong", f"The checkpoint is of the log {checkpoint.origin!r}, not of {', '.join(sorted(names))}.")
        return None
    found.add("holds", f"{checkpoint.origin} signed the checkpoint of {checkpoint.size} entries.")
    included = verify_inclusion(leaf_hash(entry), file.index, checkpoint.size, file.hashes, checkpoint.root)
    found.need(
        included,
        f"The entry is number {file.index} of them, counted from 0.",
        f"The entry is not number {file.index} of them: entry, path or checkpoint was altered.",
    )
    return checkpoint if included else None


def _check_witnesses(found: Findings, proof: Portable, witnesses: Witnesses) -> None:
    """Check that enough witnesses saw the very log that the proof is under."""
    if not witnesses.keys:
        return
    try:
        signed = cosignatures(proof.proof.note.encode(), witnesses.keys)
    except LedgerError as error:
        found.add("wrong", str(error))
        return
    who = ", ".join(each.witness for each in signed) or "nobody"
    found.need(
        len(signed) >= witnesses.quorum,
        f"The checkpoint is cosigned by {who}, who saw this log and no other.",
        f"The checkpoint is cosigned by {who}; {witnesses.quorum} of {len(witnesses.keys)} witnesses were wanted.",
    )


def _check_outcome_inclusion(found: Findings, checkpoint: Checkpoint, proven: ProvenOutcome) -> OutcomeEntry | None:
    body = proven.entry.encode()
    included = verify_inclusion(leaf_hash(body), proven.index, checkpoint.size, proven.hashes, checkpoint.root)
    found.need(
        included,
        f"The outcome is number {proven.index} of them.",
        f"The outcome is not number {proven.index} of them: entry, path or checkpoint was altered.",
    )
    if not included:
        return None
    try:
        outcome = decode(body)
    except LedgerError as error:
        found.add("wrong", str(error))
        return None
    if not isinstance(outcome, OutcomeEntry):
        found.add("wrong", "What the proof brings as the outcome is another kind of entry.")
        return None
    return outcome
