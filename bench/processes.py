"""Processes of a run: started on a given core, measured from /proc, paused, and ended by their ids."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec


class Memory(msgspec.Struct):
    """Bytes over a whole process tree. PSS shares pages between those who map them, RSS counts them for each."""

    pss: int
    rss: int
    processes: int


class NotUpError(Exception):
    """A process did not begin to listen."""


class Process:
    """A process that was started here, and all its descendants."""

    def __init__(self, child: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self._child = child
        self.port = port
        self.log = log

    def tree(self) -> list[int]:
        """The ids of the process and all its descendants, as they are now."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    parent = int((entry / "stat").read_text().rpartition(") ")[2].split()[1])
                    children.setdefault(parent, []).append(int(entry.name))
        found = [self._child.pid]
        for pid in found:
            found.extend(children.get(pid, []))
        return found

    def cpu_seconds(self) -> float:
        """Processor time of the tree, user and system, to the nanosecond where the kernel keeps it so.

        Reads each process's CPU-time clock (clock_getcpuclockid(3)): ended threads are in it, ended children are not.
        """
        total = 0.0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                total += time.clock_gettime((~pid << 3) | 2)
        return total

    def memory(self) -> Memory:
        """Memory of the tree now."""
        pss = rss = count = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}
                pss += sizes["Pss"] * 1024
                rss += sizes["Rss"] * 1024
                count += 1
        return Memory(pss=pss, rss=rss, processes=count)

    def pause(self) -> None:
        """Stop the tree's clocks: it takes no processor until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the tree go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the tree: politely, then not. Only ids below the process started here are touched."""
        tree = self.tree()
        self.resume()
        self._child.terminate()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        for pid in tree[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._child.poll() is None

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.tree():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(
    command: Sequence[str],
    *,
    port: int,
    log: Path,
    core: int | None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    patience: float = 120.0,
) -> Process:
    """Start a server on one core and wait until it listens on `port` of 127.0.0.1.

    Raises `NotUpError` with the end of its log where it ends or does not listen within `patience` seconds.
    """
    pinned = ["taskset", "-c", str(core)] if core is not None else []
    # Whatever ends the harness, even SIGKILL, ends what it started.
    pinned += ["setpriv", "--pdeathsig", "KILL", *command]
    with log.open("wb") as output:
        child = subprocess.Popen(
            pinned, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=folder
        )
    process = Process(child, port, log)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and process.alive():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return process
        time.sleep(0.02)
    process.stop()
    raise NotUpError(f"{command[0]} did not listen on port {port}: {log.read_text(errors='replace')[-2000:]}")
