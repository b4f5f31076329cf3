"""What takes long, apart from the event loop: others want an answer meanwhile."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_LONG = 256 * 1024
"""Bytes of a body from which on reading it is no longer a matter of microseconds."""


async def apart(size: int, reading: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what reads `size` bytes, in a thread where that may take seconds."""
    return await asyncio.to_thread(reading, *args, **kwargs) if size >= _LONG else reading(*args, **kwargs)
