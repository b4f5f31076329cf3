"""Rates as callers meet them: what headers say, what several workers count together, and what a lost count means."""

import asyncio

import anthropic
import pytest
from anthropic import Anthropic
from tests.support.doors import MODELS, MakeServer
from tests.support.redis import Redis
from tests.support.server import NO_ENGINE
from tests.support.upstream import Script, Upstream
from tests.support.wire import until

REQUESTS = "[[limits]]\nrequests_per_minute = {}\n"
TOKENS = '[[limits]]\nname = "words"\ntokens_per_minute = 1000\n'


def settings(vendor: Upstream, *more: str) -> str:
    return NO_ENGINE + MODELS.format(url=vendor.url) + "".join(more)


def test_openais_headers_say_how_the_rates_stand(make_server: MakeServer, vendor: Upstream) -> None:
    vendor.scripts["ten-tokens"] = Script(usage={"prompt_tokens": 4, "completion_tokens": 6})
    server = make_server(settings(vendor, REQUESTS.format(3), TOKENS)).start()
    first = server.chat("open", server.key, "script ten-tokens", max_tokens=100)
    assert first.status == 200
    assert (first.headers["x-ratelimit-limit-requests"], first.headers["x-ratelimit-remaining-requests"]) == ("3", "2")
    assert first.headers["x-ratelimit-limit-tokens"] == "1000"
    assert 500 < int(first.headers["x-ratelimit-remaining-tokens"]) < 900
    assert first.headers["x-ratelimit-reset-tokens"].endswith("s")
    server.outcome(first.decision)
    # What was used is known by now: ten tokens, unless a minute began in between.
    too_long = server.chat("open", server.key, "script ten-tokens", max_tokens=2000)
    assert (too_long.status, too_long.json["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(too_long.headers["x-ratelimit-remaining-tokens"]) >= 990
    assert "retry-after" not in too_long.headers
    stream = server.chat("open", server.key, "script ten-tokens", stream=True, max_tokens=10)
    assert stream.status == 200
    assert stream.headers["x-ratelimit-remaining-requests"] == "0"
    last = server.chat("open", server.key)
    assert last.status == 429
    assert last.headers["x-ratelimit-remaining-requests"] == "0"
    assert 0 < int(last.headers["retry-after"]) <= 61
    free = server.get("/v1/models", server.key)
    assert free.status == 200
    assert not [name for name in free.headers if name.startswith("x-ratelimit")]


def test_anthropics_clients_are_told_in_their_own_headers(make_server: MakeServer, vendor: Upstream) -> None:
    server = make_server(settings(vendor, REQUESTS.format(1))).start()
    with Anthropic(base_url=server.url, api_key=server.key, max_retries=0) as client:
        asked = client.messages.with_raw_response
        answer = asked.create(model="open", max_tokens=10, messages=[{"role": "user", "content": "Is it true?"}])
        assert answer.headers["anthropic-ratelimit-requests-limit"] == "1"
        assert answer.headers["anthropic-ratelimit-requests-remaining"] == "0"
        assert answer.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
        with pytest.raises(anthropic.RateLimitError) as refused:
            client.messages.create(model="open", max_tokens=10, messages=[{"role": "user", "content": "And now?"}])
        assert refused.value.response.headers["anthropic-ratelimit-requests-remaining"] == "0"


@pytest.mark.slow
def test_two_workers_and_a_replica_count_together(make_server: MakeServer, vendor: Upstream, redis: Redis) -> None:
    common = f'[storage]\nrates = "{redis.url}"\n' + REQUESTS.format(5).replace("\n", '\nper = "all"\n', 1)
    doors = [make_server(settings(vendor, common), workers=workers).start() for workers in (2, 1)]
    statuses = [door.chat("open", door.key).status for _ in range(10) for door in doors]
    assert statuses.count(200) == 5
    assert set(statuses) == {200, 429}


@pytest.mark.parametrize("fails", ["open", "closed"])
def test_a_huge_number_is_refused_and_no_outage(
    make_server: MakeServer, vendor: Upstream, redis: Redis, fails: str
) -> None:
    common = f'[storage]\nrates = "{redis.url}"\nrates_fail = "{fails}"\n' + TOKENS
    server = make_server(settings(vendor, common)).start()
    refused = server.chat("open", server.key, max_tokens=2**62, n=8)
    assert (refused.status, refused.json["error"]["code"]) == (429, "rate_limit_exceeded")
    assert "retry-after" not in refused.headers
    assert server.is_ready()
    assert server.chat("open", server.key, max_tokens=10).status == 200


def test_a_lost_count_refuses_and_says_so(make_server: MakeServer, vendor: Upstream, redis: Redis) -> None:
    common = f'[storage]\nrates = "{redis.url}"\n' + REQUESTS.format(100)
    server = make_server(settings(vendor, common)).start()
    assert server.chat("open", server.key).status == 200
    redis.stop()
    refused = server.chat("open", server.key)
    assert (refused.status, refused.json["error"]["code"]) == (503, "rates_unavailable")
    assert "rates" in server.problems()
    assert server.outcome(refused.decision).attempts == ()
    redis.start()
    asyncio.run(until(server.is_ready))
    assert server.chat("open", server.key).status == 200
