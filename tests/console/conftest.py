"""One door and one browser for all tests that change nothing of them."""

from collections.abc import Iterator

import pytest
from tests.console.browser import CHROMIUM, DRIVER, Browser, browser
from tests.console.door import Door, open_door
from tests.support.upstream import Upstream


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Door]:
    with open_door(tmp_path_factory.mktemp("console") / "home", upstream) as opened:
        yield opened


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no Chromium with chromedriver on this machine (Debian: apt-get install chromium chromium-driver)")
    with browser() as session:
        yield session
