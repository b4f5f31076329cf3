from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.engine.log import EngineLog


@given(pieces=st.lists(st.binary(max_size=60), max_size=40))
def test_it_keeps_the_latest_words_within_its_bound(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("log")
    path = folder / "engine.log"
    log = EngineLog(path, limit=100)
    for piece in pieces:
        log.write(piece)
    older = path.with_name("engine.log.1")
    kept = (older.read_bytes() if older.exists() else b"") + (path.read_bytes() if path.exists() else b"")
    assert b"".join(pieces).endswith(kept)
    assert len(kept) <= 200
    assert len(kept) >= min(40, len(b"".join(pieces)))


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    EngineLog(tmp_path / "engine.log").write(b"words\n")
    assert (tmp_path / "engine.log").stat().st_mode & 0o777 == 0o600


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    log = EngineLog(tmp_path / "no such folder" / "engine.log")
    log.write(b"still heard\n")
    assert log.last_words() == "still heard"


def test_the_last_words_are_the_last_error() -> None:
    log = EngineLog(Path("/dev/null/none"))
    log.write(b"0.1 I srv: hello\n0.2 E srv: no model\n0.3 I srv: cleaning up\n")
    assert log.last_words() == "0.2 E srv: no model"
    log.forget()
    assert log.last_words() == ""
