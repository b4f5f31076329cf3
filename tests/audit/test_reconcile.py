"""What was left out of the record surfaces, from whichever side it is seen; and what cannot be known is said."""

import contextlib
import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Script, Upstream

from transom.audit import index
from transom.audit.completeness import hold_receipts
from transom.audit.reconcile import Call, Report, hold_against
from transom.audit.usage import PRESETS, Line, columns, read_lines
from transom.errors import ConfigError
from transom.values import DecisionId

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 25, tzinfo=UTC)


def call(number: int = 1, **fields: object) -> Call:
    made: dict[str, object] = {"decision": DecisionId(f"d{number}"), "time": NOON, "model": "large", "answered": True}
    made |= {"request": f"req-{number}", "input": 10, "output": 2}
    return Call(**(made | fields))  # type: ignore[arg-type] # as it says


def line(number: int = 1, **fields: object) -> Line:
    return Line(**({"number": number + 1, "time": NOON} | fields))  # type: ignore[arg-type] # as it says


def held(lines: list[Line], calls: list[Call]) -> Report:
    report = Report()
    hold_against(report, lines, calls, upstream="vendor")
    return report


def test_a_call_that_only_the_vendor_knows_was_omitted_here() -> None:
    report = held([line(n, id=f"req-{n}") for n in (1, 2)], [call(1)])
    assert (report.matched, report.counts) == (1, {"omitted": 1})
    assert "req-2" in report.omitted[0].what
    assert report.omitted[0].where == "line 3 of vendor's account"


def test_a_call_that_only_we_know_is_said() -> None:
    report = held([line(1, id="req-1")], [call(1), call(2)])
    assert report.counts == {"only_here": 1}
    assert report.only_here[0].where == "decision d2"


def test_a_call_that_is_billed_twice_or_otherwise_is_said() -> None:
    twice = held([line(1, id="req-1"), line(2, id="req-1")], [call(1)])
    assert twice.counts == {"differing": 1}
    more = held([line(1, id="req-1", input=11, output=2)], [call(1)])
    assert more.differing[0].what == "11 input tokens there, 10 in decision d1."


def test_sums_of_a_day_are_compared() -> None:
    calls = [call(n) for n in range(5)]
    assert held([line(model="large", requests=5, input=50, output=10)], calls).counts == {}
    report = held([line(model="large", requests=6, input=61, output=12)], calls)
    assert [found.what.partition(" there")[0] for found in report.omitted] == [
        "6 requests",
        "61 input tokens",
        "12 output tokens",
    ]
    assert report.omitted[0].where == "vendor, 2026-11-24, large"
    assert held([line(requests=4)], calls).counts == {"only_here": 1}
    other = held([line(model="other", requests=1)], calls)
    assert other.counts == {"omitted": 1, "only_here": 1}


def test_what_lies_about_midnight_may_be_on_either_day() -> None:
    calls = [call(1, time=MIDNIGHT - timedelta(minutes=1)), call(2, time=MIDNIGHT + timedelta(minutes=1))]
    for first, second in ((2, 0), (1, 1), (0, 2)):
        lines = [line(requests=first), line(2, time=MIDNIGHT, requests=second)]
        assert held(lines, calls).counts == {}
    assert held([line(requests=3), line(2, time=MIDNIGHT, requests=0)], calls).counts == {"omitted": 1}
    both = held([line(requests=2), line(2, time=MIDNIGHT, requests=2)], calls)
    assert [found.where for found in both.omitted] == ["vendor, all days"]


def test_a_try_without_an_answer_may_have_been_billed_and_that_is_said() -> None:
    calls = [call(1), call(2, answered=False, input=None, output=None)]
    for requests in (1, 2):
        assert held([line(requests=requests, input=500)], calls).counts == {}
    report = held([line(requests=3)], calls)
    assert report.counts == {"omitted": 1}
    assert any("nobody knows whether they were billed" in said for said in report.unknown)


@given(
    st.lists(st.tuples(st.integers(0, 3 * 24 * 60), st.booleans(), st.integers(0, 9)), max_size=12),
    st.data(),
)
def test_whoever_bills_what_was_done_finds_nothing_omitted_and_one_call_less_is_found(
    made: list[tuple[int, bool, int]], data: st.DataObject
) -> None:
    calls = [
        call(n, time=NOON + timedelta(minutes=minutes), answered=answered, input=tokens if answered else None)
        for n, (minutes, answered, tokens) in enumerate(made)
    ]
    billed = [each for each in calls if each.answered or data.draw(st.booleans())]
    late = timedelta(minutes=data.draw(st.integers(0, 14)))  # the account's clock, and its moment, are others
    lines = [
        line(n, time=each.time + late, model=each.model, requests=1, input=each.input) for n, each in enumerate(billed)
    ]
    assert "omitted" not in held(lines, calls).counts
    named = [line(n, time=each.time, id=each.request) for n, each in enumerate(billed)]
    assert held(named, calls).counts.get("omitted", 0) == 0
    if billed:
        gone = data.draw(st.sampled_from(billed))
        assert held(named, [each for each in calls if each is not gone]).counts["omitted"] == 1


def read(said: str, preset: str = "plain", given_: str = "") -> list[Line]:
    return list(read_lines(io.StringIO(said, newline=""), columns(preset, given_), "usage.csv"))


def test_vendors_columns_are_read() -> None:
    (one,) = read(
        "start_time,end_time,project_id,num_model_requests,model,input_tokens,output_tokens,input_cached_tokens\n"
        "1764028800,1764028860,proj,3,gpt-5-mini,120,30,20\n",
        "openai",
    )
    assert (one.time, one.requests, one.input, one.output) == (datetime(2025, 11, 25, tzinfo=UTC), 3, 120, 30)
    (one,) = read(
        "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,"
        "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,"
        'usage_output_tokens,web_search_count\n2026-11-24,claude-x,k,Default,standard,"≤ 200k",1,2,3,4,5,0\n',
        "anthropic",
    )
    assert (one.whole_day, one.model, one.requests, one.input, one.output) == (True, "claude-x", None, 10, 5)
    (one,) = read('when,ref,sum\n2026-11-24T12:00:00+01:00,r,"0.25"\n', given_="time=when,id=ref,cost=sum")
    assert (one.time.hour, one.id, str(one.cost)) == (11, "r", "0.25")


def test_an_account_without_a_line_says_nothing() -> None:
    assert read("time,id\n") == read("time,id\n,\n\n") == []
    assert held([], [call(1)]).counts == {}


@pytest.mark.parametrize(
    ("said", "where", "what"),
    [
        ("", "usage.csv:1", "no column 'time'"),
        ("when,id\n2026-11-24,r\n", "usage.csv:1", "no column 'time'; there are id, when"),
        ("time,input\n2026-11-24,ten\n", "usage.csv:2", "'ten' is no number"),
        ("time,input\n2026-11-24,-1\n", "usage.csv:2", "-1 is no number"),
        ("time,input\n2026-11-24,1.5\n", "usage.csv:2", "1.5 is no number"),
        ("time,input\n2026-11-24,1e400000000\n", "usage.csv:2", "no number"),
        ("time,input\n2026-11-24," + "9" * 50 + "\n", "usage.csv:2", "no number"),
        ("time,id\n2026-11-24,a\nyesterday,b\n", "usage.csv:3", "'yesterday' is no time"),
        ("time,id\n2026-11-24," + "x" * 501 + "\n", "usage.csv:2", "longer than 500"),
        ('time,id\n2026-11-24,"a\n', "usage.csv:", "no CSV"),
        ("time,id\n2026-11-24," + "x" * 200_000 + "\n", "usage.csv:", "no CSV"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(said: str, where: str, what: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(said)
    assert str(error.value).startswith(where)
    assert what in str(error.value)


@given(st.text(max_size=200), st.sampled_from(sorted(PRESETS)))
def test_whatever_is_read_is_read_or_refused(said: str, preset: str) -> None:
    with contextlib.suppress(ConfigError):
        read("time,start_time,usage_date_utc,id,input\n" + said, preset)


@pytest.mark.parametrize("given_", ["time", "moment=x", "=x"])
def test_columns_that_mean_nothing_are_refused(given_: str) -> None:
    with pytest.raises(ConfigError, match="names no column"):
        columns("plain", given_)


# On a record that was made by a door.


class Lived:
    """A door's home after three answers, its vendor's account of them, and the receipts of those who asked."""

    def __init__(self, server: Server, folder: Path, decisions: list[str]) -> None:
        self.server = server
        self.receipts = folder / "receipts"
        self.usage = folder / "usage.csv"
        self.decisions = decisions

    def reconcile(self) -> tuple[int, Report]:
        arguments = ("--receipts", str(self.receipts), "--usage", str(self.usage), "--upstream", "vendor", "--json")
        done = self.server.run("reconcile", *arguments)
        assert done.stdout, done.stderr
        return done.returncode, msgspec.json.decode(done.stdout, type=Report)

    def held_by_receipts(self) -> Report:
        """Hold the record against the receipts alone, when all of them are due."""
        report = Report()
        with self.server.stores() as stores:
            now = datetime.now(UTC) + timedelta(days=1)
            hold_receipts(report, stores.database, stores.objects, stores.keys, self.receipts, now=now)
        return report


@pytest.fixture
def lived(tmp_path: Path) -> Iterator[Lived]:
    with Upstream() as upstream:
        settings = NO_ENGINE + f'[upstreams.vendor]\nbase_url = "{upstream.url}"\n[models.large]\nroute = ["vendor"]\n'
        settings += 'weights = "none"\nrung = "api"\n'
        with Server(tmp_path / "home", settings) as server:
            server.start()
            made = Lived(server, tmp_path, [])
            made.receipts.mkdir()
            with made.usage.open("w", newline="") as file:
                account = csv.writer(file)
                account.writerow(["time", "id", "input", "output"])
                for number in range(3):
                    upstream.scripts[f"call-{number}"] = Script(headers={"x-request-id": f"req-{number}"})
                    answer = server.chat("large", server.key, f"script call-{number}")
                    assert answer.status == 200, answer.text
                    usage = answer.json["usage"]
                    counts = [usage["prompt_tokens"], usage["completion_tokens"]]
                    account.writerow([f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", f"req-{number}", *counts])
                    made.decisions.append(answer.decision)
            for id_ in made.decisions:
                server.logged(id_)
                receipt = server.get(f"/receipts/{id_}", server.key)
                assert receipt.status == 200, receipt.text
                (made.receipts / f"{id_}.receipt").write_bytes(receipt.body)
            server.stop()
            with server.stores() as stores:
                while index.catch_up(stores.database):
                    pass
            yield made


def test_a_whole_record_agrees_and_one_call_less_is_found_by_everybody(lived: Lived) -> None:
    status, report = lived.reconcile()
    assert (status, report.omitted, report.differing) == (0, [], [])
    assert report.matched >= 6
    assert any("never came through this door" in said for said in report.unknown)
    gone = lived.decisions[1]
    with lived.server.stores() as stores, stores.database.begin() as connection:
        for table in ("entry", "found"):
            connection.execute(text(f"DELETE FROM {table} WHERE decision = :id"), {"id": gone})
    status, report = lived.reconcile()
    assert status == 1
    said = " ".join(str(found) for found in report.omitted)
    assert "req-1 of" in said  # the vendor's account
    later = lived.held_by_receipts()
    assert [(found.where, gone in found.what) for found in later.omitted] == [(f"{gone}.receipt", True)]
    assert (later.matched, later.differing) == (2, [])
    assert "2 rows are gone" in said  # the database's own count
    assert "and the rows that it was made of are" in said  # the log's


def test_what_is_no_receipt_proves_nothing_and_stops_nothing(lived: Lived) -> None:
    receipt = (lived.receipts / f"{lived.decisions[0]}.receipt").read_text()
    (lived.receipts / "forged").write_text(receipt.replace(lived.decisions[0], lived.decisions[1]))
    (lived.receipts / "noise").write_bytes(b"\xff\x00")
    (lived.receipts / "huge").write_bytes(b"x" * (4 * 1024 * 1024 + 1))
    report = lived.held_by_receipts()
    assert sorted(found.where for found in report.differing) == ["forged", "huge", "noise"]
    assert (report.matched, report.omitted) == (3, [])


def test_an_end_that_was_replaced_or_taken_away_breaks_its_receipt(lived: Lived) -> None:
    first, second, _ = lived.decisions
    with lived.server.stores() as stores, stores.database.begin() as connection:
        gone = "DELETE FROM entry WHERE decision = :id AND type = 'outcome/1'"
        connection.execute(text(gone), {"id": first})
        other = "UPDATE entry SET body = replace(CAST(body AS TEXT), 'answered', 'abandoned') WHERE decision = :id"
        connection.execute(text(other + " AND type = 'outcome/1'"), {"id": second})
        connection.execute(text("UPDATE entry SET body = CAST(body AS BLOB)"))
    report = lived.held_by_receipts()
    assert sorted(found.where for found in report.omitted) == sorted((f"{first}.receipt", f"{second}.receipt"))
    assert report.matched == 1


def test_a_part_of_the_published_log_that_is_gone_is_named(lived: Lived) -> None:
    tiles = lived.server.home.data / "objects" / "ledger" / "tile" / "entries"
    for path in [path for path in tiles.rglob("*") if path.is_file()]:
        path.unlink()
    status, report = lived.reconcile()
    assert status == 1
    assert any("not in the object store" in found.what for found in report.omitted)


def test_the_command_says_what_it_lacks(lived: Lived) -> None:
    nameless = lived.server.run("reconcile", "--usage", str(lived.usage))
    assert (nameless.returncode, "--upstream NAME" in nameless.stderr) == (1, True)
    told = lived.server.run("reconcile", "--receipts", str(lived.receipts))
    assert told.returncode == 0, told.stderr
    assert "What cannot be known:" in told.stdout
    assert "Nothing that was looked for is missing." in told.stdout
