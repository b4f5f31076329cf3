"""The stream of news."""

import time
from pathlib import Path

import pytest
from tests.console.door import Door, open_door
from tests.console.stream import Stream
from tests.support import doors
from tests.support.upstream import Upstream

from transom.console.rows import Row


def test_a_new_decision_arrives_within_a_second_or_so_and_its_end_replaces_it(door: Door) -> None:
    with Stream(door.sign_in("omar")) as stream:
        stream.until('id="door"')
        began = time.monotonic()
        decision = door.chat("dana").decision
        event = stream.until(f"d-{decision}")
        assert time.monotonic() - began < 2
        assert event["event"] == "decisions"
        while "answered" not in event["data"]:
            event = stream.until(f"d-{decision}")


def test_the_pages_are_the_same_on_postgresql(postgres_door: doors.Door) -> None:
    keys = postgres_door.keys
    door = Door(postgres_door.server, {"alice": keys["operators"], "omar": keys["auditors"]})
    visitor = door.sign_in("omar")
    with Stream(visitor) as stream:
        decision = door.server.chat("open", postgres_door.key()).decision
        stream.until(f"d-{decision}")
    door.server.logged(decision)
    assert f"d-{decision}" in visitor.get("/").text
    assert "verified just now" in visitor.get(f"/decisions/{decision}").text
    made = door.api("alice", "POST", "/api/keys", {"name": "made", "groups": ["students"]}).json
    assert door.api("alice", "DELETE", f"/api/keys/{made['id']}").json["changed"] is True


def test_the_stream_is_one_decision_however_long_it_lasts(door: Door) -> None:
    with Stream(door.sign_in("omar"), "/events?show=all") as stream:
        for _ in range(3):
            stream.until(f"d-{door.chat('dana').decision}")
        story = door.server.story(stream.decision)
    assert story.outcome is not None
    assert (story.caller, story.decision.action, story.outcome.status) == ("omar", "read_decisions", "answered")


def test_reads_are_news_only_to_those_who_ask_for_everything(door: Door) -> None:
    visitor = door.sign_in("omar")
    with Stream(visitor) as answers, Stream(visitor, "/events?show=all") as everything:
        looked = visitor.get("/policies").headers["transom-decision"]
        everything.until(f"d-{looked}")
        asked = door.chat("dana").decision
        event = answers.until(f"d-{asked}")
        assert looked not in event["data"]


def test_what_happened_while_the_line_was_cut_is_made_up_for(door: Door) -> None:
    visitor = door.sign_in("omar")
    with Stream(visitor) as stream:
        last = stream.until(f"d-{door.chat('dana').decision}")["id"]
    missed = door.chat("dana").decision
    with Stream(visitor, headers={"last-event-id": last}) as stream:
        stream.until(f"d-{missed}")


def test_a_file_that_breaks_is_news(tmp_path: Path, upstream: Upstream) -> None:
    with open_door(tmp_path / "home", upstream) as door, Stream(door.sign_in("omar")) as stream:
        stream.until('id="door"')
        door.server.write_policies("permit (principal, action, resource)")
        assert "policies/starter.cedar:1" in stream.until("broken")["data"]


def test_revoking_the_key_ends_the_stream(tmp_path: Path, upstream: Upstream) -> None:
    with open_door(tmp_path / "home", upstream) as door:
        visitor = door.sign_in("omar")
        with Stream(visitor) as stream:
            stream.until('id="door"')
            door.server.revoke(door.keys["omar"].id)
            while stream.event():
                pass
        assert visitor.get("/events").status == 401


def test_whom_policy_no_longer_lets_read_decisions_hears_no_more(tmp_path: Path, upstream: Upstream) -> None:
    with open_door(tmp_path / "home", upstream) as door, Stream(door.sign_in("omar")) as stream:
        stream.until('id="door"')
        door.server.write_policies(
            '@id("operators-everything") permit (principal in Group::"operators", action, resource);'
        )
        assert door.api("alice", "POST", "/api/reload").status == 200
        while stream.event():
            pass


def test_a_streaming_page_does_not_hold_up_the_end(tmp_path: Path, upstream: Upstream) -> None:
    with open_door(tmp_path / "home", upstream) as door, Stream(door.sign_in("omar")) as stream:
        stream.until('id="door"')
        began = time.monotonic()
        assert door.server.stop() == 0
        assert time.monotonic() - began < 6


@pytest.mark.parametrize(
    ("action", "effect", "status", "shown"),
    [
        ("infer", "permit", "answered", True),
        ("embed", "permit", "under way", True),
        ("infer", "forbid", "refused", True),
        ("view_console", "permit", "answered", False),
        ("view_console", "permit", "under way", False),
        ("view_console", "forbid", "refused", True),
        ("manage_keys", "permit", "refused", True),
        ("manage_keys", None, "refused", True),
    ],
)
def test_answers_and_whatever_went_wrong_are_in_the_short_list(
    action: str, effect: str | None, status: str, shown: bool
) -> None:
    row = Row(
        id="x",  # type: ignore[arg-type]  # any text does here
        cursor=1,
        at="2026-11-24T00:00:00.000Z",
        caller="a",
        action=action,
        resource="",
        status=status,
        effect=effect,
    )
    assert row.answer is shown
