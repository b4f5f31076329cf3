"""`transom erase`: what was asked is gone, that it is gone is on record, and everything verifies."""

import json
from collections.abc import Iterator

import pytest
from tests.support.doors import MODELS
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Upstream

from transom.decisions.governance import TERMINAL
from transom.ledger.acts import ErasureEntry

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, vendor: Upstream) -> Iterator[tuple[Server, dict[str, list[str]]]]:
    """A home where Ada and Bob asked three times each, and that nobody serves any more."""
    with Server(tmp_path_factory.mktemp("erase") / "home", NO_ENGINE + MODELS.format(url=vendor.url)) as server:
        server.start()
        decisions: dict[str, list[str]] = {}
        for name in ("ada", "bob"):
            issued = server.issue(name, "operators")
            answers = [server.chat("closed", issued.key, f"What of {name}?") for _ in range(3)]
            decisions[issued.id] = [str(answer.decision) for answer in answers]
        for decision in (each for of_one in decisions.values() for each in of_one):
            server.logged(decision)
        assert server.stop() == 0
        yield server, decisions


def kept(server: Server, decision: str) -> tuple[str, ...]:
    return server.story(decision).kept


def test_what_is_wanted_goes_and_the_log_verifies(asked: tuple[Server, dict[str, list[str]]]) -> None:
    server, decisions = asked
    ada, bob = decisions
    one, *rest = decisions[ada]

    done = server.run("erase", "--decision", one, "--yes", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"decisions": 1, "contents": 2})
    assert kept(server, one) == ()
    assert all(set(kept(server, each)) == {"prompt", "answer"} for each in rest)

    done = server.run("erase", "--caller", ada, "--yes")
    assert done.returncode == 0, done.stderr
    assert "4 prompts and answers of 2 decisions are erased" in done.stdout
    assert all(kept(server, each) == () for each in rest)
    assert all(kept(server, each) for each in decisions[bob])

    told = server.run("explain", one)
    assert "not kept, or erased; the commitment stays" in told.stdout
    done = server.run("erase", "--older-than", "1h", "--yes", "--json")
    assert json.loads(done.stdout) == {"decisions": 0, "contents": 0}

    entries = [entry for entry in server.entries("erasure/1") if isinstance(entry, ErasureEntry)]
    assert [(entry.cause, entry.count) for entry in entries] == [("request", 2), ("request", 4)]
    with server.stores() as stores:
        assert [entry.subject for entry in entries] == [None, server.story(one).decision.by]
        assert all(entry.by == stores.keys.pseudonym(TERMINAL) for entry in entries)
    verified = server.run("ledger", "verify", "--json")
    assert (verified.returncode, json.loads(verified.stdout)["problems"]) == (0, [])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Say what to erase"),
        (("--decision", "x", "--older-than", "1d"), "one of them"),
        (("--older-than", "soon"), "--older-than: 'soon' is not a length of time"),
    ],
)
def test_what_is_not_clear_erases_nothing(
    asked: tuple[Server, dict[str, list[str]]], arguments: tuple[str, ...], said: str
) -> None:
    done = asked[0].run("erase", *arguments, "--yes")
    assert done.returncode == 1
    assert said in done.stderr


def test_it_asks_whether_it_is_meant(asked: tuple[Server, dict[str, list[str]]]) -> None:
    server, decisions = asked
    spared = decisions[list(decisions)[1]][0]
    done = server.run("erase", "--decision", spared)  # with nobody to answer
    assert done.returncode == 1
    assert "cannot be brought back" in done.stdout + done.stderr
    assert set(kept(server, spared)) == {"prompt", "answer"}
