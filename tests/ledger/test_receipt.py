"""Receipts and portable proofs: their formats, and that whoever checks them believes nothing that was altered."""

import contextlib
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger import outsider
from tests.ledger.making import rotation

from transom.errors import LedgerError
from transom.ledger.check import Findings, Witnesses, check_proof, check_receipt
from transom.ledger.checkpoint import Checkpoint, parse_checkpoint
from transom.ledger.cosign import Cosigner
from transom.ledger.entry import (
    AnswerPart,
    CommitmentPart,
    DecisionEntry,
    OutcomeEntry,
    ResourceRef,
    encode,
    new_id,
    timestamp,
)
from transom.ledger.fields import MAX_INTEGER
from transom.ledger.note import Signer, Verifier
from transom.ledger.portable import Portable, ProvenOutcome, parse_portable
from transom.ledger.proof import ProofFile
from transom.ledger.receipt import Receipt, ReceiptFile, open_receipt, parse_file, parse_receipt, sign
from transom.ledger.seal import commitment
from transom.ledger.tree import leaf_hash, node_hash
from transom.values import Digest, Pseudonym

SIGNER = Signer("log.example/a", bytes(range(32)))
OTHER = Signer("log.example/a", bytes(32))
KEYS = [SIGNER.verifier]
PROMPT, ANSWER = b'{"model":"open"}', b'{"choices":[]}'
SALTS = (bytes(range(32)), bytes(range(32, 64)))
AT = timestamp(1_764_000_000_000)
BY = timestamp(1_764_000_060_000)
BEFORE, AFTER = datetime(2025, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)

hashes = st.binary(min_size=32, max_size=32)
commitments = st.builds(commitment, hashes, st.binary(max_size=5))
counts = st.integers(0, MAX_INTEGER)
times = st.integers(0, 253_402_300_799_999).map(timestamp)
prompts = st.builds(CommitmentPart, commitment=commitments, size=counts)
answers = st.builds(AnswerPart, commitment=commitments, size=counts, complete=st.booleans())
receipts = st.builds(
    Receipt,
    log=st.sampled_from(["log.example/a", "1", "256"]),
    decision=st.sampled_from([new_id(1), new_id(1_764_000_000_000), new_id(2**48 - 1)]),
    at=times,
    include_by=times,
    leaf=hashes,
    prompt=st.none() | prompts,
    status=st.none() | st.integers(100, 599),
    answer=st.none() | answers,
    outcome=st.none() | hashes,
)


class Made(NamedTuple):
    """A receipt's file and its proof, of one decision that was asked and answered."""

    file: ReceiptFile
    proof: Portable

    def check(self, **more: Any) -> Findings:
        given: dict[str, Any] = {"prompt": PROMPT, "answer": ANSWER, "proof": self.proof} | more
        return check_receipt(self.file, KEYS, **given)


def make(*, signer: Signer = SIGNER, **outcome: Any) -> Made:
    """Make both, in a log of four entries; `outcome` in place of what a true log would say."""
    id_ = new_id(1_764_000_000_000)
    prompt = CommitmentPart(commitment=commitment(SALTS[0], PROMPT), size=len(PROMPT))
    answer = AnswerPart(commitment=commitment(SALTS[1], ANSWER), size=len(ANSWER), complete=True)
    decision = DecisionEntry(
        id=id_,
        at=AT,
        by=Pseudonym("p_" + "0" * 20),
        action="infer",
        resource=ResourceRef(type="Model", id="open@1", digest=Digest("sha256:" + "0" * 64)),
        prompt=prompt,
        build="1",
    )
    told: dict[str, Any] = {"decision": id_, "status": "answered", "http_status": 200, "answer": answer} | outcome
    ended = OutcomeEntry(id=new_id(1_764_000_000_500), at=timestamp(1_764_000_000_500), **told)
    leaves = [leaf_hash(each) for each in (b"a", encode(decision), encode(ended), b"d")]
    left, right = node_hash(*leaves[:2]), node_hash(*leaves[2:])
    note = signer.sign(Checkpoint(signer.name, 4, node_hash(left, right)).text)
    receipt = Receipt(
        log=signer.name,
        decision=id_,
        at=AT,
        include_by=BY,
        leaf=leaves[1],
        prompt=prompt,
        status=200,
        answer=answer,
    )
    file = ReceiptFile(note=sign(receipt, signer), prompt_salt=SALTS[0], answer_salt=SALTS[1])
    proven = ProvenOutcome(entry=encode(ended).decode(), index=2, hashes=(leaves[3], left))
    entry = encode(decision).decode()
    return Made(file, Portable(proof=ProofFile(1, (leaves[0], right), note), entry=entry, outcome=proven, receipt=file))


def wrong(found: Findings) -> list[str]:
    return [step.what for step in found.steps if step.said == "wrong"]


@given(receipts)
def test_a_receipt_is_read_as_it_was_written_and_is_no_checkpoint(receipt: Receipt) -> None:
    assert parse_receipt(receipt.text) == receipt
    with pytest.raises(LedgerError):
        parse_checkpoint(receipt.text)


@given(st.builds(Checkpoint, st.sampled_from(["log.example/a", "transom-receipt/1"]), counts, hashes))
def test_a_checkpoint_is_no_receipt(checkpoint: Checkpoint) -> None:
    with pytest.raises(LedgerError):
        parse_receipt(checkpoint.text)


@given(receipts, st.none() | hashes, st.none() | hashes)
def test_a_file_is_read_as_it_was_written(receipt: Receipt, prompt: bytes | None, answer: bytes | None) -> None:
    file = ReceiptFile(note=sign(receipt, SIGNER), prompt_salt=prompt, answer_salt=answer)
    assert parse_file(file.text) == file
    assert parse_receipt(outsider.verify_note(file.note.encode(), SIGNER.verifier.vkey)) == receipt


@given(st.text() | receipts.map(lambda receipt: receipt.text), st.integers(0, 400), st.text(max_size=3))
def test_what_is_no_receipt_is_refused_and_nothing_else(text: str, at: int, insert: str) -> None:
    """A text either reads as a receipt whose text it is, or raises `LedgerError`."""
    changed = text[:at] + insert + text[at + 1 :]
    with contextlib.suppress(LedgerError):
        assert parse_receipt(changed).text == changed
    for reads in (parse_file, parse_portable):
        with pytest.raises(LedgerError):
            reads(changed)


def test_all_of_it_holds() -> None:
    made = make()
    found = made.check()
    assert found.ok
    assert [step.said for step in found.steps] == ["holds"] * len(found.steps)
    assert check_receipt(made.file, KEYS, now=BEFORE).ok
    assert check_receipt(made.file, KEYS, now=AFTER).ok
    assert "its proof is due" in check_receipt(made.file, KEYS, now=AFTER).steps[-1].what
    assert "will hold this by" in check_receipt(made.file, KEYS, now=BEFORE).steps[-1].what
    assert check_proof(made.proof, KEYS).ok
    assert parse_portable(made.proof.text) == made.proof
    outsider.verify_portable(made.proof.text, SIGNER.verifier.vkey, receipt=made.file.text)


def flips(text: str) -> list[str]:
    """The text with each of its bytes changed, one at a time."""
    data = text.encode()
    changed = [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(len(data))]
    return [each.decode("utf-8", "replace") for each in changed]


def test_any_byte_of_a_receipt_that_is_changed_is_seen() -> None:
    made = make()
    for text in flips(made.file.text):
        try:
            file = parse_file(text)
        except LedgerError:
            continue
        assert wrong(check_receipt(file, KEYS, prompt=PROMPT, answer=ANSWER, proof=made.proof)), text


def believe(proof: str, receipt: str) -> None:
    """Check a proof, and what it brings, as an outsider does."""
    outsider.verify_portable(proof, SIGNER.verifier.vkey, receipt=receipt)
    outsider.prove_said(outsider.extra(proof)["receipt"], prompt=PROMPT, answer=ANSWER)


def test_any_byte_of_a_proof_that_is_changed_is_seen() -> None:
    made = make()
    head, extra, rest = made.proof.text.split("\n", 2)
    within = b64decode(extra.removeprefix("extra ")).decode()
    changed = [f"{head}\n{extra}\n{each}" for each in flips(rest)] + [
        f"{each}\n{extra}\n{rest}" for each in flips(head)
    ]
    changed += [f"{head}\n{each}\n{rest}" for each in flips(extra)[::7]]
    changed += [f"{head}\nextra {b64encode(each.encode()).decode()}\n{rest}" for each in flips(within)]
    for text in changed:
        with pytest.raises(outsider.Rejected):
            believe(text, made.file.text)
        try:
            proof = parse_portable(text)
        except LedgerError:
            continue
        assert wrong(made.check(proof=proof)), text


@pytest.mark.parametrize("part", ["prompt", "answer"])
@pytest.mark.parametrize("change", [b"", b"x", PROMPT + b"\n", ANSWER + b"\n", PROMPT[:-1] + b"]"])
def test_another_prompt_or_answer_is_seen(part: str, change: bytes) -> None:
    assert any(f"The {part} is another" in each for each in wrong(make().check(**{part: change})))


def test_another_key_or_log_is_not_believed() -> None:
    made = make()
    stranger = Signer("log.example/b", bytes(range(32)))
    for keys in ([OTHER.verifier], [stranger.verifier]):
        assert "not signed by" in wrong(check_receipt(made.file, keys))[0]
        assert "not signed by" in wrong(check_proof(made.proof, keys))[0]
    assert check_receipt(made.file, [OTHER.verifier, *KEYS]).ok  # one of several that the log has had
    forged = make(signer=OTHER)
    assert wrong(made.check(proof=forged.proof))
    named = Receipt(log="log.example/b", decision=new_id(1), at=AT, include_by=BY, leaf=bytes(32))
    with pytest.raises(LedgerError, match="of the log"):
        open_receipt(sign(named, SIGNER), KEYS)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"status": "interrupted", "http_status": None, "answer": None}, "interrupted"),
        ({"http_status": 403, "answer": None, "status": "refused"}, "another status"),
        ({"answer": AnswerPart(commitment=commitment(SALTS[1], b"x"), size=1, complete=True)}, "another status"),
        ({"decision": new_id(7)}, "another decision"),
    ],
)
def test_a_log_that_says_otherwise_is_found_out(told: dict[str, Any], says: str) -> None:
    """The log's own key signed it: only the receipt tells."""
    made = make(**told)
    assert check_proof(made.proof, KEYS).ok
    (said,) = wrong(made.check())
    assert says in said
    assert made.check(proof=None).ok  # what was answered is proven all the same


def test_another_decisions_proof_keeps_no_promise() -> None:
    made, other = make(), make()
    assert any("not the entry" in each for each in wrong(made.check(proof=other.proof)))


def test_what_a_file_lacks_is_said() -> None:
    made = make()
    bare = ReceiptFile(note=made.file.note)
    found = check_receipt(bare, KEYS, prompt=PROMPT)
    assert "salt" in wrong(found)[0]
    assert check_receipt(bare, KEYS).ok
    assert wrong(check_proof(Portable(proof=made.proof.proof), KEYS))
    assert wrong(made.check(proof=Portable(proof=made.proof.proof)))
    assert check_proof(Portable(proof=made.proof.proof), KEYS, entry=(made.proof.entry or "").encode()).ok
    assert wrong(check_proof(made.proof, KEYS, entry=b"{}"))
    early = Portable(proof=made.proof.proof, entry=made.proof.entry)
    assert made.check(proof=early).ok
    assert "fetch it again" in made.check(proof=early).steps[-1].what
    nothing = Receipt(log=SIGNER.name, decision=new_id(1), at=AT, include_by=BY, leaf=bytes(32))
    file = ReceiptFile(note=sign(nothing, SIGNER))
    assert check_receipt(file, KEYS).ok
    assert wrong(check_receipt(file, KEYS, answer=ANSWER))


def test_who_trusts_an_old_key_of_the_log_comes_to_trust_the_next() -> None:
    """A receipt was signed by the first key, and its proof by the third."""
    first, second, third = (Signer("log.example/a", bytes([number] * 32)) for number in (1, 2, 3))
    file = make(signer=first).file
    made = make(signer=third)
    signers = (rotation(first, second), rotation(second, third))
    proof = msgspec.structs.replace(made.proof, receipt=None, signers=signers)
    assert parse_portable(proof.text) == proof
    for trusted in (first, second, third):
        assert check_proof(proof, [trusted.verifier]).ok
    assert len([step for step in check_proof(proof, [first.verifier]).steps if "endorsed" in step.what]) == 2
    assert check_receipt(file, [first.verifier]).ok
    assert check_receipt(made.file, [first.verifier], proof=proof, prompt=PROMPT, answer=ANSWER).ok
    for harmed in (signers[:1], signers[1:], (rotation(OTHER, second), signers[1])):
        found = check_proof(msgspec.structs.replace(proof, signers=harmed), [first.verifier])
        assert "not signed by" in wrong(found)[-1]
    for nonsense in ("{}", made.proof.entry or ""):
        assert not check_proof(msgspec.structs.replace(proof, signers=(nonsense,)), [third.verifier]).ok


WITNESSES = [Cosigner(f"witness.example/{number}", bytes([number] * 32)) for number in range(3)]


@pytest.mark.parametrize("signed", [0, 1, 2, 3])
def test_witnesses_that_are_asked_for_must_have_cosigned(signed: int) -> None:
    made = make()
    text = Checkpoint(SIGNER.name, 4, parse_checkpoint(made.proof.proof.note).root).text
    note = made.proof.proof.note + "".join(each.line(text, 1_764_000_001) for each in WITNESSES[:signed])
    cosigned = msgspec.structs.replace(made.proof, proof=ProofFile(1, made.proof.proof.hashes, note))
    keys = [each.verifier for each in WITNESSES]
    for quorum in (1, 2, 3):
        wanted = Witnesses(keys, quorum)
        for found in (made.check(proof=cosigned, witnesses=wanted), check_proof(cosigned, KEYS, witnesses=wanted)):
            assert found.ok == (signed >= quorum)
            assert all(f"witness.example/{number}" in found.steps[-1].what for number in range(signed))
    assert made.check(proof=cosigned).ok
    forged = note + WITNESSES[0].line(text.replace("4", "5", 1), 1_764_000_001)
    altered = msgspec.structs.replace(made.proof, proof=ProofFile(1, made.proof.proof.hashes, forged))
    assert any("cosignature" in each for each in wrong(made.check(proof=altered, witnesses=Witnesses(keys, 1))))


@settings(max_examples=20)
@given(st.sampled_from(KEYS), st.text(max_size=20))
def test_a_reason_that_is_no_plain_word_stays_out(verifier: Verifier, reason: str) -> None:
    receipt = Receipt(
        log=verifier.name, decision=new_id(1), at=AT, include_by=BY, leaf=bytes(32), status=403, reason=reason
    )
    assert open_receipt(sign(receipt, SIGNER), [verifier]).status == 403
