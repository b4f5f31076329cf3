"""Receipts over HTTP: what each binds, whose they are, and that the log keeps what they promise."""

import base64
import json
import re
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
import pytest
from tests.ledger import outsider
from tests.support.doors import MODELS, Door, MakeServer, models
from tests.support.record import verify
from tests.support.server import NO_ENGINE, ROOT, Answer, Server
from tests.support.upstream import Upstream

from transom.decisions.erase import Eraser
from transom.decisions.governance import TERMINAL
from transom.ledger.check import check_receipt
from transom.ledger.note import parse_vkey
from transom.ledger.portable import parse_portable
from transom.ledger.receipt import Receipt, ReceiptFile, parse_file, parse_receipt
from transom.ledger.seal import commitment
from transom.values import DecisionId

YES = {"transom-receipt": "yes"}


def ask(server: Server, key: str, model: str = "open", *, path: str = "/v1/chat/completions", **more: object) -> Answer:
    """Ask with a receipt wanted. The body is `sent(model, …)`."""
    return server.ask("POST", path, key=key, body=sent(model, **more), headers=YES)


def sent(model: str, **more: object) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "Is it true?"}]} | more).encode()


def handed(answer: Answer) -> tuple[ReceiptFile, Receipt]:
    """The receipt in an answer's head."""
    return opened(base64.b64decode(answer.headers["transom-receipt"], validate=True).decode())


def opened(text: str) -> tuple[ReceiptFile, Receipt]:
    file = parse_file(text)
    return file, parse_receipt(file.note.rpartition("\n\n")[0] + "\n")


def vkey(server: Server) -> str:
    with server.stores() as stores:
        return stores.keys.vkey


def proof_of(server: Server, key: str, decision: str) -> str:
    """Fetch the proof once the log has it."""
    until = time.monotonic() + 10
    while (answer := server.get(f"/receipts/{decision}.tlog-proof", key)).status == 404:
        assert (answer.json["error"]["code"], answer.headers["retry-after"]) == ("not_in_the_log_yet", "1")
        assert time.monotonic() < until
        time.sleep(0.05)
    assert answer.status == 200
    return answer.text


def test_a_plain_answer_carries_its_receipt(door: Door) -> None:
    answer = ask(door.server, door.key())
    file, receipt = handed(answer)
    text = outsider.verify_receipt_file(file.text, vkey(door.server))
    assert text["decision"] == answer.decision == receipt.decision
    assert (receipt.status, receipt.reason, receipt.outcome) == (200, None, None)
    assert receipt.prompt is not None
    assert receipt.answer is not None
    assert file.prompt_salt is not None
    assert file.answer_salt is not None
    assert receipt.prompt.commitment == commitment(file.prompt_salt, sent("open"))
    assert receipt.answer.commitment == commitment(file.answer_salt, answer.body)
    assert (receipt.answer.size, receipt.answer.complete) == (len(answer.body), True)
    outsider.prove_said(file.text, prompt=sent("open"), answer=answer.body)
    story = door.server.story(answer.decision, content=True)
    assert story.outcome is not None
    assert (story.decision.at, story.decision.prompt) == (receipt.at, receipt.prompt)
    assert story.outcome.answer == receipt.answer  # the close recorded what was promised, not another commitment
    assert all(part.matches for part in story.content)
    assert {part.part for part in story.content} == {"prompt", "answer"}


def test_openais_client_keeps_the_bytes_as_the_documents_say(sqlite_door: Door) -> None:
    (shown,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "receipts.md").read_text(), re.DOTALL)
    with sqlite_door.client() as client:
        names: dict[str, Any] = {"client": client}
        exec(shown, names)
    text = base64.b64decode(names["receipt"]).decode()
    outsider.verify_receipt_file(text, vkey(sqlite_door.server))
    outsider.prove_said(text, prompt=names["prompt"], answer=names["answer"])


def test_no_receipt_unless_it_is_asked_for(door: Door) -> None:
    for headers in ({}, {"transom-receipt": "no"}):
        answer = door.server.ask("POST", "/v1/chat/completions", key=door.key(), body=sent("open"), headers=headers)
        assert answer.status == 200
        assert "transom-receipt" not in answer.headers


@pytest.mark.parametrize(
    ("group", "body", "status", "reason"),
    [
        ("nobodies", sent("open"), 403, "policy_forbids"),
        ("developers", sent("no such model"), 404, "model_not_found"),
        ("developers", sent("lost"), 502, "upstream_failed"),
        ("developers", b'{"model": "open", ', 400, "invalid_json"),
    ],
    ids=["forbidden", "unknown", "failed", "unreadable"],
)
def test_a_refusal_carries_its_receipt(door: Door, group: str, body: bytes, status: int, reason: str) -> None:
    answer = door.server.ask("POST", "/v1/chat/completions", key=door.key(group), body=body, headers=YES)
    assert answer.status == status
    file, receipt = handed(answer)
    assert (receipt.decision, receipt.status, receipt.answer) == (answer.decision, status, None)
    assert receipt.reason == reason
    outsider.verify_receipt_file(file.text, vkey(door.server))
    outsider.prove_said(file.text, prompt=body)
    proof = proof_of(door.server, door.key(group), answer.decision)
    outsider.verify_portable(proof, vkey(door.server), receipt=file.text)


@pytest.mark.parametrize("model", ["open", "two"])
def test_a_streams_receipt_is_whole_once_it_is_closed(door: Door, model: str) -> None:
    answer = ask(door.server, door.key(), model, stream=True)
    file, at_first = handed(answer)
    assert (at_first.status, at_first.answer, file.answer_salt) == (None, None, None)
    outsider.prove_said(file.text, prompt=sent(model, stream=True))
    later = door.server.get(f"/receipts/{answer.decision}", door.key())
    assert (later.status, later.headers["cache-control"]) == (200, "private, no-store")
    outsider.verify_receipt_file(later.text, vkey(door.server))
    outsider.prove_said(later.text, prompt=sent(model, stream=True), answer=answer.body)
    _, whole = opened(later.text)
    assert (whole.leaf, whole.prompt, whole.status) == (at_first.leaf, at_first.prompt, 200)
    assert whole.outcome is not None


def test_the_log_keeps_what_receipts_promise(door: Door) -> None:
    for stream in (False, True):
        answer = ask(door.server, door.key(), stream=stream)
        proof = proof_of(door.server, door.key(), answer.decision)
        file, _ = handed(answer)
        said = outsider.verify_portable(proof, vkey(door.server), receipt=file.text)
        assert said == {"decision": answer.decision, "status": "answered"}
        outsider.prove_said(outsider.extra(proof)["receipt"], prompt=sent("open", stream=stream), answer=answer.body)


def test_a_stranger_finds_what_was_promised_in_the_whole_log(door: Door) -> None:
    answer = ask(door.server, door.key())
    proof_of(door.server, door.key(), answer.decision)

    def fetch(path: str) -> bytes | None:
        served = door.server.get(f"/ledger/{path}")
        return served.body if served.status == 200 else None

    leaves = {outsider.leaf_hash(entry) for entry in outsider.verify_log(fetch, vkey(door.server))}
    _, receipt = opened(door.server.get(f"/receipts/{answer.decision}", door.key()).text)
    assert {receipt.leaf, receipt.outcome} <= leaves


def test_a_decision_is_shown_to_its_caller_and_to_whom_policy_lets(door: Door) -> None:
    answer = ask(door.server, door.key())
    path = f"/receipts/{answer.decision}"
    own = door.server.get(path, door.key())
    assert b"salt" in own.body
    proof_of(door.server, door.key(), answer.decision)
    for group in ("operators", "auditors"):
        for shown in (door.server.get(path, door.key(group)), door.server.get(f"{path}.tlog-proof", door.key(group))):
            assert shown.status == 200
            assert b"salt" not in shown.body
            assert b"c2FsdA" not in shown.body  # nor in what is base64 there
    unknown = answer.decision[:-4] + "0000"
    others = [door.server.get(path, door.key(group)) for group in ("students", "nobodies")]
    others += [door.server.get(f"{path}.tlog-proof", door.key("students"))]
    nothing = [door.server.get(f"/receipts/{each}", door.key()) for each in (unknown, "", "x", f"{unknown}.tlog-proof")]
    for refused in (*others, *nothing):
        assert refused.status == 404
        error = refused.json["error"]
        assert (error["code"], error["message"]) == ("decision_not_found", others[0].json["error"]["message"])
    assert door.server.get(path).status == 401
    story = door.server.story(others[0].decision)
    assert story.outcome is not None
    assert (story.decision.action, story.outcome.http_status) == ("read_receipt", 404)
    assert (story.outcome.status, story.outcome.reason) == ("refused", "decision_not_found")


def test_every_dialect_and_embeddings_have_receipts(door: Door) -> None:
    bodies = {
        "/v1/responses": {"model": "open", "input": "Is it true?"},
        "/v1/messages": {"model": "open", "max_tokens": 9, "messages": [{"role": "user", "content": "Is it true?"}]},
        "/v1beta/models/open:generateContent": {"contents": [{"role": "user", "parts": [{"text": "Is it true?"}]}]},
        "/v1/embeddings": {"model": "vectors", "input": "Is it true?"},
    }
    for path, body in bodies.items():
        data = json.dumps(body).encode()
        answer = door.server.ask("POST", path, key=door.key(), body=data, headers=YES)
        assert answer.status == 200, answer.text
        file, _ = handed(answer)
        outsider.prove_said(file.text, prompt=data, answer=answer.body)


@pytest.fixture(scope="module")
def always(tmp_path_factory: pytest.TempPathFactory, vendor: Upstream, hostile: Upstream) -> Iterator[Server]:
    """A door that gives every answer its receipt, and whose priced model costs too much for anybody."""
    settings = (
        NO_ENGINE
        + MODELS.format(url=vendor.url)
        + models(hostile, "no-end", "error-event", "html")
        + '[ledger]\nreceipts = "always"\npromise_seconds = 5\n'
        + '[[limits]]\nmodel = "priced"\nper = "all"\n'
        + 'money = { amount = "0.00000001", currency = "EUR", per = "total" }\n'
    )
    with Server(tmp_path_factory.mktemp("always") / "home", settings) as server:
        yield server.start()


def test_receipts_come_unasked_where_the_settings_say_so(always: Server) -> None:
    before = time.time()
    answer = always.chat("open", always.key)
    _, receipt = handed(answer)
    promised = datetime.fromisoformat(receipt.include_by).timestamp()
    assert before + 4 < promised <= time.time() + 5.1


@pytest.mark.parametrize("model", ["no-end", "error-event", "open"])
def test_a_receipt_covers_every_byte_of_a_stream_however_it_ends(always: Server, model: str) -> None:
    answer = ask(always, always.key, model, stream=True)
    later = always.get(f"/receipts/{answer.decision}", always.key)
    outsider.prove_said(later.text, answer=answer.body)
    _, receipt = opened(later.text)
    assert receipt.answer is not None
    assert receipt.answer.complete == (model == "open")
    outsider.verify_portable(proof_of(always, always.key, answer.decision), vkey(always), receipt=later.text)


def test_what_a_limit_refuses_at_the_last_moment_has_one_receipt_and_one_key(always: Server) -> None:
    answer = ask(always, always.key, "priced", max_tokens=100)
    assert answer.status == 429
    file, _ = handed(answer)
    outsider.prove_said(file.text, prompt=sent("priced", max_tokens=100))
    outsider.verify_portable(proof_of(always, always.key, answer.decision), vkey(always), receipt=file.text)
    assert always.story(answer.decision, content=True).content[0].matches
    verify(always)


def test_a_key_of_the_log_that_was_trusted_once_is_enough(make_server: MakeServer, vendor: Upstream) -> None:
    """The receipt was signed before the log's key was rotated, its proof after, and the holder knows the old key."""
    server = make_server(NO_ENGINE + MODELS.format(url=vendor.url)).start()
    old = vkey(server)
    answer = ask(server, server.key)
    file, _ = handed(answer)
    server.stop()
    assert server.run("ledger", "rotate-key").returncode == 0
    server.start()
    server.logged(ask(server, server.key).decision)  # what is signed from here on is signed by the new one
    assert vkey(server) != old
    proof = parse_portable(proof_of(server, server.key, answer.decision))
    found = check_receipt(file, [parse_vkey(old)], prompt=sent("open"), answer=answer.body, proof=proof)
    assert found.ok, found.steps
    assert any("is endorsed by the one before it" in step.what for step in found.steps)
    unendorsed = msgspec.structs.replace(proof, signers=())
    assert not check_receipt(file, [parse_vkey(old)], proof=unendorsed).ok


def test_a_receipt_outlives_what_was_kept(always: Server) -> None:
    answer = ask(always, always.key)
    always.logged(answer.decision)
    with always.stores() as stores:
        eraser = Eraser(stores.database, instance="terminal", by=stores.keys.pseudonym(TERMINAL))
        assert [step.erased.contents for step in eraser.decisions([DecisionId(answer.decision)])] == [2]
    file, receipt = handed(answer)
    outsider.prove_said(file.text, prompt=sent("open"), answer=answer.body)
    later = always.get(f"/receipts/{answer.decision}", always.key)
    assert b"salt" not in later.body  # erased with the content
    _, again = opened(later.text)
    assert (again.prompt, again.answer) == (receipt.prompt, receipt.answer)
    proof = proof_of(always, always.key, answer.decision)
    outsider.verify_portable(proof, vkey(always), receipt=file.text)
