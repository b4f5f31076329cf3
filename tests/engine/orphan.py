"""A parent for `test_child.py` to kill: starts the real engine, prints the child's pid, and never stops it."""

import asyncio
import sys
from pathlib import Path

from transom.engine.settings import EngineSettings
from transom.engine.supervisor import Engine


async def main(home: str, weights: str) -> None:
    engine = Engine(Path(home), Path(weights), EngineSettings())
    await engine.start()
    await engine.wait_ready(120)
    print(engine.pid, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
