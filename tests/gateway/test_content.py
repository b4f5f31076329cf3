"""Prompts, answers and secrets: what is kept, how, and for how long. Nothing of them lies in the clear."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.support.doors import MODELS, Door, MakeServer
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Script, Upstream

from transom.ledger.acts import ErasureEntry
from transom.ledger.verify import verify_all

TOKEN = "ghp_" + "Zq9" * 14
POLICIES = """
@id("all") @retain("30d")
permit (principal in Group::"operators", action, resource);
@id("checked") @safeguards("secrets")
permit (principal in Group::"developers", action in [Action::"infer", Action::"embed"], resource);
@id("silent") @record("commitment")
permit (principal in Group::"students", action == Action::"infer", resource);
@id("brief") @retain("1s")
permit (principal in Group::"auditors", action == Action::"infer", resource);
"""


@pytest.fixture(scope="module", params=["block", "flag"])
def verdict(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, vendor: Upstream, verdict: str) -> Iterator[Door]:
    settings = NO_ENGINE + MODELS.format(url=vendor.url) + f'[safeguards.secrets]\nverdict = "{verdict}"\n'
    with Server(tmp_path_factory.mktemp("guarded") / "home", settings, policies=POLICIES) as server:
        yield Door(server.start(), vendor)


@pytest.mark.parametrize("stream", [False, True])
def test_a_secret_in_a_prompt(guarded: Door, verdict: str, *, stream: bool) -> None:
    server, before = guarded.server, len(guarded.upstream.seen)
    messages = [
        {"role": "system", "content": [{"type": "text", "text": f"use {TOKEN} or {TOKEN}"}]},
        {"role": "user", "content": "AKIA" + "ABCDEFGHIJKLMNOP"},
    ]
    body = {"model": "closed", "messages": messages, "stream": stream}
    answer = server.ask("POST", "/v1/chat/completions", key=guarded.key(), body=body)
    story = server.story(answer.decision)
    assert story.outcome is not None
    (said,) = story.decision.verdicts
    assert (said.safeguard, said.stage, said.verdict) == ("secrets", "prompt", verdict)
    assert dict(said.findings) == {"a GitHub token": 2, "an AWS access key": 1}
    assert said.bytes_scanned >= len(f"use {TOKEN} or {TOKEN}")
    if verdict == "block":
        assert (answer.status, answer.json["error"]["code"]) == (403, "safeguard_blocked")
        assert "secrets" in answer.json["error"]["message"]
        assert TOKEN.encode() not in answer.body
        assert (story.outcome.status, story.outcome.attempts) == ("blocked", ())
        assert len(guarded.upstream.seen) == before
    else:
        assert answer.status == 200
        assert story.outcome.status == "answered"
        assert story.outcome.verdicts[0].verdict == "not run"  # answers are not checked, and are not said to be
    assert server.holding(TOKEN.encode()) == []


def test_a_secret_in_what_is_to_be_embedded_or_called(guarded: Door, verdict: str) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": json.dumps({"k": TOKEN})}}
    messages = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    for path, body in (
        ("/v1/embeddings", {"model": "vectors", "input": ["fine", f"not {TOKEN}"]}),
        ("/v1/chat/completions", {"model": "closed", "messages": messages}),
    ):
        answer = guarded.server.ask("POST", path, key=guarded.key(), body=body)
        assert answer.status == (403 if verdict == "block" else 200)
        (said,) = guarded.server.story(answer.decision).decision.verdicts
        assert (said.verdict, dict(said.findings)) == (verdict, {"a GitHub token": 1})


def test_no_secret_is_no_finding(guarded: Door) -> None:
    answer = guarded.server.chat("closed", guarded.key(), "what is a ghp_ prefix?")
    (said,) = guarded.server.story(answer.decision).decision.verdicts
    assert (said.verdict, dict(said.findings)) == ("pass", {})


def test_content_is_encrypted_and_can_be_read_by_whoever_holds_the_key(guarded: Door) -> None:
    server = guarded.server
    guarded.upstream.scripts["unusual"] = Script(body=b'{"choices":[],"said":"Quetzalcoatlus"}')
    answer = server.chat("closed", guarded.key("operators"), "script unusual Archaeopteryx")
    story = server.logged(answer.decision)
    assert sorted(story.kept) == ["answer", "prompt"]
    assert server.holding(b"Archaeopteryx", b"Quetzalcoatlus") == []
    opened = server.story(answer.decision, content=True)
    told = {part.part: part for part in opened.content}
    assert "Archaeopteryx" in (told["prompt"].text or "")
    assert told["answer"].text == answer.body.decode()
    assert all(part.matches for part in opened.content)
    assert "Archaeopteryx" not in str(story)


@pytest.mark.parametrize("stream", [False, True])
def test_a_commitment_keeps_no_content(guarded: Door, *, stream: bool) -> None:
    server = guarded.server
    answer = server.chat("closed", guarded.key("students"), "a private thought", stream=stream)
    story = server.story(answer.decision, content=True)
    assert story.outcome is not None
    assert story.decision.obligations.record == "commitment"
    assert story.decision.prompt is not None
    assert story.outcome.answer is not None
    assert story.outcome.answer.size == len(answer.body)
    assert [part.text for part in story.content] == [None, None]
    with server.stores() as stores, stores.database.begin(write=False) as connection:
        rows = connection.execute(
            text("SELECT sealed FROM content WHERE decision = :id"), {"id": answer.decision}
        ).all()
    # Nonce, salt and tag: no room for a prompt.
    assert {len(row.sealed) for row in rows} == {min(len(row.sealed) for row in rows)}
    assert max(len(row.sealed) for row in rows) < 100


def test_a_prompt_that_was_never_ruled_on_is_not_kept(guarded: Door) -> None:
    answer = guarded.server.chat("nonsense", guarded.key("students"), "a private thought")
    assert answer.status == 404
    story = guarded.server.story(answer.decision, content=True)
    assert story.decision.ruling is None
    assert story.decision.prompt is not None
    assert [(part.part, part.text) for part in story.content] == [("prompt", None)]


def test_what_is_past_its_retention_is_erased_and_the_log_verifies(make_server: MakeServer, vendor: Upstream) -> None:
    server = make_server(NO_ENGINE + MODELS.format(url=vendor.url), policies=POLICIES).start()
    brief, kept = server.issue("a", "auditors").key, server.issue("o", "operators").key
    gone = server.chat("closed", brief, "to be forgotten").decision
    stays = server.chat("closed", kept, "to be kept").decision
    assert set(server.logged(gone).kept) == {"prompt", "answer"}
    time.sleep(1.0)  # the retention itself
    server.stop()
    server.start()  # the first thing that housekeeping does
    until = time.monotonic() + 10
    while server.story(gone).kept:
        assert time.monotonic() < until
        time.sleep(0.05)
    story = server.logged(gone)
    assert story.inclusion is not None
    assert story.inclusion.verified
    assert set(server.story(stays).kept) == {"prompt", "answer"}
    metrics = server.get("/metrics", kept).text
    assert "transom_retention_erased_total 2.0" in metrics, metrics
    assert "transom_retention_due 0.0" in metrics
    said = server.get("/api/status", kept).json["retention"]
    assert (said["due"], said["erased"]) == (0, 2)
    assert server.stop() == 0
    (entry,) = server.entries("erasure/1")
    assert isinstance(entry, ErasureEntry)
    assert (entry.count, entry.cause, entry.decisions) == (2, "retention", (gone,))
    with server.stores() as stores:
        report = verify_all(stores.database, stores.objects, stores.keys)
    assert (report.ok, report.waiting, list(report.open)) == (True, 0, [])
    assert server.run("ledger", "verify").returncode == 0


def test_logs_hold_no_content_and_no_secrets(make_server: MakeServer, vendor: Upstream) -> None:
    server = make_server(
        NO_ENGINE + MODELS.format(url=vendor.url), environment={"VENDOR_KEY": "sk-vendor-secret-0123456789"}
    )
    server.home.settings.write_text(
        server.home.settings.read_text().replace('"x-vendor" = "yes"', '"x-vendor" = { env = "VENDOR_KEY" }')
    )
    server.start()
    issued = server.issue("d", "developers")
    for content in ("Archaeopteryx", f"Archaeopteryx {TOKEN}"):
        server.chat("closed", issued.key, content)
        server.chat("lost", issued.key, content)
    assert vendor.find("Archaeopteryx").header("x-vendor") == "sk-vendor-secret-0123456789"
    server.ask("POST", "/v1/chat/completions", key=issued.key, body=b'{"model": "Archaeopteryx')
    server.stop()
    needles = (b"Archaeopteryx", TOKEN.encode(), issued.key.encode(), b"sk-vendor-secret")
    assert server.holding(*needles) == []  # the log and what it said on the terminal lie there too
    assert Path(server.home.path / "log").exists()
    for line in server.log.splitlines():
        assert {"at", "level", "logger", "message"} <= set(json.loads(line))
