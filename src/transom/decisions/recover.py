"""What a dead process left open, found and closed by the next one; and this process's own sign of life.

Normal ends go through the same door: a process that stops buries itself by the same function.
"""

import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection

from transom.decisions import store
from transom.ledger.entry import OutcomeEntry, encode, new_id, timestamp
from transom.ledger.store import release_lease
from transom.metering.store import open_books, write_books
from transom.storage.engine import Database

_SILENCE_MS = 60_000
"""An instance whose process cannot be looked for from here is dead once it was not seen for so long."""


def instance_name() -> str:
    """Name this process so that no other, now or later, has the name.

    Host, process id and start time; where the system tells them, also which boot this is and in which namespace the
    process id counts: `HOST/PID/START[/BOOT/NAMESPACE]`.
    """
    host, *rest = _place()
    try:
        started = _started(os.getpid())
    except OSError:
        started = None
    return "/".join([host, str(os.getpid()), started or str(time.time_ns()), *rest])


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
    """Close an instance's open decisions, charge what they held, and take it off the list. Idempotent.

    All in the transaction of `connection`: a crash leaves all of it to the next start, or nothing.
    """
    if not store.bury(connection, name):
        return 0
    store.await_inserts(connection)
    now = time.time_ns() // 1_000_000
    unclosed = store.unclosed(connection, name, settled)
    rows = [
        store.EntryRow(
            decision,
            "outcome/1",
            name,
            encode(OutcomeEntry(id=new_id(now), at=timestamp(now), decision=decision, status="interrupted")),
        )
        for decision in unclosed
    ]
    store.insert_entries(connection, rows)
    # Nobody knows any more what they used up: it is taken to be all that they held.
    books = open_books(connection, (), unclosed)
    for decision in unclosed:
        books.settle(decision)
    write_books(connection, books, now)
    return len(rows)


def _dead(row: store.InstanceRow) -> bool:
    """Look for an instance's process where this one can see it; go by its silence anywhere else.

    Containers may share a host's name and not see each other's processes. Names of an earlier version do not say.
    """
    host, *process, boot, namespace = row.id.split("/") if row.id.count("/") == 4 else ("", "", "")
    here = _place()
    if len(here) > 1 and here == [host, boot, namespace]:
        pid, started = process
        # A process that could not be looked for, for want of a file descriptor say, is not one that is gone.
        with suppress(OSError):
            return _started(int(pid)) != started
    return row.seen < time.time_ns() // 1_000_000 - _SILENCE_MS


def _place() -> list[str]:
    """Say where process ids mean what they mean here: host, boot (random(4)) and namespace (pid_namespaces(7)).

    Only the host where the system does not tell, or where its /proc is that of another namespace.
    """
    host = socket.gethostname()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = str(Path("/proc/self/ns/pid").readlink())
        seen_as = str(Path("/proc/self").readlink())
    except OSError:
        return [host]
    return [host, boot, namespace] if seen_as == str(os.getpid()) else [host]


def _started(pid: int) -> str | None:
    """Return a process's start time in clock ticks since boot (proc(5), field 22), or `None` if there is none.

    Raises `OSError` where that cannot be told.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]
