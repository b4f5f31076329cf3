"""The stand-in upstream: nginx for plain chats at full speed, a paced program for waits and streams.

    python -m bench.standin --port 9000

serves plain chats on port 9000, and on port 9001 waits (`/wait/50/v1/…` waits 50 ms) and streams.
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

import msgspec

from bench import nginx
from bench.paced import Pace, serve
from bench.processes import Process, start

HERE = Path(__file__).resolve().parent.parent


class Standin(msgspec.Struct):
    """Both halves of the stand-in, running."""

    plain: Process
    paced: Process

    def stop(self) -> None:
        """End both."""
        self.plain.stop()
        self.paced.stop()


def start_standin(*, plain: int, paced: int, pace: Pace, folder: Path, core: int | None) -> Standin:
    """Start both halves on one core."""
    first = nginx.start_standin(plain, folder, core=core)
    command = [sys.executable, "-m", "bench.standin", "--paced-only", "--paced-port", str(paced)]
    command += ["--chunks", str(pace.chunks), "--interval-ms", str(pace.interval * 1000)]
    log = folder / "paced.log"
    return Standin(first, start(command, port=paced, log=log, core=core, folder=HERE))


def main() -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m bench.standin", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--port", type=int, default=9000, help="plain chats, answered by nginx")
    parser.add_argument("--paced-port", type=int, help="waits and streams; by default the port after the first")
    parser.add_argument("--paced-only", action="store_true", help="serve waits and streams only, in this process")
    parser.add_argument("--chunks", type=int, default=200, help="stamped chunks of one stream")
    parser.add_argument("--interval-ms", type=float, default=10.0, help="time between two chunks")
    parser.add_argument("--core", type=int, help="the core to run on")
    options = parser.parse_args()
    paced_port = options.paced_port or options.port + 1
    pace = Pace(chunks=options.chunks, interval=options.interval_ms / 1000)
    if options.paced_only:
        serve(paced_port, pace)
        return 0
    with tempfile.TemporaryDirectory(prefix="transom-bench-") as name:
        standin = start_standin(plain=options.port, paced=paced_port, pace=pace, folder=Path(name), core=options.core)
        print(f"plain   http://127.0.0.1:{options.port}/v1")
        print(f"paced   http://127.0.0.1:{paced_port}/v1   (streams; /wait/50/v1 answers after 50 ms)", flush=True)
        try:
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
        finally:
            standin.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
