"""Declared files are taken up while requests run, all of them or none."""

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.doors import MODELS, Door, MakeServer
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Script, Upstream, event

from transom.app.reload import FILES
from transom.ledger.acts import ModelEntry, PolicyEntry, SettingsEntry

STRICT = """@id("operators-only")
permit (principal in Group::"operators", action, resource);
"""


def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def server(make_server: MakeServer, vendor: Upstream) -> Server:
    return make_server(NO_ENGINE + MODELS.format(url=vendor.url)).start()


class Callers:
    """Callers who ask without pause while something changes, and remember every status."""

    def __init__(self, server: Server, key: str) -> None:
        self._server, self._key = server, key
        self._stop = threading.Event()
        self.seen: list[int] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(4)]

    def _ask(self) -> None:
        while not self._stop.is_set():
            self.seen.append(self._server.chat("closed", self._key).status)

    def __enter__(self) -> list[int]:
        for thread in self._threads:
            thread.start()
        until(lambda: self.seen)
        return self.seen

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_policies_change_while_requests_run(server: Server, vendor: Upstream) -> None:
    developer, operator = server.issue("d", "developers").key, server.issue("o", "operators").key
    starter = (server.home.policies / "starter.cedar").read_text()
    hold = threading.Event()
    vendor.scripts["held"] = Script(
        events=[event({"choices": [{"delta": {}, "finish_reason": "stop"}]}), b"data: [DONE]\n\n"], hold=hold
    )
    answers = []
    held = threading.Thread(target=lambda: answers.append(server.chat("closed", developer, "script held", stream=True)))
    held.start()
    vendor.find("script held")
    with Callers(server, operator) as seen:
        server.write_policies(STRICT)
        until(lambda: server.chat("closed", developer).status == 403)
        refused = server.chat("closed", developer)
        server.write_policies(starter)
        until(lambda: server.chat("closed", developer).status == 200)
    assert set(seen) == {200}
    # Who was permitted under the old set is answered to the end.
    hold.set()
    held.join(10)
    assert answers[0].status == 200
    assert answers[0].body.endswith(b"data: [DONE]\n\n")
    entries = server.entries("policy/1")
    digests = [entry.digest for entry in entries if isinstance(entry, PolicyEntry)]
    assert len(digests) == 3
    assert digests[0] == digests[2] != digests[1]
    ruling = server.story(refused.decision).decision.ruling
    assert ruling is not None
    assert ruling.digest == digests[1]


BROKEN = {
    "syntax": ('@id("a")\npermit (principal, action, resource\n', "starter.cedar:"),
    "no id": ("permit (principal, action, resource);", "starter.cedar:1"),
    "misspelt": ('@id("a")\npermit (principal, action == Action::"infre", resource);', "starter.cedar:2"),
    "attribute": ('@id("a")\npermit (principal, action, resource)\nwhen { resource.nonsense };', "starter.cedar:"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_policy_is_refused_with_its_place(sqlite_door: Door, kind: str) -> None:
    server, (text, place) = sqlite_door.server, BROKEN[kind]
    starter, logged = (server.home.policies / "starter.cedar").read_text(), len(server.log)
    before = len(server.entries("policy/1"))
    try:
        server.write_policies(text)
        until(lambda: "not taken up" in server.log[logged:])
        assert place in server.log[logged:]
        assert re.search(rf"{re.escape(place.partition(':')[0])}:\d+:\d+: ", server.log[logged:])
        assert server.chat("closed", sqlite_door.key()).status == 200
        assert server.chat("closed", sqlite_door.key("students")).status == 403
        status = server.get("/api/status", sqlite_door.key("operators"))
        assert place in status.body.decode()
        checked = server.run("config", "check")
        assert checked.returncode == 1
        assert place in checked.stderr
    finally:
        server.write_policies(starter)
    assert server.ask("POST", "/api/reload", key=sqlite_door.key("operators")).status == 200
    assert len(server.entries("policy/1")) == before


def test_settings_add_a_model(server: Server, vendor: Upstream) -> None:
    key = server.issue("d", "developers").key
    settings = server.home.settings.read_text()
    assert server.chat("newcomer", key).status == 404
    server.home.settings.write_text(
        settings + f'[upstreams.new]\nbase_url = "{vendor.url}"\n[models.newcomer]\nroute = ["new"]\n'
    )
    until(lambda: server.chat("newcomer", key).status == 200)
    assert "newcomer" in [model["id"] for model in server.get("/v1/models", key).json["data"]]
    server.home.settings.write_text(settings + "[models.newcomer]\nroute = [\n")
    until(lambda: "not taken up" in server.log)
    assert "transom.toml:" in server.log
    assert server.chat("newcomer", key).status == 200  # what ran before stays
    server.home.settings.write_text(settings)
    until(lambda: server.chat("newcomer", key).status == 404)
    found = [entry for entry in server.entries("settings/1") if isinstance(entry, SettingsEntry)]
    assert len({entry.registry for entry in found}) == 2
    assert len(found) == 3


def test_rates_survive_a_reload_of_other_settings(make_server: MakeServer, vendor: Upstream) -> None:
    limits = "[[limits]]\nrequests_per_minute = 2\n"
    server = make_server(NO_ENGINE + MODELS.format(url=vendor.url) + limits).start()
    key = server.issue("d", "developers").key
    assert [server.chat("open", key).status for _ in range(3)] == [200, 200, 429]
    before = server.home.settings.read_text()
    server.home.settings.write_text(before + '[models.newcomer]\nroute = ["vendor"]\n')
    until(lambda: "newcomer" in str(server.get("/v1/models", key).json))
    assert server.chat("open", key).status == 429


def test_a_key_in_a_file_is_read_again_when_it_changes(
    make_server: MakeServer, vendor: Upstream, tmp_path: Path
) -> None:
    """The settings stay as they are: a key is changed where it is, and requests are sent with the new one."""
    file = tmp_path / "vendor.key"
    file.write_text("key-one\n")
    settings = f"""
[upstreams.keyed]
base_url = "{vendor.url}"
key = {{ file = "{file}" }}
[models.keyed]
route = ["keyed"]
"""
    server = make_server(NO_ENGINE + settings).start()
    key = server.issue("d", "developers").key

    def sent() -> str | None:
        assert server.chat("keyed", key, "with which key").status == 200
        return vendor.find("with which key").header("authorization")

    assert sent() == "Bearer key-one"
    file.write_text("key-two\n")
    until(lambda: sent() == "Bearer key-two")
    file.write_text("\n")
    until(lambda: "not taken up" in server.log)
    assert f"transom.toml:6:7: upstreams.keyed.key: The file {file} is empty" in server.log
    assert sent() == "Bearer key-two"  # what ran before stays
    file.unlink()
    file.with_suffix(".new").write_text("key-six\n")
    file.with_suffix(".new").rename(file)
    until(lambda: sent() == "Bearer key-six")
    assert "key-" not in server.log.replace("vendor.key", "")


def test_what_was_edited_while_it_started_is_taken_up(make_server: MakeServer, vendor: Upstream) -> None:
    """The settings are read before anything else; what follows may take long, as fetching weights does."""
    server = make_server(NO_ENGINE + MODELS.format(url=vendor.url))
    settings = server.home.settings
    before = settings.read_text()
    lines = "".join(f'[models.m{number}]\nroute = ["vendor"]\n' for number in range(9))

    def edit() -> None:
        until((server.home.data / "keys").exists)  # made right after the settings were read
        settings.write_text(before + lines)

    editing = threading.Thread(target=edit)
    editing.start()
    server.start()
    editing.join(10)
    key = server.issue("d", "developers").key
    until(lambda: server.chat("m8", key).status == 200)


def test_a_new_route_to_an_engine_that_does_not_run_is_refused(make_server: MakeServer, vendor: Upstream) -> None:
    server = make_server(MODELS.format(url=vendor.url)).start()
    key = server.issue("d", "developers").key
    settings = server.home.settings.read_text()
    line = settings.count("\n") + 2
    server.home.settings.write_text(settings + '[models.local]\nroute = ["embedded"]\n[models.n]\nroute = ["vendor"]\n')
    until(lambda: "not taken up" in server.log)
    assert re.search(
        rf"transom\.toml:{line}:9: models\.local\.route: .*restart `transom up`", server.log, re.IGNORECASE
    )
    assert server.chat("local", key).status == server.chat("n", key).status == 404
    assert server.chat("closed", key).status == 200
    server.home.settings.write_text(settings + '[models.n]\nroute = ["vendor"]\n')
    until(lambda: server.chat("n", key).status == 200)


def test_limits_are_not_taken_up_by_several_workers(make_server: MakeServer, vendor: Upstream) -> None:
    server = make_server(NO_ENGINE + MODELS.format(url=vendor.url), workers=2).start()
    settings = server.home.settings.read_text()
    line = settings.count("\n") + 1
    server.home.settings.write_text(settings + "[[limits]]\nrequests_per_minute = 1\n")
    until(lambda: server.log.count("not taken up") == 2)
    assert server.log.count(f"transom.toml:{line}:3: limits: Rates are counted in one process") == 2
    key = server.issue("d", "developers").key
    assert {server.chat("closed", key).status for _ in range(3)} == {200}


def test_versions_that_come_change_and_go_are_entries(make_server: MakeServer, vendor: Upstream) -> None:
    """However many processes read the files, and however often: what is on record already is not said again."""
    models = NO_ENGINE + MODELS.format(url=vendor.url)
    server = make_server(models, workers=2).start()
    server.stop()
    server.start()

    def said() -> list[tuple[str, str]]:
        return [(each.event, each.version) for each in server.entries() if isinstance(each, ModelEntry)]

    until(said)
    first = said()
    assert {event for event, _ in first} == {"added"}
    assert len(set(first)) == len(first)
    server.home.settings.write_text(models + '[models.late]\nroute = ["vendor"]\n')
    until(lambda: len(said()) > len(first))
    server.home.settings.write_text(models + '[models.late]\nroute = ["vendor"]\nrung = "hosted"\n')
    until(lambda: ("changed", "late@1") in said())
    server.home.settings.write_text(models)
    until(lambda: ("removed", "late@1") in said())
    assert said()[len(first) :] == [("added", "late@1"), ("changed", "late@1"), ("removed", "late@1")]
    entry = next(each for each in server.entries() if isinstance(each, ModelEntry) and each.event == "changed")
    with server.stores() as stores:
        assert entry.by == stores.keys.pseudonym(FILES)
    assert (entry.rung, server.stop()) == ("hosted", 0)
