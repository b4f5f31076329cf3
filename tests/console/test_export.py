"""Exports through a running door and on the terminal: who may, what is in them, and the look at what was said."""

import json
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyarrow import BufferReader
from tests.console.door import Door

from transom.audit.exported import check
from transom.ledger.acts import LookEntry
from transom.ledger.note import parse_vkey

WORDS = "words to be handed out"


@pytest.fixture(scope="module")
def decisions(door: Door) -> list[str]:
    """Two decisions that can be found."""
    asked = [door.chat("dana", "vendor-large", WORDS).decision for _ in range(2)]
    until = time.monotonic() + 20
    while not set(asked) <= {row["decision"] for row in rows(door, "caller=dana")}:
        assert time.monotonic() < until, "the index does not follow"
        time.sleep(0.1)
    return asked


def rows(door: Door, query: str, name: str = "omar") -> list[dict[str, str]]:
    answer = door.api(name, "GET", f"/api/export?{query}")
    assert answer.status == 200, answer.text
    return [json.loads(line) for line in answer.body.splitlines()[1:-1]]


def vkey(door: Door) -> str:
    with door.server.stores() as stores:
        return stores.keys.vkey


def test_an_export_verifies_and_shows_nothing_that_was_said(door: Door, decisions: list[str]) -> None:
    answer = door.api("omar", "GET", "/api/export?caller=dana")
    assert answer.headers["content-type"].startswith("application/jsonl")
    assert check(answer.body.splitlines(keepends=True), [parse_vkey(vkey(door))]).decisions >= 2
    assert WORDS not in answer.text
    assert json.loads(answer.body.splitlines()[0])["searched"] == {"caller": "dana"}
    assert door.server.story(answer.decision).decision.action == "export_decisions"


def test_content_takes_a_reason_and_is_one_look(door: Door, decisions: list[str]) -> None:
    unsaid = door.api("omar", "GET", "/api/export?caller=dana&content=1")
    assert (unsaid.status, unsaid.json["error"]["code"]) == (400, "reason_required")
    found = rows(door, "caller=dana&content=1&reason=audit")
    said = {row["decision"]: row["prompt"] for row in found}
    assert all(WORDS in said[id_] for id_ in decisions)
    look = door.server.entries("look/1")[-1]
    assert isinstance(look, LookEntry)
    assert (look.count, look.reason) == (len(found), "audit")
    assert (look.decision is None) == (look.selection is not None) == (len(found) > 1)
    assert look.via is not None
    assert door.server.story(look.via).decision.action == "read_content"
    shown = door.api("omar", "GET", "/api/export?caller=dana&content=1&reason=audit&format=parquet")
    table = pq.read_table(BufferReader(shown.body))
    assert any(prompt and WORDS in prompt for prompt in table["prompt"].to_pylist())


def test_an_export_is_for_those_whom_policy_lets(door: Door) -> None:
    for query in ("caller=dana", "caller=dana&content=1&reason=audit"):
        answer = door.api("dana", "GET", f"/api/export?{query}")
        assert (answer.status, answer.json["error"]["code"]) == (403, "policy_forbids")


@pytest.mark.parametrize(("query", "param"), [("format=xml", "format"), ("since=yesterday", "since")])
def test_an_export_that_means_nothing_is_told_so(door: Door, query: str, param: str) -> None:
    answer = door.api("omar", "GET", f"/api/export?{query}")
    assert (answer.status, answer.json["error"]["param"]) == (400, param)


def test_the_command_writes_what_a_stranger_checks(door: Door, decisions: list[str], tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    done = door.server.run("decisions", "export", "caller=dana", "--out", str(file))
    assert done.returncode == 0, done.stderr
    assert WORDS not in file.read_text()
    checked = door.server.run("verify", "export", str(file), "--vkey", vkey(door))
    assert checked.returncode == 0, checked.stderr
    assert "holds all" in checked.stdout
    file.write_text(file.read_text().replace("vendor-large@1", "vendor-small@1", 1))
    forged = door.server.run("verify", "export", str(file), "--vkey", vkey(door))
    assert forged.returncode == 1
    assert "Line " in forged.stderr


def test_the_command_puts_looks_on_record(door: Door, decisions: list[str], tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"
    search = ("decisions", "export", "caller=dana", "--format", "parquet", "--out", str(file), "--content")
    unsaid = door.server.run(*search)
    assert (unsaid.returncode, file.exists()) == (1, False)
    before = len(door.server.entries("look/1"))
    done = door.server.run(*search, "--reason", "subject-request")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]
    assert any(WORDS in (prompt or "") for prompt in pq.read_table(file)["prompt"].to_pylist())
    looks = door.server.entries("look/1")[before:]
    assert [(look.reason, look.via) for look in looks if isinstance(look, LookEntry)] == [("subject-request", None)]
