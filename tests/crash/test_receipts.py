"""A receipt that has left is honoured, whatever moment the server is killed at."""

import asyncio
import base64
import contextlib
import json
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.ledger import outsider
from tests.support import wire
from tests.support.doors import models
from tests.support.record import verify
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Upstream
from tests.support.wire import Reply, chat

from transom.ledger.check import check_receipt
from transom.ledger.note import parse_vkey
from transom.ledger.portable import parse_portable
from transom.ledger.receipt import open_receipt, parse_file

pytestmark = pytest.mark.slow

ROUNDS = 2
CALLERS = 12
BODY = chat("good")


class Held(NamedTuple):
    """What a caller has in hand: a receipt and what it was given for, as far as it came."""

    decision: str
    receipt: str
    answer: bytes | None


async def ask_until_killed(server: Server, held: list[Held], enough: asyncio.Event) -> None:
    """Ask again and again on one connection, and keep every receipt."""
    data = wire.request("POST", "/v1/chat/completions", key=server.key, body=BODY, headers={"transom-receipt": "yes"})
    with contextlib.suppress(OSError):
        async with wire.connected(server.port) as (reader, writer):
            reply = Reply()
            reply.whole = True
            while reply.whole:
                writer.write(data)
                reply = await wire.read(reader, Reply())
                receipt, decision = reply.header("transom-receipt"), reply.decision
                if receipt is not None and decision is not None and b"\r\n\r\n" in reply.raw:
                    text = base64.b64decode(receipt).decode()
                    held.append(Held(decision, text, reply.body if reply.whole else None))
                if len(held) % (3 * CALLERS) == 0:
                    enough.set()


async def kill_amid(server: Server) -> list[Held]:
    """Kill the server while answers are on their way; give all receipts that had left it."""
    held: list[Held] = []
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(CALLERS):
            tasks.create_task(ask_until_killed(server, held, enough))
        await enough.wait()
        await asyncio.to_thread(server.kill)
    return held


def test_every_receipt_that_left_is_honoured(tmp_path: Path, hostile: Upstream) -> None:
    with Server(tmp_path / "home", NO_ENGINE + models(hostile, "good")) as server:
        held: list[Held] = []
        for _ in range(ROUNDS):
            server.start()
            held += asyncio.run(kill_amid(server))
        server.start()
        assert len(held) > ROUNDS * CALLERS
        with server.stores() as stores:
            vkey = stores.keys.vkey
        for each in held:
            check(server, vkey, each)
        assert server.stop() == 0
        verify(server)


def check(server: Server, vkey: str, held: Held) -> None:
    """Hold a receipt against the log: the answer may have been lost by the crash, and then the check says just that."""
    until = time.monotonic() + 10
    while (answer := server.get(f"/receipts/{held.decision}.tlog-proof", server.key)).status == 404:
        assert time.monotonic() < until, "a promise was not kept"
        time.sleep(0.05)
    proof = answer.text
    outsider.verify_proof_file(proof, outsider.extra(proof)["entry"].encode(), vkey)
    file, verifiers = parse_file(held.receipt), [parse_vkey(vkey)]
    found = check_receipt(file, verifiers, prompt=BODY, answer=held.answer, proof=parse_portable(proof))
    if json.loads(outsider.extra(proof)["outcome"]["entry"])["status"] == "interrupted":
        wrong = [step.what for step in found.steps if step.said == "wrong"]
        assert len(wrong) == 1
        assert "interrupted" in wrong[0]
        assert check_receipt(file, verifiers, prompt=BODY, answer=held.answer).ok
    else:
        assert found.ok, found.steps
    assert open_receipt(file.note, verifiers).decision == held.decision
