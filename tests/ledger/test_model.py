"""The log driven at random beside a model: a list of bytes that only grows, and every root that was ever signed."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import text
from tests.ledger import outsider
from tests.ledger.faults import Fault, FaultyDatabase, FaultyObjects
from tests.ledger.making import Home, requests
from typing_extensions import override

from transom.errors import StorageError
from transom.ledger import store
from transom.ledger.entry import encode
from transom.ledger.monitor import Trusted, follow
from transom.ledger.proof import prove
from transom.ledger.scrub import Scrubber
from transom.ledger.sequence import LEASE_MS, Sequencer
from transom.ledger.verify import verify_all

TWO = ("one", "two")


class Log(RuleBasedStateMachine):
    """Two instances over one database and one object store, whose clock a test sets, back too."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        self.home = Home(folder, f"sqlite:///{folder}/transom.db")
        self.now = 1_795_500_000_000
        self.model: list[bytes] = []
        self.signed: dict[int, bytes] = {}
        self.kept: str | None = None
        self.sequencers: dict[str, Sequencer] = {}

    @override
    def teardown(self) -> None:
        try:
            self._restart()
            assert outsider.verify_log(self.home.fetch, self.home.keys.vkey) == self.model
            report = verify_all(self.home.database, self.home.objects, self.home.keys)
            assert (report.problems, report.waiting) == ([], 0)
        finally:
            self.home.close()
            self._folder.cleanup()

    def _sequencer(self, who: str, fault: Fault | None = None) -> Sequencer:
        database, objects = self.home.database, self.home.objects
        if fault is not None:
            database, objects = FaultyDatabase.over(self.home, fault), FaultyObjects.over(self.home, fault)
        return Sequencer(database, objects, self.home.keys, instance=who, clock=lambda: self.now)

    @initialize()
    def begin(self) -> None:
        self.sequencers["one"] = self._sequencer("one")
        self.sequencers["one"].run_once()

    @rule(count=st.sampled_from([1, 2, 3, 40, 255, 256, 257, 600]))
    def append(self, count: int) -> None:
        entries = requests(count)
        self.home.write(entries)
        self.model += [encode(entry) for entry in entries]

    @rule(who=st.sampled_from(TWO))
    def sequence(self, who: str) -> None:
        """Whoever has the lease, or gets it, takes in everything; another does nothing."""
        if who not in self.sequencers:
            self.sequencers[who] = self._sequencer(who)
        self.sequencers[who].run_once()

    @rule(who=st.sampled_from(TWO), at=st.integers(0, 12), done=st.booleans())
    def fail(self, who: str, at: int, *, done: bool) -> None:
        """A durable write fails, done or not, and the process dies of it."""
        self.sequencers.pop(who, None)
        sequencer = self._sequencer(who, Fault(at, done=done))
        try:
            sequencer.run_once()
        except StorageError as error:
            assert "injected" in str(error)  # noqa: PT017 - it need not fail

    @rule(who=st.sampled_from(TWO))
    def die(self, who: str) -> None:
        self.sequencers.pop(who, None)

    @rule(by=st.sampled_from([-86_400_000, -LEASE_MS, -1, 1, LEASE_MS + 1]))
    def set_clock(self, by: int) -> None:
        self.now += by

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def lose_an_object(self, data: st.DataObject) -> None:
        """A tile, a bundle or the published checkpoint is gone; a start makes it again."""
        paths = self.home.objects.list("ledger")
        self.home.objects.delete([data.draw(st.sampled_from(paths))])
        self._restart()

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def flip_a_bit(self, data: st.DataObject) -> None:
        """A bit of a tile or a bundle flips; a start and a round of the scrub find it."""
        paths = [path for path in self.home.objects.list("ledger/tile") if self.home.objects.get(path)]
        if paths:
            path = data.draw(st.sampled_from(paths))
            was = self.home.objects.get(path) or b""
            place = data.draw(st.integers(0, len(was) - 1))
            changed = was[:place] + bytes([was[place] ^ 1 << data.draw(st.integers(0, 7))]) + was[place + 1 :]
            self.home.objects.put(path, changed)
            self._restart()
            self._scrub()

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def flip_a_bit_of_a_row(self, data: st.DataObject) -> None:
        """A bit of a row that is in the log flips; the scrub mends it from its bundle."""
        self._restart()
        index = data.draw(st.integers(0, len(self.model) - 1))
        was = self.model[index]
        changed = was[:-1] + bytes([was[-1] ^ 1])
        with self.home.database.begin() as connection:
            connection.execute(text("UPDATE entry SET body = :to WHERE body = :was"), {"to": changed, "was": was})
        self._scrub()

    def _restart(self) -> None:
        """Let everything die, the leases run out, and one start: it takes in what there is."""
        self.sequencers.clear()
        self.now += LEASE_MS + 1
        with self.home.database.begin() as connection:
            connection.execute(text("DELETE FROM lease"))  # as `recover` does for the dead, whatever the clock says
        self.sequencers["one"] = self._sequencer("one")
        self.sequencers["one"].run_once()

    def _scrub(self) -> None:
        scrub = Scrubber(self.home.database, self.home.objects, self.home.keys)
        partial = [path for path in self.home.objects.list("ledger/tile") if ".p/" in path]  # one of them a step
        for _ in range(len(self.model) // 256 + 1 + len(partial)):
            assert scrub.step().problems == []

    @invariant()
    def rows_are_the_model(self) -> None:
        with self.home.database.begin(write=False) as connection:
            found = store.entries_after(connection, 0, 2**62, 2**62).bodies
        assert found == self.model

    @invariant()
    def no_root_was_ever_signed_but_of_the_model(self) -> None:
        """Every checkpoint in the database, signed for ever, is of a beginning of the model; one root a size."""
        with self.home.database.begin(write=False) as connection:
            for row in store.checkpoints_after(connection, max(self.signed, default=-1), 1_000):
                leaves = [outsider.leaf_hash(entry) for entry in self.model[: row.size]]
                assert (len(leaves), outsider.mth(leaves)) == (row.size, row.root)
                self.signed[row.size] = row.root

    @invariant()
    def the_published_log_only_grows(self) -> None:
        """A monitor that kept the last checkpoint never has an alarm, and every entry can be proven."""
        if self.home.fetch("checkpoint") is None:
            return
        step = follow(self.home.objects.get, Trusted(self.home.keys.verifiers), self.kept)
        assert (step.alarm, step.stale) == (None, False)
        assert self.signed[step.checkpoint.size] == step.checkpoint.root
        self.kept = step.note
        if step.checkpoint.size:
            index = step.checkpoint.size // 2
            proof = prove(self.home.objects, index)
            assert proof is not None
            assert outsider.verify_proof_file(proof.text, self.model[index], self.home.keys.vkey) == index


Log.TestCase.settings = settings(
    max_examples=25, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLog = Log.TestCase
