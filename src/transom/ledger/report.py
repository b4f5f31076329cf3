"""What a verification found."""

from collections import Counter
from typing import Final, NamedTuple

from transom.ledger.checkpoint import Checkpoint

MAX_PROBLEMS: Final = 1_000
"""Reported; more are counted only."""


class Problem(NamedTuple):
    """Something that is not as it must be, and where."""

    what: str
    where: str


class Report:
    """What verification found. `ok` where there is no problem at all."""

    def __init__(self) -> None:
        self.checkpoint: Checkpoint | None = None
        """The published checkpoint, once its signature was verified."""
        self.entries: Counter[str] = Counter()
        """Entries by type."""
        self.open: list[str] = []
        """Ids of decisions older than a minute that have no outcome: no error, but worth a look."""
        self.checkpoints = 0
        """Checkpoints of the database that were compared (`verify_all`)."""
        self.contents = 0
        """Kept contents whose commitment was compared (`verify_all`)."""
        self.waiting = 0
        """Durable rows that the log does not reach yet (`verify_all`)."""
        self.problems: list[Problem] = []
        self.problem_count = 0

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return self.problem_count == 0

    @property
    def size(self) -> int:
        """Entries in the log."""
        return 0 if self.checkpoint is None else self.checkpoint.size

    def add(self, what: str, where: str) -> None:
        """Note a problem."""
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(what, where))
