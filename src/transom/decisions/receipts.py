"""Receipts of this door's decisions: of one that is being answered, and of any that is on record."""

import time

import msgspec
from sqlalchemy import Connection

from transom.decisions import store
from transom.decisions.record import Outcome, Record
from transom.ledger.acts import SignerEntry
from transom.ledger.entry import DecisionEntry, OutcomeEntry, decode, timestamp
from transom.ledger.keys import LedgerKeys
from transom.ledger.portable import Portable, ProvenOutcome
from transom.ledger.proof import open_published
from transom.ledger.receipt import Receipt, ReceiptFile, sign
from transom.ledger.seal import Part, Vault
from transom.ledger.settings import LedgerSettings
from transom.ledger.store import acts, leaf_index
from transom.ledger.tree import leaf_hash
from transom.storage.objects import Objects
from transom.values import DecisionId


class Held(msgspec.Struct, frozen=True):
    """What is on record of one decision, as its rows say it."""

    row: store.StoredEntry
    decision: DecisionEntry
    outcome_row: store.StoredEntry | None
    outcome: OutcomeEntry | None


class Receipts:
    """Signs receipts with the log's key."""

    def __init__(self, keys: LedgerKeys, vault: Vault, objects: Objects, settings: LedgerSettings) -> None:
        self._signer = keys.signer
        self._vault = vault
        self._objects = objects
        self._promise_ms = settings.promise_seconds * 1000
        self.always = settings.receipts == "always"

    def of_record(self, record: Record, outcome: Outcome) -> ReceiptFile:
        """Sign for a decision that is durable and being answered; of the answer, what `outcome` has so far."""
        promised = record.promised
        assert promised is not None
        answered = outcome.answer is not None
        receipt = Receipt(
            log=self._signer.name,
            decision=record.id,
            at=timestamp(record.at_ms),
            include_by=self._include_by(),
            leaf=leaf_hash(promised.entry),
            prompt=promised.prompt,
            status=outcome.http_status,
            reason=outcome.reason,
            answer=promised.answer if answered else None,
        )
        return ReceiptFile(
            note=sign(receipt, self._signer),
            prompt_salt=promised.salts.get("prompt"),
            answer_salt=promised.salts.get("answer") if answered else None,
        )

    def held(self, connection: Connection, decision: DecisionId) -> Held | None:
        """Read what is on record of a decision; `None` where there is none of this id."""
        rows = {row.type: row for row in store.entries_of(connection, decision)}
        if "decision/1" not in rows:
            return None
        entry = decode(rows["decision/1"].body)
        assert isinstance(entry, DecisionEntry)
        row = rows.get("outcome/1")
        outcome = None if row is None else decode(row.body)
        assert outcome is None or isinstance(outcome, OutcomeEntry)
        return Held(rows["decision/1"], entry, row, outcome)

    def of_held(self, connection: Connection, held: Held, *, salts: bool) -> ReceiptFile:
        """Sign for a decision that is on record, whole once it has its outcome.

        With `salts`, which are its own caller's, as far as they are still kept. Raises `LedgerError`.
        """
        decision, outcome = held.decision, held.outcome
        receipt = Receipt(
            log=self._signer.name,
            decision=DecisionId(decision.id),
            at=decision.at,
            include_by=self._include_by(),
            leaf=leaf_hash(held.row.body),
            prompt=decision.prompt,
            status=outcome.http_status if outcome else None,
            reason=outcome.reason if outcome and outcome.http_status is not None else None,
            answer=outcome.answer if outcome else None,
            outcome=leaf_hash(held.outcome_row.body) if held.outcome_row else None,
        )
        found = self._salts(connection, DecisionId(decision.id)) if salts else {}
        return ReceiptFile(
            note=sign(receipt, self._signer),
            prompt_salt=found.get("prompt"),
            answer_salt=found.get("answer"),
        )

    def prove(self, connection: Connection, held: Held, *, salts: bool) -> Portable | None:
        """Make the portable proof of all that is on record of a decision; `None` where the log has not all of it yet.

        Raises `LedgerError`, `StorageError`.
        """
        index = leaf_index(connection, held.row.id)
        published = open_published(self._objects)
        if index is None or published is None or index >= published.size:
            return None
        outcome = None
        if held.outcome_row is not None:
            place = leaf_index(connection, held.outcome_row.id)
            if place is None or place >= published.size:
                return None
            entry = held.outcome_row.body.decode()
            outcome = ProvenOutcome(entry=entry, index=place, hashes=published.inclusion(place))
        return Portable(
            proof=published.prove(index),
            entry=held.row.body.decode(),
            outcome=outcome,
            receipt=self.of_held(connection, held, salts=salts),
            signers=rotations(connection),
        )

    def _salts(self, connection: Connection, decision: DecisionId) -> dict[Part, bytes]:
        salts: dict[Part, bytes] = {}
        for row in store.contents_of(connection, decision):
            part: Part = "prompt" if row.part == "prompt" else "answer"
            salts[part] = self._vault.open(row.key, row.sealed, decision, part).salt
        return salts

    def _include_by(self) -> str:
        return timestamp(time.time_ns() // 1_000_000 + self._promise_ms)


def rotations(connection: Connection) -> tuple[str, ...]:
    """Give the entries in which each key of the log endorses the next, oldest first. Raises `LedgerError`."""
    found = [(body, decode(body)) for body in acts(connection, "signer/1")]
    return tuple(
        [body.decode() for body, entry in found if isinstance(entry, SignerEntry) and entry.event == "rotated"]
    )
