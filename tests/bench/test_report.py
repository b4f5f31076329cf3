"""From what was measured to the report: medians, ratios, aims, and the place in the document."""

import pytest
from bench.aims import aims
from bench.load import LoadResult
from bench.measure import Cost, Plan, Recording, Round
from bench.metrics import Fsync, Snapshot, Times
from bench.processes import Memory
from bench.report import BEGIN, END, insert, markdown
from bench.results import Machine, Run, SubjectResult
from bench.streams import StreamResult
from bench.summary import rows


def load(per_second: float, p50: float, answered: int = 1000, errors: dict[str, int] | None = None) -> LoadResult:
    return LoadResult(
        connections=64,
        seconds=1.0,
        requests=answered,
        answered=answered,
        errors=errors or {},
        requests_per_second=per_second,
        p50_us=p50,
        p90_us=p50,
        p99_us=p50 * 2,
        max_us=p50 * 3,
        added_p50_us=p50,
        added_p99_us=p50 * 2,
    )


def recording(answered: int = 1000) -> Recording:
    return Recording(
        commit=Times(count=100, mean_us=200, p50_us=150),
        wait=Times(count=1000, mean_us=20, p50_us=10),
        writes=2000,
        answered=answered,
    )


def round_of(per_second: float, p50: float, chunk: float, *, gateway: bool, answered: int = 1000) -> Round:
    cost = Cost(process=0.05, core=0.06, wall=1.0) if gateway else None
    told = recording() if gateway else None
    single = load(per_second, p50, answered)
    return Round(
        plain=single,
        plain_cost=cost,
        plain_recording=told,
        single=single,
        single_recording=told,
        waits={"0": single, "50": single},
        wait_recordings={"0": told, "50": told},
        streams=StreamResult(
            streams=64,
            seconds=1.0,
            streams_done=answered,
            chunks=10_000,
            errors={},
            chunks_per_second=10_000,
            p50_us=chunk,
            p90_us=chunk,
            p99_us=chunk,
            max_us=chunk,
            first_p50_us=chunk,
            first_p99_us=chunk,
        ),
        stream_cost=cost,
        stream_recording=told,
        memory=Memory(pss=100_000_000, rss=120_000_000, processes=1) if gateway else None,
    )


def run_of(**subjects: list[Round]) -> Run:
    return Run(
        date="2026-11-24 00:00 UTC",
        commit="abc",
        command="python -m bench",
        machine=Machine(processor="x", cores=2, kernel="6", python="3.11", load_before=0.0),
        plan=Plan(seconds=1, first_warm_up=1, warm_up=1, chunks=200, core=0),
        fsync=Fsync(count=1, p50_us=100, p99_us=200),
        subjects=[SubjectResult(name=name, version="1", rounds=rounds) for name, rounds in subjects.items()],
    )


def test_added_time_is_taken_round_by_round_and_then_the_median() -> None:
    direct = [round_of(9, base, base, gateway=False) for base in (10, 100, 1000)]
    mine = [round_of(9, base + added, base, gateway=True) for base, added in ((10, 7), (100, 5), (1000, 90))]
    row = rows(run_of(direct=direct, transom=mine))[1]
    assert row.added_p50 == 7
    assert row.chunk_p50 == 0


def test_processor_time_is_per_answer_and_per_chunk() -> None:
    row = rows(run_of(transom=[round_of(9000, 300, 50, gateway=True)]))[0]
    assert row.cpu_per_request == pytest.approx(50)
    assert row.core_per_request == pytest.approx(60)
    assert row.core_share == pytest.approx(0.45)
    assert row.others_share == pytest.approx(0.01)
    assert row.cpu_per_chunk == pytest.approx(5)


def verdicts(run: Run) -> dict[str, bool]:
    return {aim.what: aim.holds for aim in aims(run)}


def test_aims_that_hold_and_aims_that_do_not() -> None:
    direct = [round_of(60_000, 10, 10, gateway=False)]
    fast = run_of(
        direct=direct,
        transom=[round_of(6000, 300, 50, gateway=True)],
        nginx=[round_of(20_000, 100, 10, gateway=True)],
        portkey=[round_of(500, 100, 10, gateway=True)],
        litellm=[round_of(50, 100, 10, gateway=True)],
    )
    assert len(aims(fast)) == 9
    assert all(verdicts(fast).values())
    slow = run_of(
        direct=direct,
        transom=[round_of(4000, 3000, 5000, gateway=True, answered=1001)],
        nginx=[round_of(30_000, 100, 10, gateway=True)],
    )
    held = {what for what, holds in verdicts(slow).items() if holds}
    assert held == {"times nginx's CPU a chunk: at most 2.00", "memory after load (PSS), MB: at most 150"}


def test_a_peer_that_could_not_be_had_is_named_with_the_reason() -> None:
    run = run_of(direct=[round_of(9, 10, 10, gateway=False)])
    run.subjects.append(SubjectResult(name="portkey", version="", missing="node and npm are not installed"))
    assert "portkey was not measured, or not to the end: node and npm are not installed" in markdown(run)


def test_a_histogram_gives_its_mean_and_its_median_since_the_reading_before() -> None:
    before = Snapshot(buckets={"t": {"0.1": 5, "0.2": 5, "+Inf": 5}}, values={"t_count": 5, "t_sum": 0.25}, answered=0)
    after = Snapshot(buckets={"t": {"0.1": 5, "0.2": 9, "+Inf": 9}}, values={"t_count": 9, "t_sum": 0.85}, answered=0)
    times = after.since(before, "t")
    assert times is not None
    assert times.count == 4
    assert times.mean_us == pytest.approx(150_000)
    assert times.p50_us == pytest.approx(150_000)
    assert after.since(after, "t") is None
    assert after.since(before, "no such") is None


def test_the_report_replaces_what_stood_between_the_marks() -> None:
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    once = insert(document, "new")
    assert "old" not in once
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert insert(once, "new") == once
    with pytest.raises(ValueError, match="needs the lines"):
        insert("no marks", "new")
