"""A budget holds whatever moment the door is killed at, and nothing that a dead process held stays held."""

import asyncio
import random
from pathlib import Path

import pytest
from tests.crash.test_kill import Clients
from tests.support.doors import models
from tests.support.money import billed, counted, holds
from tests.support.record import told, verify
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Upstream
from tests.support.wire import until

from transom.metering.money import UNIT

pytestmark = pytest.mark.slow

KILLS = 4
LIMITS = """
[[limits]]
per = "all"
money = { amount = "0.12", currency = "EUR", per = "total" }
[[limits]]
concurrent = 9
"""
PRICE = 'price = { currency = "EUR", input = "2.50", output = "10" }\nmax_output_tokens = 200\n'
"""A call may cost some 0.005 EUR, so that the budget is used up in the middle of it."""


class Poor(Clients):
    """Callers who go on when they are refused."""

    usual = frozenset((200, 429))


def check_money(door: Server, *, dead: bool) -> None:
    """No budget is passed at any moment; what is held is held by somebody, and by nobody once it was recovered."""
    counters = counted(door)
    for each in counters:
        if each.name.kind == "EUR":
            assert each.spent + each.held <= UNIT * 12 // 100
            assert each.spent >= billed(door)
        else:
            assert each.spent == 0
            assert each.held <= 9
        if not dead:
            assert each.held == 0, counters
    if not dead:
        assert holds(door) == 0


async def crash_often(door: Server) -> None:
    clients = Poor(door)
    door.start()
    for number in range(KILLS):
        clients.start()
        if number == 0:  # what dies is charged whole, so that later there may be nothing left for an answer
            await until(lambda: billed(door) > 0)
        await asyncio.sleep(random.uniform(0.1, 0.5))
        door.kill()
        await clients.stop()
        check_money(door, dead=True)
        door.start()
        check_money(door, dead=False)
    assert door.stop() == 0
    check_money(door, dead=False)
    assert any(each.spent for each in counted(door))
    statuses = {story.outcome.status for story in told(door).values() if story.outcome}
    assert {"answered", "refused"} <= statuses
    verify(door)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_budget_survives_kill_9(
    tmp_path: Path, hostile: Upstream, kind: str, workers: int, request: pytest.FixtureRequest
) -> None:
    settings = NO_ENGINE + models(hostile, "varied", timeouts="{ connect = 5, first_byte = 10 }") + PRICE + LIMITS
    database = request.getfixturevalue("postgres_url") if kind == "postgresql" else None
    with Server(tmp_path / "home", settings, database=database, workers=workers) as door:
        asyncio.run(crash_often(door))
