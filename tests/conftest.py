"""Everything that tests share is in `tests/support/`, one thing a module.

`server`: a home and the real server on it, and how to ask it. `doors`: such servers with models, callers and keys, as
fixtures. `upstream`: the vendor behind it, scripted; `faulty`: what vendors do wrong; `formats`: the APIs it speaks.
`peer`: a server below HTTP. `wire`: a client below HTTP. `record`: what the log and the tables say afterwards.
`postgres`, `redis`, `engine`: the real ones. `webhook`: what alerts are told to. `witness`: who cosigns. `loop`,
`processes`: small tools.
"""

import pytest

pytest_plugins = [
    "tests.support.postgres",
    "tests.support.redis",
    "tests.support.webhook",
    "tests.support.witness",
    "tests.support.engine",
    "tests.support.doors",
]

SLOWEST = ("tests/crash/", "tests/cli/", "tests/faults/")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: files are handed to processes in order, and the last one must not be long."""
    items.sort(key=lambda item: not item.nodeid.startswith(SLOWEST))
