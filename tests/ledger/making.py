"""Makes entries, rows and logs for the tests of the ledger."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import insert

from transom.ledger.acts import SignerEntry
from transom.ledger.entry import (
    DecisionEntry,
    Entry,
    OutcomeEntry,
    ResourceRef,
    RulingPart,
    encode,
    new_id,
    timestamp,
    type_of,
)
from transom.ledger.keys import LedgerKeys, load_or_create
from transom.ledger.note import Signer
from transom.ledger.rotation import endorse
from transom.ledger.sequence import Sequencer
from transom.storage import tables
from transom.storage.engine import Database, open_database
from transom.storage.objects import Objects, open_objects
from transom.values import DecisionId, Digest, Pseudonym

NOW = 1_795_500_000_000
DIGEST = Digest("sha256:" + "ab" * 32)


def decision(at: int = NOW, **fields: object) -> DecisionEntry:
    """A small decision."""
    ruling = RulingPart(effect="permit", policies=("students-may-infer",), digest=DIGEST)
    resource = ResourceRef(type="Model", id="smol@1", digest=DIGEST)
    entry = {
        "id": new_id(at),
        "at": timestamp(at),
        "by": Pseudonym("p_00"),
        "action": "infer",
        "resource": resource,
        "ruling": ruling,
        "build": "0.1.0",
    }
    return DecisionEntry(**(entry | fields))  # type: ignore[arg-type] # test data: msgspec checks it at decode


def outcome(of: DecisionEntry, at: int = NOW, **fields: object) -> OutcomeEntry:
    """A small outcome."""
    entry = {
        "id": new_id(at),
        "at": timestamp(at),
        "decision": DecisionId(of.id),
        "status": "answered",
    }
    return OutcomeEntry(**(entry | fields))  # type: ignore[arg-type] # test data: msgspec checks it at decode


def rotation(old: Signer, new: Signer, at: int = NOW) -> str:
    """The entry in which one key of a log endorses the next."""
    vkey = new.verifier.vkey
    by = Pseudonym("p_" + "0" * 20)
    endorsement = endorse(old, vkey)
    entry = SignerEntry(id=new_id(at), at=timestamp(at), event="rotated", vkey=vkey, endorsement=endorsement, by=by)
    return encode(entry).decode()


def requests(count: int) -> list[Entry]:
    """`count` entries: decisions, each followed by its outcome."""
    entries: list[Entry] = []
    while len(entries) < count:
        one = decision()
        entries += [one, outcome(one)]
    return entries[:count]


class Home:
    """A database with the tables, an object store, keys, and a sequencer over them."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.database: Database = open_database(url)
        tables.metadata.create_all(self.database.engine)
        self.objects: Objects = open_objects(folder / "objects")
        self.keys: LedgerKeys = load_or_create(folder / "keys")

    def sequencer(self, instance: str = "one") -> Sequencer:
        return Sequencer(self.database, self.objects, self.keys, instance=instance)

    def write(self, entries: Sequence[Entry]) -> None:
        """Make entries durable."""
        rows = [
            {
                "decision": getattr(entry, "decision", entry.id),
                "type": type_of(entry),
                "instance": "one",
                "body": encode(entry),
            }
            for entry in entries
        ]
        self.write_rows(rows)

    def write_rows(self, rows: Sequence[dict[str, object]]) -> None:
        with self.database.begin() as connection:
            connection.execute(insert(tables.entry), rows)

    def fetch(self, path: str) -> bytes | None:
        """What a GET under the log's prefix answers."""
        return self.objects.get(f"ledger/{path}")

    def close(self) -> None:
        self.database.close()
