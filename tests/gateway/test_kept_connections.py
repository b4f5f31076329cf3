"""A kept connection that ends as it is taken up again: asked once more, and both tries on record."""

from collections.abc import Iterator

import pytest
from tests.support.loop import Loop
from tests.support.peer import Listener, Peer
from tests.support.server import NO_ENGINE, Server

ANSWER = b'{"model":"m","choices":[{"message":{"role":"assistant","content":"Yes"}}]}'
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
SETTINGS = """
[upstreams.ends]
base_url = "{url}/v1"
[models.plain]
route = ["ends"]
[models.declared]
route = ["ends"]
retry = {{ attempts = 2, on = ["connect"] }}
"""


async def ends(peer: Peer) -> None:
    """Answer once; close at the second request without a byte."""
    await peer.request()
    await peer.send(WHOLE)
    await peer.request()


@pytest.fixture
def vendor() -> Iterator[Listener]:
    loop, listener = Loop("vendor"), Listener(ends)
    loop.run(listener.__aenter__())
    yield listener
    loop.run(listener.__aexit__())
    loop.close()


@pytest.mark.parametrize("model", ["plain", "declared"])
def test_both_tries_are_on_record(vendor: Listener, tmp_path_factory: pytest.TempPathFactory, model: str) -> None:
    with Server(tmp_path_factory.mktemp("kept") / "home", NO_ENGINE + SETTINGS.format(url=vendor.url)) as server:
        server.start()
        assert server.chat(model, server.key).status == 200
        tries = [("ends", "200")]
        for _ in range(20):  # one that took long to end is not asked again, but a failure
            asked = len(vendor.requests)
            answer = server.chat(model, server.key)
            tries = [(each.upstream, each.result) for each in server.outcome(answer.decision).attempts]
            assert len(vendor.requests) - asked == len(tries)
            if len(tries) == 2:
                break
        assert tries == [("ends", "UpstreamReset"), ("ends", "200")]
        assert answer.status == 200
