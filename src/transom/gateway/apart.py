"""What takes long, apart from the event loop: others want an answer meanwhile."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_LONG = 64 * 1024
"""Bytes of a body from which on others should not wait for its reading: to be translated, it takes some 30 ms."""


async def apart(size: int, reading: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what reads `size` bytes, in a thread where that may take seconds."""
    return await asyncio.to_thread(reading, *args, **kwargs) if size >= _LONG else reading(*args, **kwargs)
