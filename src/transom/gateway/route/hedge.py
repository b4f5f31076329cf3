"""A second target asked where the first has not begun to answer: whoever answers first wins, the other is given up."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from transom.gateway.route.attempt import Tried

Try = Coroutine[Any, Any, Tried]


async def hedged(first: Try, second: Callable[[], Try | None], seconds: float) -> list[Tried | None]:
    """Return what came of the first try, and of the second where it was begun after `seconds`; `None`: given up.

    At most one of them has a response. Where this is cancelled, so are both.
    """
    tasks = [asyncio.create_task(first)]
    winner: asyncio.Task[Tried] | None = None
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds)
        other = None if done else second()
        if other is not None:
            tasks.append(asyncio.create_task(other))
        waiting = set(tasks)
        while waiting and winner is None:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            winner = next((task for task in tasks if task in done and task.result().response is not None), None)
    finally:
        given_up = [task for task in tasks if task is not winner and not _has_failed(task)]
        for task in given_up:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in given_up:
            _drop(task)
    return [None if task in given_up else task.result() for task in tasks]


def _has_failed(task: asyncio.Task[Tried]) -> bool:
    """Whether a try is over and brought no answer."""
    if not task.done() or task.cancelled():
        return False
    return task.exception() is not None or task.result().response is None


def _drop(task: asyncio.Task[Tried]) -> None:
    """Close what a try that was given up has brought all the same."""
    if task.cancelled() or task.exception() is not None:
        return
    response = task.result().response
    if response is not None:
        response.abort()
