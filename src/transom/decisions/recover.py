"""What a dead process left open, found and closed by the next one; and this process's own sign of life.

Normal ends go through the same door: a process that stops buries itself by the same function.
"""

import os
import socket
import time
from pathlib import Path

from sqlalchemy import Connection

from transom.decisions import store
from transom.ledger.entry import OutcomeEntry, encode, new_id, timestamp
from transom.ledger.store import release_lease
from transom.storage.engine import Database

_SILENCE_MS = 60_000
"""An instance on another host that was not seen for so long is dead."""


def instance_name() -> str:
    """Name this process so that no other, now or later, has the name: host, process id and start time."""
    return f"{socket.gethostname()}/{os.getpid()}/{_started(os.getpid()) or time.time_ns()}"


def recover(database: Database) -> int:
    """Close what dead instances left open, with outcome `interrupted`. Returns how many decisions that were."""
    closed = 0
    with database.begin(write=False) as connection:
        dead = [row for row in store.instances(connection) if _dead(row)]
    for row in dead:
        with database.begin() as connection:
            closed += bury(connection, row.id, row.settled)
            # Else nobody could sequence the log until the dead one's lease runs out. One that ends politely buries
            # itself before its sequencer has done its last work, and gives up the lease after that.
            release_lease(connection, row.id)
        # A crash before this commit leaves the instance to the next start; after it, nothing is left to do.
    return closed


def bury(connection: Connection, name: str, settled: int) -> int:
    """Close an instance's open decisions and take it off the list, in one transaction. Idempotent."""
    if not store.bury(connection, name):
        return 0
    store.await_inserts(connection)
    now = time.time_ns() // 1_000_000
    rows = [
        store.EntryRow(
            decision,
            "outcome/1",
            name,
            encode(OutcomeEntry(id=new_id(now), at=timestamp(now), decision=decision, status="interrupted")),
        )
        for decision in store.unclosed(connection, name, settled)
    ]
    store.insert_entries(connection, rows)
    return len(rows)


def _dead(row: store.InstanceRow) -> bool:
    host, _, rest = row.id.partition("/")
    pid, _, started = rest.partition("/")
    if host == socket.gethostname() and Path("/proc/self/stat").exists():
        return _started(int(pid)) != started
    return row.seen < time.time_ns() // 1_000_000 - _SILENCE_MS


def _started(pid: int) -> str | None:
    """Return a process's start time in clock ticks since boot (proc(5), field 22), or `None` if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]
