"""The log's key: on record from the beginning, rotated on the terminal, wherever it is kept."""

import json
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import update
from tests.ledger import outsider
from tests.support.doors import MakeServer
from tests.support.server import NO_ENGINE, Server
from typer.testing import CliRunner

from transom.app import signer
from transom.app.build import Stores
from transom.cli import config
from transom.errors import ConfigErrors, LedgerError
from transom.ledger.acts import SignerEntry
from transom.ledger.keys import load_or_create
from transom.ledger.note import Signer
from transom.ledger.sequence import Sequencer
from transom.ledger.verify import verify_all, verify_log, wait_published
from transom.storage import tables

ORIGIN = "transom.local/ledger"


def signers(server: Server) -> list[SignerEntry]:
    return [entry for entry in server.entries("signer/1") if isinstance(entry, SignerEntry)]


def sequence(stores: Stores) -> list[bytes]:
    """Sequence what is durable; give the log as a stranger verifies it with the key that is in force."""
    sequencer = Sequencer(stores.database, stores.objects, stores.keys, instance="one")
    sequencer.run_once()
    sequencer.release()
    return outsider.verify_log(lambda path: stores.objects.get(f"ledger/{path}"), stores.keys.vkey)


def vkey(server: Server) -> str:
    with server.stores() as stores:
        return stores.keys.vkey


def test_a_door_says_which_key_signs_and_rotates_it(make_server: MakeServer) -> None:
    server = make_server(NO_ENGINE)
    server.start()
    (begun,) = signers(server)
    first = vkey(server)
    assert (begun.event, begun.vkey, begun.endorsement) == ("begun", first, None)
    assert server.entries()[0] == begun
    refused = server.run("ledger", "rotate-key")
    assert (refused.returncode, "Another Transom serves" in refused.stderr) == (1, True)
    server.stop()
    rotated = server.run("ledger", "rotate-key")
    assert rotated.returncode == 0, rotated.stderr
    second = vkey(server)
    assert second in rotated.stdout
    assert second != first
    server.start()
    assert [(each.event, each.vkey) for each in signers(server)] == [("begun", first), ("rotated", second)]
    server.logged(server.get("/v1/models", server.key).decision)
    with server.stores() as stores:
        assert outsider.verify_log(lambda path: stores.objects.get(f"ledger/{path}"), second)
        assert verify_log(stores.objects, first).ok
        wait_published(stores.database, stores.objects, 5)
        assert verify_all(stores.database, stores.objects, stores.keys).problems == []
    private = [path for path in (server.home.data / "keys").iterdir() if "PRIVATE" in path.read_text()]
    assert [path.name for path in private] == ["ledger.key"]


class Crashed(Exception):
    """Stands for kill -9."""


@pytest.mark.parametrize("step", ["next_signer", "retire", "record_signer", "take_up_next"])
@pytest.mark.parametrize("done", [True, False])
def test_a_rotation_that_is_cut_off_is_finished_or_begun_again(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch, step: str, *, done: bool
) -> None:
    server = make_server(NO_ENGINE)
    with server.stores() as stores:
        signer.settle(stores)
        before = len(sequence(stores))
        whole: Callable[..., object] = getattr(signer, step)

        def dying(*arguments: object, **named: object) -> object:
            if done:
                whole(*arguments, **named)
            raise Crashed

        monkeypatch.setattr(signer, step, dying)
        with pytest.raises(Crashed):
            signer.rotate(stores, None)
        monkeypatch.undo()
    with server.stores() as again:
        old = again.keys.vkey
        settled = signer.settle(again)
        # Where the entry was written, the new key signs; else the old one does, as if nothing had been.
        assert (settled.keys.vkey != stores.keys.vkey) == (len(signers(server)) == 2)
        assert signers(server)[-1].vkey == settled.keys.vkey
        assert len(sequence(settled)) == before + len(signers(server)) - 1
        assert signer.settle(settled) is settled
    with server.stores() as last:
        assert last.keys.vkey == settled.keys.vkey
        new = signer.rotate(last, None)
        assert new not in (old, last.keys.vkey)
    with server.stores() as once_more:
        assert once_more.keys.vkey == new
        assert len(sequence(once_more)) == before + len(signers(server)) - 1


def test_a_key_that_the_log_does_not_name_signs_nothing(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(NO_ENGINE)
    with server.stores() as stores:
        signer.settle(stores)
        sequence(stores)
    other = load_or_create(tmp_path / "other")
    (server.home.data / "keys" / "ledger.key").write_text(other.signer.private_text)
    with server.stores() as stores, pytest.raises(LedgerError, match=r"but the key in hand is transom\.local"):
        signer.settle(stores)
    assert "the key in hand" in server.run("up").stderr


def test_a_log_under_another_origin_begins_again(make_server: MakeServer) -> None:
    server = make_server(NO_ENGINE)
    with server.stores() as stores:
        signer.settle(stores)
    (server.home.data / "keys" / "ledger.key").unlink()
    server.home.settings.write_text(NO_ENGINE + '[ledger]\norigin = "ledger.example/again"\n')
    with server.stores() as stores:
        assert signer.settle(stores) is stores
    assert [each.event for each in signers(server)] == ["begun", "begun"]
    assert signers(server)[-1].vkey.startswith("ledger.example/again+")


def test_keys_kept_elsewhere_are_read_by_reference_and_rotated_there(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = Signer(ORIGIN, secrets.token_bytes(32))
    vault, secret = tmp_path / "vault", tmp_path / "pseudonym"
    vault.write_text(first.private_text)
    secret.write_text("QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=")
    monkeypatch.setenv("TEST_MASTER", "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=")
    command = [sys.executable, "-c", f"print(open({str(vault)!r}).read())"]
    server = make_server(
        f"""{NO_ENGINE}[ledger]
key = {{ command = {json.dumps(command)} }}
master_key = {{ env = "TEST_MASTER" }}
pseudonym_key = {{ file = "{secret}" }}
"""
    )
    with server.stores() as stores:
        assert (stores.keys.vkey, stores.keys.master_key) == (first.verifier.vkey, b"B" * 32)
        signer.settle(stores)
        sequence(stores)
        assert not [path.name for path in (server.home.data / "keys").iterdir()]
        with pytest.raises(LedgerError, match="say with --new-key"):
            signer.rotate(stores, None)
        new = signer.rotate(stores, tmp_path / "new")
    with server.stores() as stores, pytest.raises(LedgerError, match="Put the key that belongs"):
        signer.settle(stores)  # the vault has the old one still
    vault.write_text((tmp_path / "new").read_text())
    with server.stores() as stores:
        assert signer.settle(stores).keys.vkey == new
        assert [each.vkey for each in stores.keys.verifiers] == [new, first.verifier.vkey]
        assert len(sequence(stores)) == 2
        with pytest.raises(LedgerError, match="has signed this log already"):
            signer.rotate(stores, tmp_path / "new")
    vault.write_text(Signer("log.example/other", bytes(32)).private_text)
    with pytest.raises(LedgerError, match=r"the key of the log 'log\.example/other'"), server.stores():
        pass
    monkeypatch.setenv("TRANSOM_HOME", str(server.home.path))
    assert CliRunner().invoke(config.app, ["check"]).exit_code == 0
    monkeypatch.delenv("TEST_MASTER")
    assert "TEST_MASTER is not set" in str(CliRunner().invoke(config.app, ["check"]).exception)
    with pytest.raises(ConfigErrors, match="TEST_MASTER is not set"), server.stores():
        pass


def test_a_rotation_waits_for_processes_elsewhere(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(NO_ENGINE)
    with server.stores() as stores:
        with pytest.raises(LedgerError, match="leave --new-key out"):
            signer.rotate(stores, tmp_path / "new")
        with stores.database.begin() as connection:
            row = {"id": "elsewhere/boot/pid/1/2", "seen": 2**60, "settled": 0}
            connection.execute(tables.instance.insert(), [row])
        with pytest.raises(LedgerError, match="1 processes serve this database"):
            signer.rotate(stores, None)
        with stores.database.begin() as connection:
            connection.execute(update(tables.instance).values(seen=0))
        assert signer.rotate(stores, None)
