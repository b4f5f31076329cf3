"""What a run leaves behind: the file that reports are made from. Raw: no medians, no ratios."""

import msgspec

from bench.measure import Plan, Round
from bench.metrics import Fsync


class Machine(msgspec.Struct):
    """Where a run took place."""

    processor: str
    cores: int
    kernel: str
    python: str
    load_before: float
    """Processes that wanted to run in the minute before (`os.getloadavg`): near 0 on a quiet machine."""


class SubjectResult(msgspec.Struct):
    """One subject's rounds; `missing` says why there are none, `failed` why there are fewer."""

    name: str
    version: str
    rounds: list[Round] = []
    missing: str | None = None
    failed: str | None = None


class Run(msgspec.Struct):
    """One whole run."""

    date: str
    commit: str
    command: str
    machine: Machine
    plan: Plan
    fsync: Fsync
    subjects: list[SubjectResult]
