"""Two histories of one log under one key: a witness cosigns one of them only, and a monitor keeps both notes."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.ledger import outsider
from tests.support.server import NO_ENGINE, Server

from transom.ledger.acts import AccessEntry
from transom.ledger.keys import load_or_create_witness
from transom.ledger.witness import log_id

pytestmark = pytest.mark.slow


class Split(NamedTuple):
    """`log`, and `other`, which went on from a copy of it under the same key; `witness` witnesses; their keys."""

    log: Server
    other: Server
    witness: Server
    vkey: str
    witness_vkey: str
    before: bytes
    """The last checkpoint before they part."""


def note_of(server: Server) -> bytes:
    return (server.home.data / "objects" / "ledger" / "checkpoint").read_bytes()


def size_of(note: bytes) -> int:
    return int(note.split(b"\n")[1])


def grow(server: Server, name: str) -> bytes:
    """Have something recorded, and wait until the log holds it."""
    server.issue(name)
    with server.stores() as stores, stores.database.begin(write=False) as connection:
        rows = connection.exec_driver_sql("SELECT count(*) FROM entry").scalar_one()
    until = time.monotonic() + 20
    while size_of(note := note_of(server)) < rows:
        assert time.monotonic() < until, server.log
        time.sleep(0.05)
    return note


def a_witness_of(folder: Path, vkey: str) -> tuple[Server, str]:
    server = Server(folder, f'{NO_ENGINE}[witness]\nname = "witness.example/door"\nlogs = ["{vkey}"]\n')
    with server.stores() as stores:
        key = load_or_create_witness(stores.home.data / "keys", "witness.example/door")
    return server.start(), key.verifier.vkey


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Split]:
    folder = tmp_path_factory.mktemp("split")
    log = Server(folder / "log", NO_ENGINE)
    with log.stores() as stores:
        vkey = stores.keys.vkey
    witness, witness_vkey = a_witness_of(folder / "witness", vkey)
    settings = f"""[ledger]
witness_seconds = 1.5
[[ledger.witnesses]]
url = "{witness.url}/witness"
vkey = "{witness_vkey}"
"""
    log.home.settings.write_text(NO_ENGINE + settings)
    log.start()
    before = grow(log, "common to both")
    log.stop()
    shutil.copytree(folder / "log", folder / "other")
    other = Server(folder / "other", NO_ENGINE + settings)
    try:
        yield Split(log, other, witness, vkey, witness_vkey, before)
    finally:
        for server in (log, other, witness):
            server.stop()


@pytest.fixture(scope="module")
def parted(split: Split) -> tuple[bytes, bytes]:
    """The checkpoints of the two, once each has gone its own way."""
    split.log.start()
    grow(split.log, "in the one")
    honest = grow(split.log, "in the one again")
    split.other.start()
    grow(split.other, "in the other")
    return honest, grow(split.other, "in the other again")


def test_a_door_cosigns_for_another(split: Split) -> None:
    time_of = outsider.verify_cosignature(split.before, split.witness_vkey)
    assert time_of is not None
    assert abs(time_of - time.time()) < 120
    assert split.witness.run("ledger", "vkey", "--witness").stdout.strip() == split.witness_vkey


def test_a_witness_cosigns_one_history_of_a_log(split: Split, parted: tuple[bytes, bytes]) -> None:
    honest, diverged = parted
    assert outsider.verify_cosignature(honest, split.witness_vkey) is not None
    # Signed by the log's own key, and no stranger can tell by that alone; but the witness has seen the other.
    assert outsider.verify_note(diverged, split.vkey)
    assert outsider.verify_cosignature(diverged, split.witness_vkey) is None
    until = time.monotonic() + 20
    while "a second history" not in split.other.log:
        assert time.monotonic() < until, split.other.log
        time.sleep(0.05)
    assert "a second history" not in split.log.log


def test_a_monitor_that_is_shown_both_raises_an_alarm_and_keeps_both(
    split: Split, parted: tuple[bytes, bytes], tmp_path: Path
) -> None:
    assert parted
    (tmp_path / "state").write_bytes(split.before)
    common = ("--vkey", split.vkey, "--state", str(tmp_path / "state"), "--evidence", str(tmp_path), "--once")
    witnessed = ("--witness", split.witness_vkey, "--quorum", "1")
    done = split.log.run("ledger", "monitor", f"{split.log.url}/ledger", *common, *witnessed)
    assert (done.returncode, "cosigned by witness.example/door" in done.stdout) == (0, True), done.stdout + done.stderr
    kept = (tmp_path / "state").read_text()
    done = split.log.run("ledger", "monitor", f"{split.other.url}/ledger", *common)
    assert done.returncode == 2, done.stdout + done.stderr
    (file,) = tmp_path.glob("alarm-*.json")
    evidence = json.loads(file.read_text())
    assert evidence["kept"] == kept
    for note in (evidence["kept"], evidence["found"]):  # anybody who has the key sees that it signed both
        outsider.verify_note(note.encode(), split.vkey)
    assert evidence["kept"].split("\n")[2] != evidence["found"].split("\n")[2]


def test_what_was_cosigned_is_shown_and_makes_no_log_grow(split: Split, parted: tuple[bytes, bytes]) -> None:
    """Two doors that witness each other would write for ever. What came from no log that is known is counted."""
    assert parted
    shown = split.witness.get(f"/witness/{log_id('transom.local/ledger')}/checkpoint")
    assert shown.status == 200
    assert outsider.verify_cosignature(shown.body, split.witness_vkey) is not None
    outsider.verify_note(shown.body, split.vkey)
    assert split.witness.get(f"/witness/{'0' * 64}/checkpoint").status == 404
    for body in (b"garbage", b"old 0\n\n" + note_of(split.witness)):
        assert split.witness.ask("POST", "/witness/add-checkpoint", body=body).status in (400, 403)
    split.witness.stop()  # the counts are written at the end
    counted = [entry for entry in split.witness.entries("access/1") if isinstance(entry, AccessEntry)]
    assert sum(entry.anonymous.get("witness", 0) for entry in counted) == 2 + 2  # two looks at what was cosigned too
    split.witness.start()
