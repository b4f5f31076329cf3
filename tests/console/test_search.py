"""Searching through a running door: the API, the page, the command; and who finds what."""

import json
import time

import pytest
from tests.console.door import Door
from tests.support.server import Answer

SECRET = "the key is sk-proj-" + "a1B2" * 12


def found(door: Door, query: str, name: str = "omar") -> list[str]:
    answer = door.api(name, "GET", f"/api/decisions?{query}")
    assert answer.status == 200, answer.text
    return [each["id"] for each in answer.json["decisions"]]


@pytest.fixture(scope="module")
def asked(door: Door) -> dict[str, Answer]:
    """One decision of each kind, once all of them can be found."""
    answers = {
        "sam": door.chat("sam"),
        "dana": door.chat("dana", "vendor-large"),
        "forbidden": door.chat("sam", "vendor-large"),
        "blocked": door.chat("dana", text=SECRET),
    }
    until = time.monotonic() + 20
    last = answers["blocked"].decision
    while last not in found(door, "verdict=block&status=blocked&limit=200"):
        assert time.monotonic() < until, "the index does not follow"
        time.sleep(0.1)
    return answers


def test_every_word_finds_what_it_says_and_nothing_else(door: Door, asked: dict[str, Answer]) -> None:
    finds = {
        "caller=sam": {"sam", "forbidden"},
        f"caller={door.keys['dana'].id}": {"dana", "blocked"},
        "caller=nobody-of-this-name": set(),
        "model=vendor-large": {"dana", "forbidden"},
        "model=small@1": {"sam", "blocked"},
        "action=infer": set(asked),
        "action=view_console": set(),
        "ruling=forbid": {"forbidden"},
        "policy=students-use-open-models": {"sam"},
        "safeguard=secrets&verdict=block": {"blocked"},
        "safeguard=secrets": {"sam", "dana", "blocked"},
        "status=answered&caller=dana": {"dana"},
        "upstream=near": {"sam", "dana"},
        "code=safeguard_blocked": {"blocked"},
        "since=1h": set(asked),
        "until=1h": set(),
        "since=2020-01-01&until=2021-01-01T00:00Z": set(),
        "cost_to=0&currency=EUR": set(),
    }
    for query, names in finds.items():
        ids = found(door, f"{query}&limit=200")
        assert {name for name, answer in asked.items() if answer.decision in ids} == names, query


def test_pages_of_a_search_go_on(door: Door, asked: dict[str, Answer]) -> None:
    ids: list[str] = []
    before = ""
    while True:
        page = door.api("omar", "GET", f"/api/decisions?action=infer&limit=2{before}").json
        ids += [each["id"] for each in page["decisions"]]
        if page["older"] is None:
            break
        before = f"&before={page['older']}"
    assert {answer.decision for answer in asked.values()} <= set(ids)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("ruling=maybe", "ruling"),
        ("status=fine", "status"),
        ("since=yesterday", "since"),
        ("cost_from=-1", "cost_from"),
        ("cost_from=nan", "cost_from"),
        ("caller=sam&limit=0", "limit"),
        ("caller=sam&limit=1000", "limit"),
        ("caller=sam&before=none-such", "before"),
        ("before=none-such", "before"),
    ],
)
def test_a_search_that_means_nothing_is_told_so(door: Door, query: str, param: str) -> None:
    answer = door.api("omar", "GET", f"/api/decisions?{query}")
    assert (answer.status, answer.json["error"]["param"]) == (400, param)


def test_the_page_searches_and_keeps_what_was_searched_for(door: Door, asked: dict[str, Answer]) -> None:
    visitor = door.sign_in("omar")
    assert "<h2" not in visitor.get("/search").text.partition("<main")[2]
    page = visitor.get("/search?caller=sam&ruling=forbid&model=").text
    assert f"d-{asked['forbidden'].decision}" in page
    assert f"d-{asked['sam'].decision}" not in page
    assert 'value="sam"' in page
    assert "<option selected>forbid" in page
    wrong = visitor.get("/search?since=yesterday")
    assert wrong.status == 400
    assert "is no moment" in wrong.text
    hostile = visitor.get("/search?caller=%3Cscript%3E").text
    assert "<script>" not in hostile.partition("<main")[2]


def test_who_may_not_read_decisions_searches_nothing(door: Door) -> None:
    assert door.api("sam", "GET", "/api/decisions?caller=sam").status == 403


@pytest.mark.slow
def test_the_command_finds_the_same(door: Door, asked: dict[str, Answer]) -> None:
    said = door.server.run("decisions", "find", "caller=sam", "ruling=forbid", "--json")
    assert said.returncode == 0, said.stderr
    decisions = {each["id"]: each for each in json.loads(said.stdout)["decisions"]}
    told = decisions[asked["forbidden"].decision]
    assert (told["name"], told["effect"], told["status"]) == ("sam", "forbid", "refused")
    assert asked["sam"].decision not in decisions
    again = door.server.run("decisions", "reindex")
    assert "entries of the log are in the index" in again.stdout, again.stderr
    shown = door.server.run("decisions", "find", "verdict=block", "--limit", "1")
    assert "There are older ones" in shown.stdout or asked["blocked"].decision in shown.stdout
    assert door.server.run("decisions", "find", "who=sam").returncode == 2
    assert "is no moment" in door.server.run("decisions", "find", "since=yesterday").stderr
