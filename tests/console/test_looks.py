"""Every look at what was asked and answered is an entry, on record before anything is shown."""

import pytest
from sqlalchemy import text
from tests.console.door import Door, Visitor

from transom.ledger.acts import LookEntry
from transom.ledger.verify import verify_all, wait_published

WORDS = "words that nobody else uses"
NOTE = "because Dana asked me to, in a letter"


def looks(door: Door) -> list[LookEntry]:
    return [entry for entry in door.server.entries("look/1") if isinstance(entry, LookEntry)]


@pytest.fixture
def decision(door: Door) -> str:
    answer = door.chat("dana", text=WORDS)
    return door.server.logged(answer.decision).id


@pytest.fixture
def auditor(door: Door) -> Visitor:
    return door.sign_in("omar")


def test_the_page_asks_why_and_puts_it_on_record(door: Door, auditor: Visitor, decision: str) -> None:
    page = auditor.get(f"/decisions/{decision}").text
    assert 'name="reason" required' in page
    assert WORDS not in page
    shown = auditor.post(f"/decisions/{decision}/content", {"reason": "complaint", "note": NOTE})
    assert WORDS in shown.text
    look = looks(door)[-1]
    assert (look.decision, look.reason, look.count) == (decision, "complaint", 1)
    assert look.via == shown.headers["transom-decision"]
    assert look.note is not None
    assert door.server.holding(NOTE.encode()) == []
    told = auditor.get(f"/decisions/{look.via}").text
    assert f"in decision {decision}, for the reason &#39;complaint&#39;; a note of {len(NOTE)} bytes is kept" in told
    assert NOTE not in told
    again = auditor.post(f"/decisions/{look.via}/content", {"reason": "audit"})
    assert NOTE in again.text
    assert "matches the commitment in the log" in again.text
    assert looks(door)[-1].decision == look.via


def test_who_looked_stands_beside_what_was_looked_at(door: Door, auditor: Visitor, decision: str) -> None:
    shown = auditor.post(f"/decisions/{decision}/content", {"reason": "research"})
    door.server.logged(shown.headers["transom-decision"])
    for _ in range(100):
        page = auditor.get(f"/decisions/{decision}").text
        if "Looked at by" in page:
            break
    assert f'href="/decisions/{shown.headers["transom-decision"]}"' in page
    assert "omar: research" in page


@pytest.mark.parametrize("reason", ["", "Audit", "two words", "x" * 64, "1st"])
def test_without_a_word_nothing_is_shown(door: Door, auditor: Visitor, decision: str, reason: str) -> None:
    before = len(looks(door))
    page = auditor.post(f"/decisions/{decision}/content", {"reason": reason})
    asked = f"/api/decisions/{decision}?content=1&reason={reason.replace(' ', '%20')}"
    told = door.api("omar", "GET", asked)
    assert (page.status, told.status) == (400, 400)
    assert told.json["error"]["param"] == "reason"
    assert told.json["error"]["code"] == (None if reason else "reason_required")
    assert WORDS not in page.text + told.text
    assert len(looks(door)) == before


def test_a_note_has_an_end(door: Door, auditor: Visitor, decision: str) -> None:
    page = auditor.post(f"/decisions/{decision}/content", {"reason": "audit", "note": "x" * 2001})
    assert page.status == 400
    assert WORDS not in page.text


def test_the_api_puts_it_on_record_too(door: Door, decision: str) -> None:
    shown = door.api("omar", "GET", f"/api/decisions/{decision}?content=1&reason=incident")
    assert WORDS in str(shown.json["content"])
    look = looks(door)[-1]
    assert (look.decision, look.reason, look.via, look.note) == (decision, "incident", shown.decision, None)


def test_what_is_not_there_is_not_looked_at(door: Door, auditor: Visitor) -> None:
    before = len(looks(door))
    nothing = "01900000-0000-7000-8000-000000000000"
    assert auditor.post(f"/decisions/{nothing}/content", {"reason": "audit"}).status == 404
    assert len(looks(door)) == before


def test_a_look_by_whoever_may_not_is_no_look(door: Door, decision: str) -> None:
    before = len(looks(door))
    answer = door.api("dana", "GET", f"/api/decisions/{decision}?content=1&reason=audit")
    assert answer.status == 403
    assert len(looks(door)) == before


def test_where_the_look_cannot_be_recorded_nothing_is_shown(door: Door, decision: str) -> None:
    with door.server.stores() as stores:
        with stores.database.begin() as connection:
            connection.execute(
                text(
                    "CREATE TRIGGER no_looks BEFORE INSERT ON entry WHEN NEW.type = 'look/1' "
                    "BEGIN SELECT RAISE(ABORT, 'no looks today'); END"
                )
            )
        try:
            answer = door.api("omar", "GET", f"/api/decisions/{decision}?content=1&reason=audit")
        finally:
            with stores.database.begin() as connection:
                connection.execute(text("DROP TRIGGER no_looks"))
    assert answer.status >= 500
    assert WORDS not in answer.text


def test_notes_verify_with_everything_else(door: Door, auditor: Visitor, decision: str) -> None:
    auditor.post(f"/decisions/{decision}/content", {"reason": "audit", "note": NOTE})
    with door.server.stores() as stores:
        wait_published(stores.database, stores.objects, 5)
        report = verify_all(stores.database, stores.objects, stores.keys)
        assert report.problems == []
        place = looks(door)[-1].via
        with stores.database.begin() as connection:
            kept = connection.execute(
                text("SELECT sealed FROM content WHERE decision = :place"), {"place": place}
            ).scalar_one()
            connection.execute(text("DELETE FROM content WHERE decision = :place"), {"place": place})
        report = verify_all(stores.database, stores.objects, stores.keys)
        with stores.database.begin() as connection:
            connection.execute(
                text("INSERT INTO content VALUES (:place, 'note', :kept, 2000000000000)"),
                {"place": place, "kept": kept},
            )
    assert [problem.what for problem in report.problems] == ["The note is gone, but no erasure of it is on record."]
