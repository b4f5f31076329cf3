"""A process's life: it starts, says that it is ready, keeps everything, ends clean, and comes back."""

import json
import os
import signal
import stat
import threading
import time

from tests.support.doors import MODELS, MakeServer
from tests.support.server import NO_ENGINE, Answer
from tests.support.upstream import Script, Upstream

from transom.ledger.acts import PolicyEntry, SettingsEntry


def test_a_restart_keeps_everything(make_server: MakeServer, vendor: Upstream) -> None:
    server = make_server(NO_ENGINE + MODELS.format(url=vendor.url)).start()
    key = server.issue("d", "developers").key
    before = server.chat("closed", key).decision
    first = server.output
    assert first.count("tr_") == 3  # the first key, and the two examples that show it
    assert server.stop() == 0
    server.start()
    assert server.output.count("tr_") == 3
    assert server.chat("closed", key).status == 200
    assert server.logged(before).outcome is not None
    assert server.stop() == 0
    report = json.loads(server.run("ledger", "verify", "--json").stdout)
    assert (report["ok"], report["open"], report["waiting"]) == (True, [], 0)
    assert len([entry for entry in server.entries() if isinstance(entry, PolicyEntry | SettingsEntry)]) == 4


def test_what_a_kill_leaves_open_is_interrupted(make_server: MakeServer, vendor: Upstream) -> None:
    server = make_server(NO_ENGINE + MODELS.format(url=vendor.url)).start()
    key = server.issue("d", "developers").key
    vendor.scripts["killed"] = Script(delay=30)

    def ask() -> None:
        try:
            server.chat("closed", key, "script killed")
        except OSError:
            return
        raise AssertionError("it was answered by a dead process")

    asking = threading.Thread(target=ask)
    asking.start()
    vendor.find("script killed")
    until = time.monotonic() + 5
    while not server.entries("decision/1"):
        assert time.monotonic() < until
        time.sleep(0.02)
    server.kill()
    asking.join(10)
    assert not asking.is_alive()
    server.start()
    outcome = server.story(server.newest()).outcome
    assert outcome is not None
    assert (outcome.status, outcome.http_status) == ("interrupted", None)
    assert "interrupted" in server.log


def test_an_answer_under_way_is_finished_at_the_end(make_server: MakeServer, vendor: Upstream) -> None:
    server = make_server(NO_ENGINE + MODELS.format(url=vendor.url)).start()
    key = server.issue("d", "developers").key
    hold = threading.Event()
    vendor.scripts["slow end"] = vendor.scripts["slow"] = Script(hold=hold)
    answers: list[Answer] = []
    asking = threading.Thread(target=lambda: answers.append(server.chat("closed", key, "script slow end")))
    asking.start()
    vendor.find("script slow end")
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    until = time.monotonic() + 5
    while True:  # nobody new is let in
        try:
            server.get("/healthz")
        except OSError:
            break
        assert time.monotonic() < until
        time.sleep(0.02)
    hold.set()
    asking.join(10)
    assert answers[0].status == 200
    assert server.process.wait(10) == 0
    outcome = server.story(answers[0].decision).outcome
    assert outcome is not None
    assert outcome.status == "answered"


def test_a_client_that_does_not_end_does_not_keep_the_process(make_server: MakeServer, vendor: Upstream) -> None:
    server = make_server(NO_ENGINE + "[server]\ndrain_seconds = 1\n" + MODELS.format(url=vendor.url)).start()
    key = server.issue("d", "developers").key
    vendor.scripts["endless"] = Script(delay=60)

    def ask() -> None:
        try:
            server.chat("closed", key, "script endless")
        except OSError:
            return

    asking = threading.Thread(target=ask)
    asking.start()
    vendor.find("script endless")
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 8
    asking.join(10)
    outcome = server.story(server.newest()).outcome
    assert outcome is not None
    assert outcome.status == "interrupted"
    assert json.loads(server.run("ledger", "verify", "--json").stdout)["open"] == []


def test_secrets_of_the_home_are_for_its_owner_only(make_server: MakeServer, vendor: Upstream) -> None:
    server = make_server(NO_ENGINE + MODELS.format(url=vendor.url)).start()
    assert stat.S_IMODE(server.home.data.stat().st_mode) == 0o700
    keys = [path for path in (server.home.data / "keys").rglob("*") if path.is_file()]
    assert keys
    for path in keys:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert path.stat().st_uid == os.getuid()


def test_metrics_count_what_was_decided(make_server: MakeServer, vendor: Upstream) -> None:
    server = make_server(NO_ENGINE + MODELS.format(url=vendor.url)).start()
    key = server.issue("d", "developers").key
    for model in ("closed", "closed", "lost", "nonsense\u2028nonsense"):
        server.chat(model, key)
    server.chat("closed", None)
    until = time.monotonic() + 5
    while 'transom_decisions_total{action="infer",model="lost@1",status="failed"} 1.0' not in (
        text := server.get("/metrics").body.decode()
    ):
        assert time.monotonic() < until, text
        time.sleep(0.05)
    for line in (
        'transom_decisions_total{action="infer",model="closed@1",status="answered"} 2.0',
        'transom_tokens_total{class="input",model="closed@1"} 22.0',
        'transom_upstream_attempts_total{result="UpstreamUnreachable",upstream="dead"} 1.0',
        'transom_unidentified_total{reason="no key"} 1.0',
    ):
        assert line in text, text
    # Labels are of what is declared, never of what a client wrote.
    assert "nonsense" not in text
