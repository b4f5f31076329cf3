"""A bit flips in the stores of a door that runs: it is mended without a hand, on record, and nobody is refused."""

import time
from collections.abc import Callable
from pathlib import Path

from tests.ledger import outsider
from tests.support.doors import MakeServer
from tests.support.server import NO_ENGINE, Server

from transom.ledger import store
from transom.ledger.acts import RepairEntry
from transom.ledger.checkpoint import parse_checkpoint
from transom.ledger.note import split_note


def until(condition: Callable[[], bool], server: Server) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, server.log
        time.sleep(0.05)


def repairs(server: Server) -> list[tuple[str, str]]:
    return [(entry.what, entry.name) for entry in server.entries("repair/1") if isinstance(entry, RepairEntry)]


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x10
    file.write_bytes(data)


def sound(server: Server) -> bool:
    """The log is whole, for a stranger."""
    folder = server.home.data / "objects" / "ledger"
    with server.stores() as stores:
        try:
            outsider.verify_log(
                lambda path: (folder / path).read_bytes() if (folder / path).exists() else None, stores.keys.vkey
            )
        except outsider.Rejected:
            return False
    return True


def settled(server: Server) -> int:
    """Wait until everything that is durable is in the log; give its size."""
    with server.stores() as stores, stores.database.begin(write=False) as connection:
        rows = connection.exec_driver_sql("SELECT count(*) FROM entry").scalar_one()
    note = server.home.data / "objects" / "ledger" / "checkpoint"
    until(lambda: parse_checkpoint(split_note(note.read_bytes())[0]).size >= rows, server)
    return int(rows)


def test_a_flipped_bit_in_a_tile_a_row_and_a_bundle_is_mended(make_server: MakeServer) -> None:
    server = make_server(NO_ENGINE)
    server.start()
    for number in range(3):
        server.issue(f"caller {number}")
    tiles = server.home.data / "objects" / "ledger" / "tile"

    for kind in ("0", "entries"):
        size, known = settled(server), len(repairs(server))
        flip(tiles / kind / f"000.p/{size}")
        until(lambda known=known: len(repairs(server)) > known, server)  # type: ignore[misc] # bound here
        assert repairs(server)[-1] == ("tile", f"ledger/tile/{kind}/000.p/{size}")
        assert sound(server)

    settled(server)
    with server.stores() as stores, stores.database.begin() as connection:
        row = store.rows_at(connection, 1, 1000, 1)[0]
        store.mend_row(connection, row.id, row.body.replace(b"sha256:", b"sha257:", 1))
    until(lambda: repairs(server)[-1:] == [("row", "entry 1")], server)
    settled(server)
    assert sound(server)
    assert server.run("ledger", "verify").returncode == 0
    assert server.problems() == {}
