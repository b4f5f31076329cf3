"""What was promised of Transom's cost, and whether a run shows it. No I/O."""

import msgspec

from bench.results import Run
from bench.summary import Row, Writing, rows, writing


class Aim(msgspec.Struct):
    """One promise, what was measured, and whether it holds."""

    what: str
    measured: str
    holds: bool


def aims(run: Run) -> list[Aim]:
    """Judge every aim that this run has the numbers for; none where Transom was not measured."""
    table = {row.name: row for row in rows(run)}
    ours = table.get("transom")
    if ours is None or not ours.per_second:
        return []
    found = [
        _at_least("requests a second on one core", ours.per_second, 5000, "{:,.0f}"),
        _ratio(ours, table.get("portkey"), 8),
        _ratio(ours, table.get("litellm"), 60),
        _ratio(ours, table.get("nginx"), 0.2),
        *_added(ours, writing(run)),
        *_streams(ours, table.get("nginx")),
    ]
    if ours.pss:
        found.append(_at_most("memory after load (PSS), MB", ours.pss / 1e6, 150, "{:.0f}"))
    found.append(_recorded(run))
    return [aim for aim in found if aim is not None]


def _at_least(what: str, value: float, aim: float, form: str) -> Aim:
    return Aim(f"{what}: at least {form.format(aim)}", form.format(value), value >= aim)


def _at_most(what: str, value: float, aim: float, form: str) -> Aim:
    return Aim(f"{what}: at most {form.format(aim)}", form.format(value), value <= aim)


def _ratio(ours: Row, other: Row | None, aim: float) -> Aim | None:
    if other is None or not other.per_second or not ours.per_second:
        return None
    return _at_least(f"times {other.name}'s requests a second", ours.per_second / other.per_second, aim, "{:.2f}")


def _added(ours: Row, written: list[Writing]) -> list[Aim]:
    """What one connection waits for at the median, the disk apart: less the wait as told, or else less one commit."""
    alone = next((part for part in written if part.load == "1 connection"), None)
    disk = (alone.wait_p50 or alone.commit_p50) if alone else None
    if ours.added_p50 is None or disk is None:
        return []
    what = "ms added at the median, one connection, the wait for the disk apart"
    return [_at_most(what, (ours.added_p50 - disk) / 1000, 0.4, "{:.2f}")]


def _streams(ours: Row, nginx: Row | None) -> list[Aim]:
    found = []
    if nginx is not None and nginx.cpu_per_chunk and ours.cpu_per_chunk:
        found.append(_at_most("times nginx's CPU a chunk", ours.cpu_per_chunk / nginx.cpu_per_chunk, 2, "{:.2f}"))
    if ours.chunk_p50 is not None:
        found.append(_at_most("ms added a chunk at the median, 64 streams", ours.chunk_p50 / 1000, 1, "{:.2f}"))
    return found


def _recorded(run: Run) -> Aim:
    """Speed without the record would be no speed: every answer that was counted has its closed decision."""
    answers = decisions = 0
    for part in next(subject.rounds for subject in run.subjects if subject.name == "transom"):
        pairs = [(part.plain.answered, part.plain_recording), (part.single.answered, part.single_recording)]
        pairs += [(part.waits[wait].answered, recording) for wait, recording in part.wait_recordings.items()]
        pairs.append((part.streams.streams_done, part.stream_recording))
        answers += sum(count for count, _ in pairs)
        decisions += sum(recording.answered for _, recording in pairs if recording is not None)
    return Aim("every answer has its closed decision", f"{decisions:,} of {answers:,}", decisions == answers)
