"""Keys while the door is open: a new one works at once, a revoked one nowhere any more."""

import http.client
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import pytest
from tests.support.doors import MODELS, MakeServer
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Upstream

from transom.callers.keys import REVOKED_SECONDS

BODY = b'{"model":"open","messages":[{"role":"user","content":"hello"}]}'
WORKERS = 3


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory, vendor: Upstream) -> Iterator[Server]:
    """A door of several workers on one socket."""
    settings = NO_ENGINE + MODELS.format(url=vendor.url)
    with Server(tmp_path_factory.mktemp("wide") / "home", settings, workers=WORKERS) as server:
        yield server.start()


class Connections:
    """Many kept connections, so that every worker has some."""

    def __init__(self, server: Server, count: int = 24) -> None:
        self._server = server
        self._all: list[http.client.HTTPConnection] = []
        self._open(count)

    def _open(self, count: int) -> None:
        port = self._server.port
        self._all += [http.client.HTTPConnection("127.0.0.1", port, timeout=20) for _ in range(count)]

    def reach_all(self, key: str) -> list[tuple[int, str | None, bytes]]:
        """Ask on more and more connections, until every worker has some: the kernel gives them to whoever is quick."""
        for _ in range(20):
            answered = self.ask(key)
            if len(workers_of(self._server, [id_ or "" for _, id_, _ in answered])) == WORKERS:
                return answered
            self._open(12)
        raise AssertionError("a worker is never given a connection")

    def ask(self, key: str) -> list[tuple[int, str | None, bytes]]:
        """Ask on all of them; give status, decision and body of each."""
        for connection in self._all:
            connection.request("POST", "/v1/chat/completions", BODY, {"authorization": f"Bearer {key}"})
        answers = [connection.getresponse() for connection in self._all]
        return [(answer.status, answer.getheader("transom-decision"), answer.read()) for answer in answers]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._all:
            connection.close()


def workers_of(server: Server, decisions: list[str]) -> set[str]:
    with server.stores() as stores, stores.database.begin(write=False) as connection:
        rows = connection.exec_driver_sql("SELECT decision, instance FROM entry WHERE type = 'decision/1'")
        return {row.instance for row in rows if row.decision in decisions}


def test_every_worker_knows_a_new_key_and_forgets_a_revoked_one(wide: Server) -> None:
    with Connections(wide) as connections:
        made = json.loads(wide.run("keys", "create", "Ada", "--group", "developers", "--json").stdout)
        answered = connections.reach_all(made["key"])
        assert {status for status, _, _ in answered} == {200}
        revoked = wide.run("keys", "revoke", made["id"], "--json")
        assert json.loads(revoked.stdout)["changed"] is True
        refused = connections.ask(made["key"])
    assert {status for status, _, _ in refused} == {401}
    assert {json.loads(body)["error"]["code"] for _, _, body in refused} == {"key_revoked"}
    ids = [id_ or "" for _, id_, _ in refused]
    assert len(workers_of(wide, ids)) == WORKERS
    for id_ in ids:
        story = wide.story(id_)
        assert story.outcome is not None
        assert (story.caller, story.outcome.reason) == ("Ada", "key_revoked")
        # A worker learns of it at the commit, when its upstream may have been asked already; nothing of that leaves.
        assert story.outcome.status == ("failed" if story.outcome.attempts else "refused")
        assert story.outcome.answer is None


def test_a_key_of_the_api_works_and_ends_in_every_worker(wide: Server) -> None:
    operator = wide.issue("o", "operators").key
    with Connections(wide) as connections:
        made = wide.ask("POST", "/api/keys", key=operator, body={"name": "Eve", "groups": ["developers"]}).json
        assert {status for status, _, _ in connections.ask(made["key"])} == {200}
        assert wide.ask("DELETE", f"/api/keys/{made['id']}", key=operator).status == 200
        assert {status for status, _, _ in connections.ask(made["key"])} == {401}


def test_a_revoked_operator_does_nothing_more(wide: Server) -> None:
    issued = wide.issue("gone", "operators")
    wide.revoke(issued.id)
    for method, path in (
        ("GET", "/v1/models"),
        ("GET", "/api/keys"),
        ("GET", "/metrics"),
        ("GET", "/ledger/checkpoint"),
    ):
        answer = wide.ask(method, path, key=issued.key)
        assert (answer.status, answer.json["error"]["code"]) == (401, "key_revoked")
        assert wide.story(answer.decision).decision.ruling is None


def test_what_is_read_while_its_key_is_revoked_does_not_leave(make_server: MakeServer, vendor: Upstream) -> None:
    """The store takes its time, and the decision is durable by then."""
    server = make_server(NO_ENGINE + MODELS.format(url=vendor.url)).start()
    issued = server.issue("leaver", "operators")
    tile = server.home.data / "objects" / "ledger" / "tile" / "0" / "x001" / "000"
    tile.parent.mkdir(parents=True)
    os.mkfifo(tile)  # reading it waits for somebody to write
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(server.get, "/ledger/tile/0/x001/000", issued.key)
        until_durable(server)
        revoke(server, issued.id)
        with tile.open("wb"):
            pass
        answer = reading.result()
    assert (answer.status, answer.json["error"]["code"]) == (401, "key_revoked")
    story = server.story(answer.decision)
    assert story.outcome is not None
    assert story.decision.ruling is not None
    assert (story.outcome.status, story.outcome.reason) == ("refused", "key_revoked")


def test_what_the_api_shows_does_not_leave_once_its_key_is_revoked(make_server: MakeServer, vendor: Upstream) -> None:
    """Its caller's body takes its time."""
    server = make_server(NO_ENGINE + MODELS.format(url=vendor.url)).start()
    issued = server.issue("leaver", "operators")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.putrequest("GET", "/api/keys")
    connection.putheader("authorization", f"Bearer {issued.key}")
    connection.putheader("content-length", "2")
    connection.endheaders()
    until_durable(server)
    revoke(server, issued.id)
    connection.send(b"{}")
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    assert (answer.status, body["error"]["code"]) == (401, "key_revoked")
    story = server.story(answer.getheader("transom-decision") or "")
    assert story.outcome is not None
    assert (story.outcome.status, story.outcome.reason) == ("refused", "key_revoked")


def revoke(server: Server, id_: str) -> None:
    server.revoke(id_)
    time.sleep(REVOKED_SECONDS)  # as every way to revoke a key does before it says that it is done


def until_durable(server: Server) -> None:
    """Wait for the first decision of this server."""
    until = time.monotonic() + 10
    while not server.entries("decision/1"):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_secret_is_shown_once_and_kept_nowhere(make_server: MakeServer, vendor: Upstream) -> None:
    server = make_server(NO_ENGINE + MODELS.format(url=vendor.url)).start()
    first = server.output.partition("tr_")[2][:43]
    assert len(first) == 43  # the first start shows an operator's key
    made = json.loads(server.run("keys", "create", "Ada", "--group", "developers", "--json").stdout)
    shown = server.run("keys", "create", "Bo", "--group", "students", "--expires", "30d").stdout
    secrets = ["tr_" + first, made["key"], "tr_" + shown.partition("tr_")[2][:43]]
    for secret in secrets:
        assert server.chat("open", secret).status == 200
    assert server.chat("open", made["key"], f"my key is {secrets[0]}").status == 403
    listed = server.run("keys", "list", "--json").stdout
    assert {key["name"] for key in json.loads(listed)} >= {"Ada", "Bo"}
    for secret in secrets:
        assert secret not in listed
    server.stop()
    (server.home.path / "output").unlink()  # what the terminal showed, which was the point
    assert server.holding(*(secret.encode() for secret in secrets)) == []
    assert server.holding(*(secret[3:].encode() for secret in secrets)) == []
    for entry in server.entries("key/1"):
        assert made["id"] not in str(entry)
