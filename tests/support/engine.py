"""The real embedded model, for every test that wants to talk to it (`@pytest.mark.model`)."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.loop import Loop

from transom.engine.settings import EngineSettings
from transom.engine.supervisor import Engine
from transom.engine.weights import ensure_weights

READY_SECONDS = 120


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """The weights, fetched once per machine: TRANSOM_TEST_WEIGHTS, or ~/.cache/transom-test."""
    cache = Path(os.environ.get("TRANSOM_TEST_WEIGHTS") or Path.home() / ".cache" / "transom-test")
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "fetching.lock").open("a") as lock:  # tests run in several processes at a time
        fcntl.flock(lock, fcntl.LOCK_EX)
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
