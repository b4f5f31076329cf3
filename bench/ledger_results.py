"""What the ledger's benchmark measures. Times in seconds where nothing else is said."""

import msgspec

from bench.metrics import Fsync
from bench.results import Machine


class Step(msgspec.Struct):
    """What the entries up to `size` cost, and what reading the log costs at that size. Times in seconds."""

    size: int
    cpu_us: float
    """Of the sequencer's process, an entry."""
    wall_us: float
    longest_run: float
    """Of one batch of `BATCH` entries, from the first row read to the published checkpoint."""
    writes: float
    """Objects written in one batch."""
    find: float
    """The place in the log of an entry's row."""
    prove: float
    """Its inclusion proof, from the tiles."""
    memory: int
    """The sequencer's process, in bytes."""
    restart: float | None = None
    """From nothing in memory to agreement with the objects, every tile looked at."""


class Paced(msgspec.Struct):
    """Rows written at a steady rate, and how long each waited for a published checkpoint that covers it. Seconds."""

    at_size: int
    wanted: int
    written: float
    """Entries a second that the writer got down."""
    seconds: float
    interval: float
    core: float
    """Share of one core that the sequencer's process used."""
    lag_p50: float
    lag_p99: float
    lag_max: float


class Backlog(msgspec.Struct):
    """How fast the sequencer is when entries always wait."""

    at_size: int
    entries: int
    seconds: float
    cpu: float


class LedgerRun(msgspec.Struct):
    """Everything that one run measured."""

    date: str
    commit: str
    command: str
    machine: Machine
    fsync: Fsync
    database: str
    entry_bytes: float
    steps: list[Step] = []
    paced: list[Paced] = []
    backlog: list[Backlog] = []
    rows_bytes: int = 0
    objects_bytes: int = 0
