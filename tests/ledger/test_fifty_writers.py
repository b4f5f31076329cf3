"""Fifty writers in four processes: nothing that was promised is missing, and one lost append among them is found."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ledger import outsider
from tests.ledger.making import Home
from tests.support.server import ROOT

from transom.ledger.sequence import SequencerThread
from transom.ledger.verify import verify_all

pytestmark = pytest.mark.slow

PROCESSES = (13, 13, 12, 12)
EACH = 12


@pytest.fixture(params=["sqlite", "postgresql"])
def busy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    url = f"sqlite:///{tmp_path}/transom.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    home = Home(tmp_path, url)
    yield home
    home.close()


def promises(home: Home, *, loses: bool) -> dict[str, bytes]:
    """Let all of them write while the log is sequenced; give what each decision's caller was promised."""
    running = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.ledger.lossy",
                str(home.folder),
                home.url,
                str(writers),
                str(EACH),
                str(int(loses and not number)),
            ],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        )
        for number, writers in enumerate(PROCESSES)
    ]
    thread = SequencerThread(home.sequencer(), 0.02)
    thread.start()
    said = [process.communicate(timeout=120)[0] for process in running]
    thread.stop()
    assert [process.returncode for process in running] == [0] * len(PROCESSES)
    return {id_: bytes.fromhex(entry) for lines in said for id_, entry in map(str.split, lines.splitlines())}


def honoured(home: Home) -> set[bytes]:
    """All that a stranger finds in the log."""
    return {outsider.leaf_hash(entry) for entry in outsider.verify_log(home.fetch, home.keys.vkey)}


@pytest.mark.parametrize("loses", [False, True])
def test_what_was_promised_and_is_not_in_the_log_is_found(busy: Home, *, loses: bool) -> None:
    promised = promises(busy, loses=loses)
    assert len(promised) == sum(PROCESSES) * EACH == 600
    log = honoured(busy)
    broken = [id_ for id_, entry in promised.items() if outsider.leaf_hash(entry) not in log]
    assert len(broken) == int(loses)
    assert len(log) == 2 * (600 - loses)
    # The log itself is sound: what was never written, only those can miss who hold a promise of it.
    assert verify_all(busy.database, busy.objects, busy.keys).problems == []
