"""What is read takes twice as long for twice as much: else one caller could hold up all others."""

import gc
import json
import time
from collections.abc import Callable

from transom.dialects.anthropic.messages import MESSAGES
from transom.dialects.sse import Event, EventSplitter


def passing(number: int) -> object:
    message = {"role": "system", "content": "a", "clear_at": "next_user_message"}
    return {"model": "m", "max_tokens": 9, "messages": [message] * number + [{"role": "user", "content": "Hi"}]}


def seconds(work: Callable[[], object]) -> float:
    """Of this thread's own work, the less of two tries."""
    spent = []
    for _ in range(2):
        gc.collect()
        began = time.thread_time()
        work()
        spent.append(time.thread_time() - began)
    return min(spent)


def test_a_request_is_read_in_time_to_its_length() -> None:
    little, much = (MESSAGES.read(json.dumps(passing(size)).encode()) for size in (3000, 12_000))
    assert seconds(lambda: MESSAGES.parse(much)) < 12 * seconds(lambda: MESSAGES.parse(little))


def test_a_long_event_is_found_in_time_to_its_length() -> None:
    def fed(pieces: int) -> list[Event]:
        splitter = EventSplitter()
        for _ in range(pieces):
            splitter.feed(b"x" * 4096)
        return splitter.feed(b"\n\n")

    assert seconds(lambda: fed(8000)) < 12 * seconds(lambda: fed(2000))
