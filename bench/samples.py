"""Samples and what is said of them. No I/O beyond the interpreter's own collector."""

import contextlib
import gc
from collections.abc import Iterator, Sequence


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of the ordered samples lie; 0 where there are none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep the client's own collector pauses out of what is measured."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
