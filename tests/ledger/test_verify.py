from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, text
from tests.ledger import outsider
from tests.ledger.making import NOW, Home, decision, outcome, requests

from transom.decisions.erase import Erased, Eraser
from transom.errors import LedgerError
from transom.ledger.acts import ErasureEntry
from transom.ledger.checkpoint import Checkpoint
from transom.ledger.entry import AnswerPart, CommitmentPart, DecisionEntry, Entry, new_id, timestamp
from transom.ledger.proof import prove
from transom.ledger.report import Report
from transom.ledger.seal import Part, Vault
from transom.ledger.verify import verify_all, verify_log
from transom.storage import tables
from transom.storage.objects import Objects, open_objects
from transom.values import CallerId, DecisionId

LATER = NOW + 3_600_000


def texts(report: Report) -> str:
    return "\n".join(f"{problem.where}: {problem.what}" for problem in report.problems)


def sequenced(home: Home, *batches: list[Entry]) -> Home:
    for batch in batches:
        home.write(batch)
        home.sequencer().run_once()
    return home


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], str]:
    """A log of 600 entries as it is published, and its verifier key."""
    folder = tmp_path_factory.mktemp("published")
    home = sequenced(Home(folder, f"sqlite:///{folder}/transom.db"), requests(3), requests(200), requests(397))
    objects = {path: home.objects.get(path) or b"" for path in home.objects.list("ledger")}
    home.close()
    return objects, home.keys.vkey


def in_memory(objects: dict[str, bytes]) -> Objects:
    store = open_objects("memory:///")
    for path, data in objects.items():
        store.put(path, data)
    return store


def test_a_sound_log_is_accepted_by_all(published: tuple[dict[str, bytes], str]) -> None:
    objects, vkey = published
    assert len(outsider.verify_log(lambda path: objects.get(f"ledger/{path}"), vkey)) == 600
    report = verify_log(in_memory(objects), vkey, now_ms=LATER)
    assert report.ok
    assert (report.size, report.problems, len(report.open)) == (600, [], 2)
    assert report.entries == {"decision/1": 301, "outcome/1": 299}


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_flipped_byte_anywhere_is_refused(published: tuple[dict[str, bytes], str], data: st.DataObject) -> None:
    objects, vkey = published
    path = data.draw(st.sampled_from(sorted(objects)))
    altered = bytearray(objects[path])
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
    flipped = {**objects, path: bytes(altered)}
    with pytest.raises(outsider.Rejected):
        outsider.verify_log(lambda name: flipped.get(f"ledger/{name}"), vkey)
    assert not verify_log(in_memory(flipped), vkey).ok


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_missing_or_shortened_or_longer_object_is_refused(
    published: tuple[dict[str, bytes], str], data: st.DataObject
) -> None:
    objects, vkey = published
    path = data.draw(st.sampled_from(sorted(objects)))
    whole = objects[path]
    change: Callable[[], bytes | None] = data.draw(
        st.sampled_from([lambda: None, lambda: whole[:-1], lambda: whole + b"\x00", lambda: whole + b"\x00\x00"])
    )
    new = change()
    harmed = {**objects, path: new} if new is not None else {each: objects[each] for each in objects if each != path}
    with pytest.raises(outsider.Rejected):
        outsider.verify_log(lambda name: harmed.get(f"ledger/{name}"), vkey)
    assert not verify_log(in_memory(harmed), vkey).ok


def test_another_key_accepts_nothing(published: tuple[dict[str, bytes], str], home: Home) -> None:
    objects, _ = published
    assert "not signed by" in texts(verify_log(in_memory(objects), home.keys.vkey))
    with pytest.raises(LedgerError, match="verifier key"):
        verify_log(in_memory(objects), "nonsense")


def test_a_checkpoint_under_another_name_is_refused(home: Home) -> None:
    sequenced(home, requests(2))
    root = outsider.mth([outsider.leaf_hash(body) for body in outsider.verify_log(home.fetch, home.keys.vkey)])
    renamed = home.keys.signer.sign(Checkpoint("other.example/log", 2, root).text)
    home.objects.put("ledger/checkpoint", renamed.encode())
    assert "of the log 'other.example/log'" in texts(verify_log(home.objects, home.keys.vkey))


@pytest.mark.parametrize("size", [255, 256, 257, 512])
def test_logs_that_end_with_a_full_bundle(home: Home, size: int) -> None:
    sequenced(home, requests(size))
    assert verify_all(home.database, home.objects, home.keys).ok
    assert len(outsider.verify_log(home.fetch, home.keys.vkey)) == size


def test_a_log_that_was_never_begun_says_so(home: Home) -> None:
    assert "There is no checkpoint" in texts(verify_log(home.objects, home.keys.vkey))
    assert "There is no checkpoint" in texts(verify_all(home.database, home.objects, home.keys))


def test_a_left_over_partial_tile_is_compared_too(home: Home) -> None:
    sequenced(home, requests(10), requests(20))
    home.objects.put("ledger/tile/0/000.p/10", bytes(320))
    home.objects.put("ledger/tile/entries/000.p/10", b"")
    home.objects.put("ledger/tile/0/000.p/200", b"of a run that is not signed yet")
    report = verify_log(home.objects, home.keys.vkey)
    assert [problem.where for problem in report.problems] == ["ledger/tile/0/000.p/10", "ledger/tile/entries/000.p/10"]


def without_checks(home: Home, bodies: list[bytes]) -> None:
    """Write rows as Transom itself never would, and sequence them."""
    home.write_rows([{"type": "x", "instance": "one", "body": body} for body in bodies])
    home.sequencer().run_once()


def test_an_entry_that_cannot_be_read_is_found(home: Home) -> None:
    without_checks(home, [b"{}", b"", b"\x00\xff"])
    report = verify_log(home.objects, home.keys.vkey)
    assert [problem.where for problem in report.problems] == ["entry 0", "entry 1", "entry 2"]


def test_the_life_of_a_decision_is_followed(home: Home) -> None:
    one, two, three = decision(), decision(), decision()
    young = decision(LATER - 1000)
    erased = ErasureEntry(id=new_id(NOW), at=timestamp(NOW), count=1, before=timestamp(NOW))
    sequenced(
        home, [one, outcome(one), one, outcome(two), outcome(three), three, outcome(one), outcome(one), young, erased]
    )
    report = verify_log(home.objects, home.keys.vkey, now_ms=LATER)
    assert texts(report).splitlines() == [
        f"entry 2: Decision {one.id} is in the log twice.",
        f"entry 3: Decision {two.id} has an outcome, but is not in the log before it.",
        f"entry 4: Decision {three.id} has an outcome, but is not in the log before it.",
        f"entry 5: Decision {three.id} is in the log twice.",
        f"entry 7: Decision {one.id} has a second outcome.",
    ]
    assert report.open == [three.id]


def test_a_decision_without_outcome_is_open_and_no_error(home: Home) -> None:
    old, young = decision(NOW), decision(LATER - 59_000)
    sequenced(home, [old, young])
    report = verify_log(home.objects, home.keys.vkey, now_ms=LATER)
    assert report.ok
    assert report.open == [old.id]


def test_many_problems_are_counted_and_the_first_ones_shown(home: Home) -> None:
    without_checks(home, [b"{}"] * 1500)
    report = verify_log(home.objects, home.keys.vkey)
    assert (report.problem_count, len(report.problems)) == (1500, 1000)


def with_content(home: Home) -> tuple[DecisionEntry, Vault]:
    """A decision and its outcome, prompt and answer kept."""
    vault = Vault(home.keys.master_key)
    decided = DecisionId(new_id(NOW))
    key = vault.record_key(decided)
    prompt = vault.seal(key, decided, "prompt", b"What is a transom?")
    answer = vault.seal(key, decided, "answer", b"A window above a door.", keep=False)
    one = decision(id=decided, prompt=CommitmentPart(commitment=prompt.commitment, size=18))
    two = outcome(one, answer=AnswerPart(commitment=answer.commitment, size=22, complete=True))
    sequenced(home, [one, two])
    keep(home, decided, "prompt", key.wrapped, prompt.sealed)
    keep(home, decided, "answer", key.wrapped, answer.sealed)
    return one, vault


def keep(home: Home, decided: str, part: Part, key: bytes, sealed: bytes) -> None:
    row = {"decision": decided, "part": part, "sealed": sealed, "expires": 1}
    with home.database.begin() as connection:
        connection.execute(delete(tables.record_key).where(tables.record_key.c.decision == decided))
        connection.execute(insert(tables.record_key), [{"decision": decided, "wrapped": key}])
        connection.execute(insert(tables.content), [row])


def test_the_operator_verifies_everything(any_home: Home) -> None:
    home = sequenced(any_home, requests(4), requests(300))
    with_content(home)
    home.write(requests(2))
    report = verify_all(home.database, home.objects, home.keys, now_ms=LATER)
    assert report.problems == []
    assert (report.size, report.checkpoints, report.contents, report.waiting) == (306, 4, 2, 2)


def run(home: Home, sql: str) -> None:
    with home.database.begin() as connection:
        connection.execute(text(sql))


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        ("UPDATE entry SET body = replace(CAST(body AS TEXT), 'infer', 'embed') WHERE id = 3", "entry 2, row 3"),
        ("UPDATE entry SET body = 'é' WHERE id = 3", "entry 2, row 3"),
        ("DELETE FROM entry WHERE id = 3", "entry 2, row 4"),
        ("DELETE FROM entry WHERE id = 306", "entry 305"),
        ("UPDATE checkpoint SET last_entry = 3 WHERE size = 4", "checkpoint of size 4 in the database"),
        (
            "UPDATE checkpoint SET size = 5 WHERE size = 4",
            "checkpoint of size 5 in the database: The checkpoint is not",
        ),
        ("UPDATE checkpoint SET root = zeroblob(32) WHERE size = 0", "row is not what its note says"),
        ("UPDATE checkpoint SET note = replace(note, '—', '-') WHERE size = 4", "checkpoint of size 4 in the database"),
        ("DELETE FROM checkpoint WHERE size = 306", "published checkpoint is not in the database"),
        ("DELETE FROM checkpoint", "only published"),
        ("UPDATE content SET decision = 'other' WHERE part = 'prompt'", "decision other, prompt: No entry commits"),
        ("UPDATE content SET sealed = zeroblob(99) WHERE part = 'answer'", "answer: The answer of decision"),
        ("UPDATE record_key SET wrapped = zeroblob(60)", "prompt: The prompt of decision"),
    ],
)
def test_what_the_database_hides_is_found(home: Home, harm: str, found: str) -> None:
    sequenced(home, requests(4), requests(300))
    with_content(home)
    run(home, harm)
    assert verify_log(home.objects, home.keys.vkey).ok
    report = verify_all(home.database, home.objects, home.keys)
    assert not report.ok
    assert found in texts(report)


TEXT = "CAST(x'ff' AS TEXT)"
"""A text that is none in UTF-8: the driver cannot read it."""
ROW, KEPT = "entry 2, row 3 of `entry`: The database's row", "prompt: The prompt of decision"
AT_4 = "checkpoint of size 4 in the database"


@pytest.mark.parametrize(
    ("table", "change", "found"),
    [
        ("entry", "body = CAST(body AS TEXT) WHERE id = 3", ROW),
        *[("entry", f"body = {value} WHERE id = 3", ROW) for value in (TEXT, "7", "7.5", "NULL")],
        *[("entry", f"body = {value} WHERE id = 5", "prompt: No entry commits") for value in (TEXT, "7", "NULL")],
        *[("record_key", f"wrapped = {value}", KEPT) for value in (TEXT, "7", "NULL")],
        *[("content", f"sealed = {value}", KEPT) for value in (TEXT, "7", "NULL")],
        ("checkpoint", f"root = {TEXT} WHERE size = 4", AT_4),
        ("checkpoint", "note = CAST(note AS BLOB) WHERE size = 4", AT_4),
        ("checkpoint", "last_entry = 'four' WHERE size = 4", AT_4),
        ("checkpoint", "size = 'six' WHERE size = 6", "not in the database"),
    ],
)
def test_a_value_of_another_type_is_one_more_altered_row(home: Home, table: str, change: str, found: str) -> None:
    """SQLite takes any type in any column, and NULL where the constraint was taken away too."""
    sequenced(home, requests(4))
    with_content(home)
    run(home, f"ALTER TABLE {table} RENAME TO constrained")
    run(home, f"CREATE TABLE {table} AS SELECT * FROM constrained")
    run(home, f"UPDATE {table} SET {change}")
    run(home, "UPDATE content SET decision = 'other' WHERE part = 'answer'")
    report = verify_all(home.database, home.objects, home.keys)
    assert found in texts(report)
    assert "decision other, answer: No entry commits" in texts(report)  # it went on to the end


def test_a_content_that_names_its_decision_in_bytes_is_found(home: Home) -> None:
    with_content(home)
    run(home, "UPDATE content SET decision = CAST(decision AS BLOB)")
    run(home, "UPDATE entry SET decision = CAST(decision AS BLOB)")
    report = verify_all(home.database, home.objects, home.keys)
    assert texts(report).count("No entry commits to this content.") == 2


def test_a_content_that_was_exchanged_is_found(home: Home) -> None:
    one, vault = with_content(home)
    decided = DecisionId(one.id)
    key = vault.record_key(decided)
    run(home, "DELETE FROM content")
    keep(home, decided, "prompt", key.wrapped, vault.seal(key, decided, "prompt", b"Another prompt entire").sealed)
    bare = decision()
    sequenced(home, [bare])
    other = vault.record_key(DecisionId(bare.id))
    sealed = vault.seal(other, DecisionId(bare.id), "prompt", b"x")
    keep(home, bare.id, "prompt", other.wrapped, sealed.sealed)
    assert texts(verify_all(home.database, home.objects, home.keys)).splitlines() == [
        f"content of decision {decided}, prompt: The content is not the one that its entry commits to.",
        f"content of decision {bare.id}, prompt: Its entry commits to no content.",
        f"content of decision {decided}, answer: The answer is gone, but no erasure of it is on record.",
    ]


def test_erased_content_leaves_a_log_that_verifies(any_home: Home) -> None:
    one, _ = with_content(any_home)
    decided = DecisionId(one.id)
    eraser = Eraser(any_home.database, instance="one", by=any_home.keys.pseudonym(CallerId("key_1")))
    assert [step.erased for step in eraser.decisions([decided])] == [Erased(decisions=1, contents=2)]
    sequenced(any_home, requests(1))
    report = verify_all(any_home.database, any_home.objects, any_home.keys)
    assert (report.problems, report.contents, report.entries["erasure/1"]) == ([], 0, 1)


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        ("DELETE FROM content", ["prompt is gone, but no erasure", "answer is gone, but no erasure"]),
        ("DELETE FROM content WHERE part = 'answer'", ["answer is gone, but no erasure"]),
        ("UPDATE record_key SET wrapped = NULL, erased = 7", ["key was destroyed, but no erasure"]),
        ("DELETE FROM record_key", ["cannot be opened", "cannot be opened", "The key of decision"]),
    ],
)
def test_what_is_gone_without_an_erasure_on_record_is_found(any_home: Home, harm: str, found: list[str]) -> None:
    with_content(any_home)
    run(any_home, harm)
    report = verify_all(any_home.database, any_home.objects, any_home.keys)
    said = [problem.what for problem in report.problems]
    assert len(said) == len(found), said
    assert all(any(words in what for what in said) for words in found), said


def test_an_older_published_checkpoint_is_found(home: Home) -> None:
    sequenced(home, requests(2))
    old = home.objects.get("ledger/checkpoint")
    assert old is not None
    sequenced(home, requests(2))
    home.objects.put("ledger/checkpoint", old)
    assert verify_log(home.objects, home.keys.vkey).ok
    assert "not the newest, of size 4" in texts(verify_all(home.database, home.objects, home.keys))


def test_proofs_of_what_is_published(home: Home, tmp_path: Path) -> None:
    assert prove(home.objects, 0) is None
    entries = requests(300)
    sequenced(home, entries)
    bodies = outsider.verify_log(home.fetch, home.keys.vkey)
    for index in (0, 256, 299):
        proof = prove(home.objects, index)
        assert proof is not None
        assert outsider.verify_proof_file(proof.text, bodies[index], home.keys.vkey) == index
    assert prove(home.objects, 300) is None
