import time

import pytest
from tests.support.peer import Peer, ok
from tests.upstreams.conftest import Run, against

from transom.upstreams.errors import (
    UpstreamAborted,
    UpstreamBusy,
    UpstreamReset,
    UpstreamTimedOut,
    UpstreamTooLarge,
    UpstreamUnreachable,
)
from transom.upstreams.health import Health


def test_failures_count_until_an_answer() -> None:
    health = Health()
    assert (health.consecutive_failures, health.last_error, health.last_error_at, health.last_answer_at) == (
        0,
        None,
        None,
        None,
    )
    before = time.time()
    health.failed(UpstreamReset("wild", "head", "first"))
    health.failed(UpstreamTimedOut("wild", "whole", "second"))
    assert health.consecutive_failures == 2
    assert health.last_error == "upstream 'wild', phase whole: second"
    assert health.last_error_at is not None
    assert before <= health.last_error_at <= time.time()
    health.answered(200)
    assert health.consecutive_failures == 0
    assert health.last_answer_at is not None
    assert health.last_error is not None


@pytest.mark.parametrize("error", [UpstreamBusy, UpstreamTooLarge, UpstreamAborted])
def test_what_is_not_the_upstreams_doing_does_not_count(error: type[UpstreamBusy]) -> None:
    health = Health()
    health.failed(error("wild", "head", "not its doing"))
    assert health.consecutive_failures == 0
    assert health.last_error is None


@pytest.mark.parametrize(("status", "failures"), [(200, 0), (404, 0), (429, 0), (401, 1), (500, 1), (503, 1), (599, 1)])
def test_some_answers_are_failures(status: int, failures: int) -> None:
    health = Health()
    health.answered(status)
    assert health.consecutive_failures == failures
    assert (health.last_error is None) == (failures == 0)


def test_an_upstream_that_comes_back(run: Run) -> None:
    async def script(peer: Peer) -> None:
        if peer.number < 3:
            await peer.request()
            return
        await ok(peer)

    async def work() -> None:
        async with against(script) as (_server, client):
            for failures in (1, 2):
                with pytest.raises(UpstreamReset):
                    await client.send(b"POST", b"/chat", b"{}")
                assert client.health.consecutive_failures == failures
            await client.send(b"POST", b"/chat", b"{}")
            assert client.health.consecutive_failures == 0

    run(work())


def test_only_what_was_never_sent_says_so() -> None:
    assert UpstreamBusy("wild", "queue", "").never_sent
    assert UpstreamUnreachable("wild", "connect", "").never_sent
    assert UpstreamTimedOut("wild", "connect", "").never_sent
    for phase in ("first_byte", "between_chunks", "whole"):
        assert not UpstreamTimedOut("wild", phase, "").never_sent
    assert not UpstreamReset("wild", "head", "").never_sent
