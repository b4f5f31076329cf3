"""The catalogue of attacks: what somebody may do who has everything, the log's key included, and who finds it by what.

Each attack is made on a log of its own, by whoever may write its database, its objects and its signing key. Who looks:

- `published`: a stranger with the vkey, who reads all of the log once and kept nothing;
- `kept`: one who kept an older checkpoint (a monitor), and is now shown the log again;
- `witness`: one who cosigns, and keeps what they cosigned;
- `operator`: `verify_all`, with rows, keys and contents;
- `receipt`: a caller who kept a decision's bytes and looks for them.

A log that is re-signed as a whole with the true key is a perfect log to whoever kept nothing: that it is caught takes
an older checkpoint, a witness or a receipt, and the table says so.
"""

import shutil
from collections.abc import Callable
from typing import Literal, NamedTuple

import pytest
from sqlalchemy import text
from tests.ledger import outsider
from tests.ledger.making import Home, decision, outcome

from transom.errors import LedgerError
from transom.ledger.append import Appender
from transom.ledger.checkpoint import Checkpoint, parse_checkpoint
from transom.ledger.cosign import Cosigner
from transom.ledger.entry import Entry, encode, type_of
from transom.ledger.monitor import Trusted, follow
from transom.ledger.note import Signer, split_note
from transom.ledger.proof import TileReader, consistency
from transom.ledger.scrub import Scrubber
from transom.ledger.tiles import CHECKPOINT, TILES
from transom.ledger.verify import verify_all
from transom.ledger.witness import AddCheckpoint, Seen, judge

FIRST, SECOND = 300, 640
"""Entries of the log when it was looked at first, and of the log that is attacked."""
WITNESS = Cosigner("witness.example/w", b"w" * 32)


class Log:
    """A log, what was kept of it by those who look, and what is in an attacker's hands."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.entries: list[Entry] = []
        while len(self.entries) < SECOND:
            one = decision()
            self.entries += [one, outcome(one)]
        home.write(self.entries[:FIRST])
        home.sequencer().run_once()
        self.kept = (home.fetch("checkpoint") or b"").decode()
        home.write(self.entries[FIRST:])
        home.sequencer().run_once()
        self.receipt = encode(self.entries[40])
        """The entry of a decision that its caller has a receipt of."""

    @property
    def leaves(self) -> list[bytes]:
        return [encode(entry) for entry in self.entries]

    def publish(self, leaves: list[bytes], signer: Signer | None = None) -> None:
        """Put another log in the place of this one, signed with the true key unless told otherwise."""
        objects, keys = self.home.objects, self.home.keys
        shutil.rmtree(self.home.folder / "objects" / "ledger")
        appender = Appender(lambda tile, data: objects.put(tile.path, data))
        place = 0
        while place < len(leaves):
            room = appender.room
            appender.add(leaves[place : place + room])
            place += room
        appender.finish()
        checkpoint = Checkpoint(keys.origin, len(leaves), appender.root())
        objects.put(CHECKPOINT, (signer or keys.signer).sign(checkpoint.text).encode())

    def rows(self, leaves: list[bytes]) -> None:
        """Put other rows, and another signed checkpoint, in the database: everything agrees with what is published."""
        note = (self.home.fetch("checkpoint") or b"").decode()
        checkpoint = parse_checkpoint(split_note(note.encode())[0])
        types = {encode(entry): (entry.id, type_of(entry)) for entry in self.entries}
        with self.home.database.begin() as connection:
            connection.execute(text("DELETE FROM entry"))
            connection.execute(text("DELETE FROM checkpoint WHERE size > 0"))
            for id_, leaf in enumerate(leaves, 1):
                of, type_ = types.get(leaf, (None, "decision/1"))
                connection.execute(
                    text("INSERT INTO entry VALUES (:id, :of, :type, 'one', :leaf)"),
                    {"id": id_, "of": of, "type": type_, "leaf": leaf},
                )
            connection.execute(
                text("INSERT INTO checkpoint VALUES (:size, :size, :root, :note, 1)"),
                {"size": checkpoint.size, "root": checkpoint.root, "note": note},
            )


def truncated(log: Log) -> None:
    """The newest entries are cut off, and what is left is signed again."""
    log.publish(log.leaves[: FIRST - 100])


def truncated_and_told(log: Log) -> None:
    """The same, in the database too."""
    truncated(log)
    log.rows(log.leaves[: FIRST - 100])


def rewritten(log: Log) -> None:
    """One decision says something else; bundles, tiles and checkpoint are made anew, in the database too."""
    leaves = [
        leaf.replace(b"students-may-infer", b"students-may-embed") if i == 40 else leaf
        for i, leaf in enumerate(log.leaves)
    ]
    log.publish(leaves)
    log.rows(leaves)


def rewritten_in_place(log: Log) -> None:
    """Decisions say something else in their bundle, and nothing else was touched."""
    path = next(path for path in log.home.objects.list(f"{TILES}/entries") if path.endswith("/000"))
    data = log.home.objects.get(path) or b""
    log.home.objects.put(path, data.replace(b"students-may-infer", b"students-may-embed"))


def rewritten_row(log: Log) -> None:
    """One row says something else; what is published was not touched."""
    with log.home.database.begin() as connection:
        connection.execute(text("UPDATE entry SET body = replace(body, 'students', 'teachers') WHERE id = 41"))


def reordered(log: Log) -> None:
    """Two entries changed places, and everything was made anew, in the database too."""
    leaves = log.leaves
    leaves[40], leaves[42] = leaves[42], leaves[40]
    log.publish(leaves)
    log.rows(leaves)


def omitted(log: Log) -> None:
    """One decision and its outcome are left out, and everything was made anew, in the database too."""
    leaves = log.leaves[:40] + log.leaves[42:]
    log.publish(leaves)
    log.rows(leaves)


def forked(log: Log) -> None:
    """Another history from the first checkpoint's middle on, of the very same size as this one, is shown."""
    other: list[bytes] = []
    while len(other) < SECOND - 200:
        one = decision()
        other += [encode(one), encode(outcome(one))]
    log.publish(log.leaves[:200] + other)


def resigned_with_another_key(log: Log) -> None:
    """The same entries under another key of the same name."""
    log.publish(log.leaves, Signer(log.home.keys.origin, b"k" * 32))


def rolled_back(log: Log) -> None:
    """The older checkpoint is shown again, with its own true signature."""
    log.home.objects.put(CHECKPOINT, log.kept.encode())


End = Literal["refuses", "true log", "another log"]
"""Of the log's own next start, with a round of its scrub: it refuses to go on, or shows the true log, or another."""


class Case(NamedTuple):
    """An attack, who finds it, and what the next start does."""

    attack: Callable[[Log], None]
    found_by: frozenset[str]
    end: End


def case(attack: Callable[[Log], None], found_by: str, end: End) -> Case:
    return Case(attack, frozenset(found_by.split()), end)


CASES = (
    case(truncated, "kept witness operator", "true log"),
    case(truncated_and_told, "kept witness", "another log"),
    case(rewritten, "kept witness receipt", "another log"),
    case(rewritten_in_place, "published operator receipt", "true log"),
    case(rewritten_row, "operator", "true log"),
    case(reordered, "published kept witness operator", "another log"),
    case(omitted, "kept witness receipt", "another log"),
    case(forked, "kept witness operator", "refuses"),
    case(resigned_with_another_key, "published kept witness operator", "true log"),
    case(rolled_back, "operator", "true log"),
)
"""Whoever holds database, objects and key can leave a log that is sound in itself: what was kept elsewhere finds it."""


def look(log: Log) -> frozenset[str]:
    """Have everybody look."""
    home = log.home
    found = {
        "published": _published(home),
        "kept": _monitor(log),
        "witness": _witness(log),
        "operator": bool(verify_all(home.database, home.objects, home.keys).problems),
        "receipt": _receipt(log),
    }
    return frozenset(who for who, finds in found.items() if finds)


def _published(home: Home) -> bool:
    """A stranger, who knows besides that a decision comes before its outcome, and each once."""
    try:
        entries = outsider.verify_log(home.fetch, home.keys.vkey)
    except outsider.Rejected:
        return True
    seen: set[bytes] = set()
    for entry in entries:
        if b'"type":"outcome/1"' in entry:
            of = entry.partition(b'"decision":"')[2][:36]
            if of not in seen:
                return True
        seen.add(entry.partition(b'"id":"')[2][:36])
    return False


def _monitor(log: Log) -> bool:
    try:
        return follow(log.home.objects.get, Trusted([log.home.keys.signer.verifier]), log.kept).alarm is not None
    except LedgerError:
        return True


def _witness(log: Log) -> bool:
    """One who cosigned the first checkpoint is asked to cosign what is shown now."""
    home = log.home
    before = parse_checkpoint(split_note(log.kept.encode())[0])
    note = home.fetch("checkpoint") or b""
    shown = parse_checkpoint(split_note(note)[0])
    if shown.size < before.size:
        return True
    try:
        proof = consistency(TileReader(home.objects.get, shown.size), before.size)
    except LedgerError:
        return True
    request = AddCheckpoint(before.size, proof, note)
    seen = Seen(before.size, before.root, log.kept, 1)
    return judge(request, {home.keys.origin: home.keys.verifiers}, seen, WITNESS, 2).status != 200


def _receipt(log: Log) -> bool:
    """Whoever holds a receipt looks for the entry that it binds, in all that is published."""
    wanted = outsider.leaf_hash(log.receipt)
    reader_of = log.home.fetch
    try:
        size, _ = outsider.read_checkpoint(
            outsider.verify_note(reader_of("checkpoint") or b"", log.home.keys.vkey), log.home.keys.vkey
        )
        found = []
        for index in range((size + 255) // 256):
            data, _ = outsider.fetch_tile(reader_of, "entries", index, min(256, size - index * 256))
            while data:
                length = int.from_bytes(data[:2], "big")
                found.append(outsider.leaf_hash(data[2 : 2 + length]))
                data = data[2 + length :]
    except outsider.Rejected:
        return False  # another has found that already
    return wanted not in found


def start(log: Log) -> End:
    """Start the log's own sequencer, let the scrub go round once, and say how it ends."""
    home = log.home
    try:
        home.sequencer().recover()
    except LedgerError:
        return "refuses"
    scrub = Scrubber(home.database, home.objects, home.keys)
    for _ in range(SECOND // 256 + 1):
        scrub.step()
    with home.database.begin(write=False) as connection:
        rows = [bytes(row.body) for row in connection.execute(text("SELECT body FROM entry ORDER BY id"))]
    published = outsider.verify_log(home.fetch, home.keys.vkey)
    return "true log" if published == rows == log.leaves else "another log"


def test_a_log_that_nobody_attacked_is_found_sound_by_all(home: Home) -> None:
    log = Log(home)
    assert (look(log), start(log)) == (frozenset(), "true log")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.attack.__name__)
def test_each_attack_is_found_by_those_who_can(home: Home, case: Case) -> None:
    log = Log(home)
    case.attack(log)
    assert (look(log), start(log)) == (case.found_by, case.end)
