"""A door whose log other people's witnesses cosign."""

import time
from pathlib import Path

import pytest
from tests.ledger import outsider
from tests.support.doors import MakeServer
from tests.support.server import NO_ENGINE, Server
from tests.support.witness import TIME, Witness

from transom.app.declared import read_settings
from transom.app.home import Home, prepare
from transom.errors import ConfigErrors
from transom.ledger.cosign import Cosigner

HOLD = '[ledger]\nquorum = 1\nunwitnessed = "hold"\nwitness_seconds = 1.5\n'
W1 = Cosigner("w1", bytes(32)).verifier.vkey


def log_of(server: Server) -> list[bytes]:
    """Every published entry, as a stranger verifies it."""
    with server.stores() as stores:
        return outsider.verify_log(lambda path: stores.objects.get(f"ledger/{path}"), stores.keys.vkey)


def published(server: Server) -> tuple[bytes, int]:
    answer = server.get("/ledger/checkpoint")
    return (answer.body, int(answer.text.split("\n")[1])) if answer.status == 200 else (b"", -1)


def wait_until_size(server: Server, size: int) -> bytes:
    """Wait until a checkpoint of so many entries or more is published."""
    until = time.monotonic() + 20
    while True:
        note, reached = published(server)
        if reached >= size:
            return note
        assert time.monotonic() < until, f"the log stands at {reached}:\n{server.log}"
        time.sleep(0.05)


def test_a_log_is_cosigned_and_waits_for_its_witness(make_server: MakeServer, witness: Witness) -> None:
    server = make_server(NO_ENGINE + HOLD + witness.settings)
    server.start()
    for number in range(3):
        server.issue(f"caller {number}")
        with server.stores() as stores, stores.database.begin(write=False) as connection:
            rows = connection.exec_driver_sql("SELECT count(*) FROM entry").scalar_one()
        note = wait_until_size(server, rows)
        assert outsider.verify_cosignature(note, witness.vkey) == TIME
    entries = log_of(server)
    leaves = [outsider.leaf_hash(entry) for entry in entries]
    asked = [each for each in witness.asked if each.size <= len(leaves)]
    assert any(0 < each.old < each.size for each in asked)
    for each in asked:
        assert each.proof == ([] if each.old == 0 else outsider.proof(each.old, leaves[: each.size]))

    # It goes away: nothing new is shown, requests are answered all the same, and readiness says why.
    witness.answer = (503, b"")
    size = published(server)[1]
    server.issue("meanwhile")
    until = time.monotonic() + 20
    while server.problems() != {"ledger": "the log waits for its witnesses"}:
        assert time.monotonic() < until, server.log
        time.sleep(0.05)
    assert published(server)[1] == size
    assert server.get("/v1/models", server.key).status == 200
    assert "The log's checkpoint" in server.log
    assert f"the witness {witness.name} does not cosign" in server.log

    # A restart, while it knows another size than the new process thinks: it is asked from the size that it says.
    server.stop()
    witness.answer = None
    server.start()
    assert outsider.verify_cosignature(wait_until_size(server, size + 1), witness.vkey) == TIME
    assert server.problems() == {}


def test_an_answer_that_the_witness_did_not_sign_counts_for_nothing(make_server: MakeServer, witness: Witness) -> None:
    server = make_server(NO_ENGINE + witness.settings)
    with Witness(witness.name) as impostor:
        witness.answer = impostor.take(b"old 0\n\nother.example/log\n1\nx\n\n")
        server.start()
        server.issue("somebody")
        note = wait_until_size(server, 1)
        assert outsider.verify_cosignature(note, witness.vkey) is None
        assert f"the witness {witness.name} does not cosign" in server.log
    # A size beyond what the log has: its key has signed another log, or its database is an old one.
    witness.answer = (409, b"999999\n")
    server.issue("somebody else")
    until = time.monotonic() + 20
    while "It has cosigned this log at size 999999" not in server.log:
        assert time.monotonic() < until, server.log
        time.sleep(0.05)
    assert published(server)[1] < 999_999


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ('[[ledger.witnesses]]\nurl = "https://w"\nvkey = "nonsense"', "no Ed25519 verifier key of a witness"),
        (f'[[ledger.witnesses]]\nurl = "ftp://w"\nvkey = "{W1}"', "A witness's URL"),
        ("[ledger]\nquorum = 1", "it can never be met"),
        ('[ledger]\nunwitnessed = "hold"', "needs a quorum of at least 1"),
        (f'[[ledger.witnesses]]\nurl = "https://w"\nvkey = "{W1}"\n' * 2, "two witnesses have the same name"),
    ],
)
def test_what_can_never_be_met_is_refused(tmp_path: Path, settings: str, says: str) -> None:
    home = Home(tmp_path)
    prepare(home)
    home.settings.write_text(settings)
    with pytest.raises(ConfigErrors, match=says):
        read_settings(home)
