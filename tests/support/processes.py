"""What the kernel tells of processes."""

import contextlib
import os
from pathlib import Path


def children(pid: int) -> list[int]:
    """The processes that a process has started and that live."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in task.read_text().split()]
    return found


def alive(pid: int) -> bool:
    """Say whether a process runs, or a thread of it does that a signal found in a system call; a zombie does not."""
    with contextlib.suppress(OSError):
        zombie = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return not zombie or len([*Path(f"/proc/{pid}/task").iterdir()]) > 1
    return False


def resident(pid: int) -> int:
    """Resident memory of a process in bytes, 0 where there is none."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def descriptors(pid: int) -> int:
    """How many descriptors a process holds."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
