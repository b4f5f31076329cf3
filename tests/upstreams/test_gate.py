"""Places at one upstream: counted, waited for in turn, and never lost."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.upstreams.errors import UpstreamBusy
from transom.upstreams.gate import Gate


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_without_a_limit_it_counts() -> None:
    async def scenario() -> None:
        gate = Gate("u", None, 0, 1.0)
        for _ in range(3):
            await gate.enter()
        assert (gate.inside, gate.waiting, gate.full) == (3, 0, False)
        gate.leave()
        assert gate.inside == 2

    run(scenario())


def test_places_are_handed_on_in_turn() -> None:
    async def scenario() -> None:
        gate = Gate("u", 1, 2, 10.0)
        came: list[str] = []

        async def come(name: str) -> None:
            await gate.enter()
            came.append(name)

        await gate.enter()
        tasks = [asyncio.create_task(come(name)) for name in ("a", "b")]
        await settle()
        assert (gate.inside, gate.waiting) == (1, 2)
        with pytest.raises(UpstreamBusy, match="1 requests are under way and 2 wait"):
            await gate.enter()
        gate.leave()
        await settle()
        assert came == ["a"]
        gate.leave()
        await asyncio.gather(*tasks)
        assert came == ["a", "b"]
        gate.leave()
        assert (gate.inside, gate.waiting) == (0, 0)

    run(scenario())


def test_who_waits_too_long_is_told_and_leaves_the_line() -> None:
    async def scenario() -> None:
        gate = Gate("u", 1, 1, 0.01)
        await gate.enter()
        with pytest.raises(UpstreamBusy, match="became free within"):
            await gate.enter()
        gate.leave()
        assert (gate.inside, gate.waiting) == (0, 0)

    run(scenario())


@given(st.lists(st.sampled_from(["come", "leave", "give up", "turn"]), max_size=60), st.integers(1, 3))
def test_no_place_is_lost_or_made_whoever_gives_up_when(acts: list[str], limit: int) -> None:
    async def scenario() -> None:
        gate = Gate("u", limit, 100, 60.0)
        tasks: list[asyncio.Task[None]] = []
        held = 0
        for act in acts:
            if act == "come":
                tasks.append(asyncio.create_task(gate.enter()))
            elif act == "leave" and held:
                gate.leave()
                held -= 1
            elif act == "give up" and tasks:
                tasks[-1].cancel()
            if act in {"turn", "leave"}:
                await settle()
                held += sum(task.done() and not task.cancelled() for task in tasks)
                tasks = [task for task in tasks if not task.done()]
            assert gate.inside <= limit
        await settle()
        held += sum(task.done() and not task.cancelled() for task in tasks)
        tasks = [task for task in tasks if not task.done()]
        assert gate.inside == held
        assert gate.waiting == len(tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(held):
            gate.leave()
        assert (gate.inside, gate.waiting) == (0, 0)

    run(scenario())
