"""What follows from a run: medians over its rounds. No I/O."""

import statistics
from collections.abc import Callable, Iterable

import msgspec

from bench.measure import Cost, Recording, Round
from bench.results import Run, SubjectResult


class Row(msgspec.Struct):
    """One subject's medians over the rounds. Times in microseconds, memory in bytes; `None` where it has none.

    Added times are a round's own, less those of the stand-in asked directly in the same round.
    """

    name: str
    version: str
    per_second: float | None = None
    cpu_per_request: float | None = None
    core_per_request: float | None = None
    core_share: float | None = None
    """How much of its core's time the subject's processes used under full load: near 1, they limited the rate."""
    others_share: float | None = None
    """How much of its core's time others used meanwhile: the kernel's threads, and on a busy machine its users."""
    loaded_p50: float | None = None
    loaded_p99: float | None = None
    added_p50: float | None = None
    added_p99: float | None = None
    added_before_wait_p50: float | None = None
    added_before_wait_p99: float | None = None
    cpu_per_chunk: float | None = None
    chunks_per_second: float | None = None
    chunk_p50: float | None = None
    chunk_p99: float | None = None
    first_chunk_p50: float | None = None
    pss: float | None = None
    rss: float | None = None
    errors: int = 0
    remark: str = ""


class Writing(msgspec.Struct):
    """Transom's durable writes, in microseconds, as its own metrics tell them; `None` where they do not."""

    load: str
    commit_mean: float | None
    commit_p50: float | None
    commits: int
    writes_per_commit: float | None
    wait_mean: float | None
    wait_p50: float | None
    hidden: float | None
    """The share of a commit's mean time for which no answer waited: it passed while the upstream worked."""


_Pick = Callable[[Round], float | None]


def _median(values: Iterable[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return statistics.median(present) if present else None


def _per(cost: Cost | None, count: int, *, core: bool = False) -> float | None:
    if cost is None or not count:
        return None
    return (cost.core if core else cost.process) / count * 1e6


def _others(cost: Cost | None) -> float | None:
    return max(0.0, cost.core - cost.process) / cost.wall if cost is not None else None


def rows(run: Run) -> list[Row]:
    """The table of a run, one row a subject."""
    direct = next((subject.rounds for subject in run.subjects if subject.name == "direct"), [])
    return [_row(subject, direct) for subject in run.subjects]


def _row(subject: SubjectResult, direct: list[Round]) -> Row:
    rounds = subject.rounds
    row = Row(name=subject.name, version=subject.version, remark=subject.missing or subject.failed or "")
    if not rounds:
        return row

    def middle(pick: _Pick) -> float | None:
        return _median(pick(part) for part in rounds)

    def added(pick: _Pick) -> float | None:
        if subject.name == "direct":
            return middle(pick)
        pairs = zip((pick(part) for part in rounds), (pick(part) for part in direct), strict=False)
        return _median(mine - base for mine, base in pairs if mine is not None and base is not None)

    row.per_second = middle(lambda part: part.plain.requests_per_second)
    row.cpu_per_request = middle(lambda part: _per(part.plain_cost, part.plain.answered))
    row.core_per_request = middle(lambda part: _per(part.plain_cost, part.plain.answered, core=True))
    if row.per_second and row.cpu_per_request:
        row.core_share = row.per_second * row.cpu_per_request / 1e6
    row.others_share = middle(lambda part: _others(part.plain_cost))
    row.loaded_p50 = middle(lambda part: part.plain.p50_us)
    row.loaded_p99 = middle(lambda part: part.plain.p99_us)
    row.added_p50 = added(lambda part: part.single.p50_us)
    row.added_p99 = added(lambda part: part.single.p99_us)
    row.added_before_wait_p50 = added(lambda part: part.waits["50"].added_p50_us)
    row.added_before_wait_p99 = added(lambda part: part.waits["50"].added_p99_us)
    row.cpu_per_chunk = middle(lambda part: _per(part.stream_cost, part.streams.chunks))
    row.chunks_per_second = middle(lambda part: part.streams.chunks_per_second)
    row.chunk_p50 = added(lambda part: part.streams.p50_us)
    row.chunk_p99 = added(lambda part: part.streams.p99_us)
    row.first_chunk_p50 = added(lambda part: part.streams.first_p50_us)
    row.pss = middle(lambda part: part.memory.pss if part.memory else None)
    row.rss = middle(lambda part: part.memory.rss if part.memory else None)
    row.errors = sum(_errors(part) for part in rounds)
    return row


def _errors(part: Round) -> int:
    loads = [part.plain.errors, part.single.errors, part.streams.errors, *(load.errors for load in part.waits.values())]
    return sum(sum(errors.values()) for errors in loads)


def writing(run: Run) -> list[Writing]:
    """Transom's durable writes under each load."""
    found = next((subject for subject in run.subjects if subject.name == "transom" and subject.rounds), None)
    if found is None:
        return []
    loads: tuple[tuple[str, Callable[[Round], Recording | None]], ...] = (
        ("64 connections", lambda part: part.plain_recording),
        ("1 connection", lambda part: part.single_recording),
        ("1 connection, paced stand-in", lambda part: part.wait_recordings["0"]),
        ("4 connections, stand-in of 50 ms", lambda part: part.wait_recordings["50"]),
    )
    told = []
    for load, pick in loads:
        recordings = [recording for part in found.rounds if (recording := pick(part)) is not None]
        commits = [recording.commit for recording in recordings if recording.commit is not None]
        waits = [recording.wait for recording in recordings if recording.wait is not None]
        count = sum(commit.count for commit in commits)
        commit_mean, wait_mean = _median(commit.mean_us for commit in commits), _median(wait.mean_us for wait in waits)
        told.append(
            Writing(
                load=load,
                commit_mean=commit_mean,
                commit_p50=_median(commit.p50_us for commit in commits),
                commits=count,
                writes_per_commit=sum(recording.writes for recording in recordings) / count if count else None,
                wait_mean=wait_mean,
                wait_p50=_median(wait.p50_us for wait in waits),
                hidden=max(0.0, 1 - wait_mean / commit_mean) if wait_mean is not None and commit_mean else None,
            )
        )
    return told
