"""The real embedded model, for every test that wants to talk to it (`@pytest.mark.model`)."""

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from transom.engine.settings import EngineSettings
from transom.engine.supervisor import Engine
from transom.engine.weights import ensure_weights

T = TypeVar("T")
READY_SECONDS = 120


class Loop:
    """An event loop in a thread of its own, for tests that are not coroutines."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="test-loop")
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], seconds: float = READY_SECONDS) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """The weights, fetched once per machine: TRANSOM_TEST_WEIGHTS, or ~/.cache/transom-test."""
    cache = Path(os.environ.get("TRANSOM_TEST_WEIGHTS") or Path.home() / ".cache" / "transom-test")
    return ensure_weights(cache, lambda *_: None)


@pytest.fixture(scope="session")
def engine(real_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A ready engine: use its `base_url` and `api_key`; leave it running."""
    loop = Loop()
    running = Engine(tmp_path_factory.mktemp("engine"), real_weights, EngineSettings(embeddings=True))
    try:
        loop.run(running.start())
        loop.run(running.wait_ready(READY_SECONDS))
        yield running
    finally:
        loop.run(running.stop())
        loop.close()
