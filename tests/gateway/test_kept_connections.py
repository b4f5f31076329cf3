"""A kept connection that ends as it is taken up again: asked once more, and both tries on record."""

from collections.abc import Iterator

import pytest
from tests.support.loop import Loop
from tests.support.money import counted
from tests.support.peer import Listener, Peer
from tests.support.server import NO_ENGINE, Server

from transom.metering.money import parts

ANSWER = b'{"model":"m","choices":[{"message":{"role":"assistant","content":"Yes"}}]}'
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
SETTINGS = """
[upstreams.ends]
base_url = "{url}/v1"
[[limits]]
money = {{ amount = "1000", currency = "EUR", per = "total" }}
[models.plain]
route = ["ends"]
price = {{ currency = "EUR", input = "1", output = "10" }}
max_output_tokens = 1000
[models.declared]
route = ["ends"]
price = {{ currency = "EUR", input = "1", output = "10" }}
max_output_tokens = 1000
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
            asked, spent = len(vendor.requests), counted(server)[0].spent
            answer = server.chat(model, server.key)
            outcome = server.outcome(answer.decision)
            tries = [(each.upstream, each.result) for each in outcome.attempts]
            assert len(vendor.requests) - asked == len(tries)
            if len(tries) == 2:
                break
        assert tries == [("ends", "UpstreamReset"), ("ends", "200")]
        assert answer.status == 200
        # The first may have been billed: what was held for the longest answer is charged, not the cost alone.
        assert outcome.cost is not None
        assert parts(outcome.cost.amount) < parts("0.01") < counted(server)[0].spent - spent
