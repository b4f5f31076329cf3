"""The commands, as somebody on the terminal meets them: what they say, to people and to programs, and how they end."""

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.doors import MODELS, Door, MakeServer
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Upstream
from typer.testing import CliRunner

import transom.storage.migrations
from transom.app.declared import read_running, read_settings
from transom.cli.main import app
from transom.errors import ConfigErrors, StartError
from transom.ledger.acts import LookEntry
from transom.ledger.entry import encode
from transom.ledger.note import open_note, parse_vkey
from transom.storage.migrate import head

ID = "01900000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, vendor: Upstream) -> Iterator[tuple[Server, list[str]]]:
    """A home that has served a little and is at rest; and its decisions: answered, streamed, refused."""
    with Server(tmp_path_factory.mktemp("lived") / "home", NO_ENGINE + MODELS.format(url=vendor.url)) as server:
        server.start()
        developer, student = server.issue("Ada Byron", "developers").key, server.issue("Eve", "students").key
        asked = [
            server.chat("priced", developer, "a question"),
            server.chat("closed", developer, "another", stream=True),
            server.chat("closed", student),
        ]
        decisions = [answer.decision for answer in asked]
        for decision in decisions:
            server.logged(decision)
        server.stop()
        yield server, decisions


@pytest.fixture
def copied(lived: tuple[Server, list[str]], tmp_path: Path) -> Server:
    """A copy of that home, to be harmed."""
    server, _ = lived
    shutil.copytree(server.home.path, tmp_path / "copy")
    return Server(tmp_path / "copy", server.home.settings.read_text())


def test_explain_tells_a_person_the_whole_story(lived: tuple[Server, list[str]]) -> None:
    server, (answered, streamed, refused) = lived
    done = server.run("explain", answered)
    assert (done.returncode, done.stderr) == (0, "")
    for words in (answered, "Ada Byron", "infer", "priced@1", "permit", "developers-use-models", "secrets", "vendor",
                  "HTTP 200", "11 input", "7 output", "EUR", "verified", "kept, encrypted"):  # fmt: skip
        assert words in done.stdout, words
    assert "a question" not in done.stdout
    assert "streamed" in server.run("explain", streamed).stdout
    said = server.run("explain", refused).stdout
    for words in ("Eve", "forbid", "no policy permits", "refused (policy_forbids), HTTP 403"):
        assert words in said, words


def test_explain_tells_a_program_the_whole_story(lived: tuple[Server, list[str]]) -> None:
    server, (answered, *_) = lived
    told = json.loads(server.run("explain", answered, "--json").stdout)
    assert told["id"] == told["decision"]["id"] == told["outcome"]["decision"] == answered
    assert told["decision"]["ruling"]["policies"] == ["developers-use-models"]
    assert told["outcome"]["cost"]["currency"] == "EUR"
    assert told["inclusion"]["verified"] is told["outcome_inclusion"]["verified"] is True
    assert told["content"] == []


def test_explain_shows_what_was_said_to_whoever_says_why(lived: tuple[Server, list[str]], copied: Server) -> None:
    answered, server = lived[1][0], copied
    unsaid = server.run("explain", answered, "--json", "--content")
    assert (unsaid.returncode, unsaid.stdout) == (1, "")
    assert "reason" in unsaid.stderr
    why = ("--reason", "complaint", "--note", "words of the one who looks")
    opened = json.loads(server.run("explain", answered, "--json", "--content", *why).stdout)
    content = {part["part"]: part for part in opened["content"]}
    assert "a question" in content["prompt"]["text"]
    assert content["prompt"]["matches"] is content["answer"]["matches"] is True
    (look,) = server.entries("look/1")
    assert isinstance(look, LookEntry)
    assert (look.decision, look.reason, look.via) == (answered, "complaint", None)
    assert server.holding(b"words of the one who looks") == []


@pytest.mark.parametrize("id_", [ID, "nonsense", "' OR 1=1 --"])
def test_explain_of_nothing(lived: tuple[Server, list[str]], id_: str) -> None:
    done = lived[0].run("explain", id_)
    assert (done.returncode, done.stdout) == (1, "")
    assert "transom-decision" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_log_verifies(lived: tuple[Server, list[str]]) -> None:
    server, _ = lived
    done = server.run("ledger", "verify", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"], told["problems"], told["open"], told["waiting"]) == (0, True, [], [], 0)
    assert told["entries"]["decision/1"] == told["entries"]["outcome/1"] == 3
    assert told["size"] == sum(told["entries"].values())
    assert "Everything verifies" in server.run("ledger", "verify").stdout


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("what", ["a tile of hashes", "a tile of entries", "a row", "a kept content", "a deleted row"])
def test_whatever_is_altered_is_found(copied: Server, what: str) -> None:
    ledger = copied.home.data / "objects" / "ledger" / "tile"
    if what.startswith("a tile"):
        folder = ledger / ("entries" if "entries" in what else "0")
        for path in folder.rglob("*"):
            if path.is_file():
                flip(path)
    else:
        statement = {
            "a row": "UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), 'infer', 'embed') AS BLOB)",
            "a kept content": "UPDATE content SET sealed = CAST(sealed || x'00' AS BLOB)",
            "a deleted row": "DELETE FROM entry WHERE id = (SELECT max(id) FROM entry)",
        }[what]
        with closing(sqlite3.connect(copied.home.data / "transom.db")) as database:
            assert database.execute(statement).rowcount > 0
            database.commit()
    done = copied.run("ledger", "verify", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (1, False)
    assert told["problem_count"] >= 1
    assert all(problem["where"] and problem["what"] for problem in told["problems"])
    spoken = copied.run("ledger", "verify")
    assert spoken.returncode == 1
    assert "problem" in spoken.stdout


def test_the_key_that_verifies_is_printed(lived: tuple[Server, list[str]]) -> None:
    server, _ = lived
    vkey = server.run("ledger", "vkey").stdout.strip()
    checkpoint = (server.home.data / "objects" / "ledger" / "checkpoint").read_bytes()
    assert open_note(checkpoint, [parse_vkey(vkey)]).split("\n")[0] == parse_vkey(vkey).name


def test_models(lived: tuple[Server, list[str]]) -> None:
    server, _ = lived
    listed = {model["name"]: model for model in json.loads(server.run("models", "list", "--json").stdout)}
    assert listed["open@1"]["openness"] == "open-weights"
    assert listed["spare@1"]["route"] == ["dead", "vendor"]
    assert {"two@1", "two@2"} <= listed.keys()
    assert "open-weights" in server.run("models", "list").stdout


def test_the_starter_home(make_server: MakeServer) -> None:
    server = make_server("")
    server.home.settings.unlink()
    listed = {model["name"]: model for model in json.loads(server.run("models", "list", "--json").stdout)}
    model = listed["smollm2-135m-instruct@1"]
    assert (model["rung"], model["openness"], model["route"]) == (
        "downloadable",
        "open-weights",
        ["embedded"],
    )
    done = server.run("config", "check", "--json")
    assert (done.returncode, json.loads(done.stdout)["ok"]) == (0, True)


def test_keys(make_server: MakeServer) -> None:
    server = make_server(NO_ENGINE)
    made = json.loads(
        server.run("keys", "create", "Ada", "--group", "developers", "--group", "auditors", "--json").stdout
    )
    assert made.keys() == {"id", "key"}
    assert re.fullmatch(r"key_[0-9a-f]{16}", made["id"])
    assert re.fullmatch(r"tr_[A-Za-z0-9_-]{43}", made["key"])
    (listed,) = json.loads(server.run("keys", "list", "--json").stdout)
    assert (listed["id"], listed["name"], listed["state"]) == (made["id"], "Ada", "valid")
    assert sorted(listed["groups"]) == ["auditors", "developers"]
    first, second = (json.loads(server.run("keys", "revoke", made["id"], "--json").stdout) for _ in range(2))
    assert (first["changed"], second["changed"]) == (True, False)
    assert "revoked" in server.run("keys", "list").stdout
    assert [entry.event for entry in server.entries("key/1") if hasattr(entry, "event")] == ["issued", "revoked"]


def test_a_machines_key_is_bounded_listed_apart_and_rotated(make_server: MakeServer) -> None:
    server = make_server(NO_ENGINE)
    bounds = ("--service", "--model", "small", "--model", "large@2", "--network", "10.0.0.0/8", "--expires", "90d")
    made = json.loads(server.run("keys", "create", "ci", *bounds, "--json").stdout)
    turned = json.loads(server.run("keys", "rotate", made["id"], "--overlap", "24h", "--json").stdout)
    assert (turned["id"], turned["key"] != made["key"]) == (made["id"], True)
    (listed,) = json.loads(server.run("keys", "list", "--json").stdout)
    assert (listed["service"], listed["models"], listed["networks"]) == (True, ["large@2", "small"], ["10.0.0.0/8"])
    assert listed["overlap_ends"] == turned["overlap_ends"]
    assert round((listed["expires"] - listed["created"]) / 86_400_000) == 90
    shown = server.run("keys", "list").stdout
    assert shown.index("services") < shown.index(made["id"])
    for words in ("large@2, small, 10.0.0.0/8", "the secret before until"):
        assert words in shown
    ended = server.run("keys", "rotate", made["id"], "--overlap", "none")
    assert "the old one opens nothing any more" in ended.stdout
    assert re.search(r"tr_[A-Za-z0-9_-]{43}", ended.stdout)
    assert server.run("keys", "rotate", made["id"], "--overlap", "soon").returncode == 2
    (entry, *_) = server.entries("key/1")
    assert b'"networks":1' in encode(entry)
    assert b"10.0.0.0" not in encode(entry)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("keys", "revoke", "key_0000000000000000"), "No key has the id"),
        (("keys", "rotate", "key_0000000000000000"), "No key has the id"),
        (("keys", "create", "ci", "--network", "home"), "Write a network as 10.0.0.0/8"),
        (("keys", "create", " ", "--group", "developers"), "name"),
        (("keys", "create", "Ada", "--group", "No Group"), "cannot be a group"),
        (("models", "pull", "nonsense"), "nonsense"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    lived: tuple[Server, list[str]], arguments: tuple[str, ...], words: str
) -> None:
    done = lived[0].run(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


GOOD = '[upstreams.u]\nbase_url = "http://127.0.0.1:1/v1"\n[models.m]\nroute = ["u"]\n'


@pytest.mark.parametrize(
    ("settings", "places"),
    [
        (GOOD + "[models.m2]\nroute = [\n", ["transom.toml:"]),
        (GOOD + "[nonsense]\nx = 1\n", ["transom.toml:5:2:", "nonsense"]),
        (GOOD + "[server]\nprot = 1\n", ["transom.toml:6:1:", "prot", "port"]),
        (GOOD + "[server]\nport = 'x'\n", ["transom.toml:6:8:", "whole number"]),
        (GOOD + "[server]\nworkers = 0\n", ["transom.toml:6:11:", "1"]),
        (GOOD + '[models.x]\nroute = ["v"]\n', ["transom.toml:6:", "'v'", "not declared"]),
        (GOOD + '[models.x]\nroute = ["u",\n  "u"]\n', ["transom.toml:7:3:", "models.x.route[1]", "each once"]),
        (GOOD + '[upstreams.v]\nbase_url = "http://127.0.0.1:1"\n', ["transom.toml:5:", "No model's route"]),
        (GOOD.replace("[models", 'speaks = ["openai-embeddings"]\n[models', 1),
         ["transom.toml:5:10:", "kind chat", "openai-chat"]),
        (GOOD.replace("[models", 'speaks = ["gemini-generate"]\n[models', 1) + 'kind = "embedding"\n',
         ["transom.toml:5:10:", "kind embedding", "openai-embeddings"]),
        (GOOD + '[models."m@1"]\nroute = ["u"]\nin_service = true\n', ["transom.toml:5:", "declared twice"]),
        (GOOD + '[models.p]\nroute = ["u"]\nprice = { currency = "EUR", input = "x", output = "1" }\n',
         ["transom.toml:7:", "decimal"]),
        (GOOD + "[safeguards.pii]\n", ["transom.toml:5:", "secrets"]),
        (GOOD + "[server]\nworkers = 2\n[[limits]]\nrequests_per_minute = 1\n", ["transom.toml:7:", "workers = 1"]),
        (GOOD + '[storage]\ndatabase = "postgresql://u:in-the-clear/x@h/n"\n', ["transom.toml:6:12:", "password"]),
        (GOOD.replace("[models", 'key = { env = "NOT_SET_ANYWHERE" }\n[models', 1),
         ["transom.toml:3:7:", "upstreams.u.key", "NOT_SET_ANYWHERE"]),
        (GOOD.replace("[models", 'headers = { x-a = { file = "/not/there" } }\n[models', 1),
         ["transom.toml:3:19:", "upstreams.u.headers.x-a", "/not/there"]),
        (GOOD.replace("[models", 'headers = { host = "x" }\n[models', 1), ["transom.toml:3:20:", "Transom's own"]),
        (GOOD.replace("http:", "https:").replace("[models", 'ca_file = "/not/there"\n[models', 1),
         ["transom.toml:3:11:", "upstreams.u.ca_file", "/not/there"]),
        (GOOD + "[[limits]]\nrequests_per_minute = 0\n", ["transom.toml:6:23:"]),
        (GOOD.replace("[models", 'key = "sk-in-the-clear-0123456789"\n[models', 1), ["transom.toml:3:7:", "env"]),
        (GOOD + '[retention]\ndefault = "soon"\n', ["transom.toml:6:11:", "30d"]),
    ],
)  # fmt: skip
def test_settings_that_are_wrong_are_said_with_place_and_remedy(
    make_server: MakeServer, settings: str, places: list[str]
) -> None:
    """What `transom config check` prints (the test below runs it), without the start of a process each."""
    home = make_server(settings).home
    with pytest.raises(ConfigErrors) as raised:
        read_running(home, read_settings(home))
    said = str(raised.value)
    for place in (*places, str(home.settings)):
        assert place in said, said
    assert "in-the-clear" not in said


def test_every_problem_is_said_at_once(make_server: MakeServer) -> None:
    server = make_server(GOOD + '[server]\nport = -1\nhots = "x"\n[models.x]\nroute = 7\n')
    done = server.run("config", "check")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.findall(r"transom\.toml:(\d+):", done.stderr) == ["6", "7", "9"]
    assert "Traceback" not in done.stderr


def test_everything_that_is_named_and_not_there_is_said_at_once(make_server: MakeServer) -> None:
    settings = """
[upstreams.u]
base_url = "http://127.0.0.1:1/v1"
key = { env = "NOT_SET_ANYWHERE" }
[upstreams.v]
base_url = "https://127.0.0.1:1/v1"
ca_file = "/not/there.pem"
[models.m]
route = ["u", "v"]
[safeguards.secrets]
"""
    done = make_server(settings, policies='@id("all") permit (principal, action, resource);').run("config", "check")
    assert (done.returncode, done.stdout) == (1, "")
    assert sorted(re.findall(r"transom\.toml:(\d+):\d+: (\S+):", done.stderr)) == [
        ("10", "safeguards.secrets"),
        ("4", "upstreams.u.key"),
        ("7", "upstreams.v.ca_file"),
    ]
    for words in ("NOT_SET_ANYWHERE", "/not/there.pem", '@safeguards("secrets")'):
        assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("database", "command"),
    [
        ('"in-the-clear"', ("config", "check")),
        ('{ env = "TEST_DATABASE" }', ("config", "check")),
        ('{ env = "TEST_DATABASE" }', ("up", "--port", "0")),
        ('{ env = "TEST_DATABASE" }', ("keys", "list")),
    ],
)
def test_a_database_that_cannot_be_is_said_with_its_place(
    make_server: MakeServer, database: str, command: tuple[str, ...]
) -> None:
    url = "postgresql://u:in-the-clear@h:in-the-clear/n"
    server = make_server(f"{GOOD}[storage]\ndatabase = {database}\n", environment={"TEST_DATABASE": url})
    done = server.run(*command)
    assert done.returncode == 1
    assert "transom.toml:6:12: storage.database: " in done.stderr
    assert "in-the-clear" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_of_a_newer_version_is_left_alone(copied: Server) -> None:
    with closing(sqlite3.connect(copied.home.data / "transom.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'v9999'")
        database.commit()
    done = copied.run("keys", "create", "Ada")
    assert (done.returncode, done.stdout) == (1, "")
    assert "newer version of Transom: its schema is v9999" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_starter_policies_are_printed_as_they_are_written(copied: Server) -> None:
    done = copied.run("config", "starter")
    assert (done.returncode, done.stdout) == (0, (copied.home.policies / "starter.cedar").read_text())


def test_no_command_brings_an_older_database_up_to_date(
    copied: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if this build had one step more than the one that the home was served with."""
    steps = tmp_path / "migrations"
    shutil.copytree(next(iter(transom.storage.migrations.__path__)), steps)
    step = f'revision = "9998"\ndown_revision = "{head()}"\ndef upgrade():\n    pass\n'
    (steps / "versions" / "v9998_next.py").write_text(step)
    monkeypatch.setattr("transom.storage.migrate._MIGRATIONS", steps)
    monkeypatch.setenv("TRANSOM_HOME", str(copied.home.path))
    for _ in range(2):
        result = CliRunner().invoke(app, ["keys", "list"])
        assert isinstance(result.exception, StartError)
        assert "run `transom up` once" in str(result.exception)


def test_rates_and_workers(make_server: MakeServer) -> None:
    """What counts is how many processes really serve: the option goes before the file."""
    limits = GOOD + "[[limits]]\nrequests_per_minute = 1\n"
    done = make_server(limits).run("up", "--port", "0", "--workers", "2")
    assert done.returncode == 1
    assert re.search(r"transom\.toml:5:\d+: limits: .*across 2 workers", done.stderr)
    server = make_server(limits + "[server]\nworkers = 2\n")
    assert server.run("config", "check").returncode == 1
    server.start()  # with --workers 1
    assert server.get("/healthz").status == 200


def test_help_names_every_command(lived: tuple[Server, list[str]]) -> None:
    done = lived[0].run("--help")
    for command in ("up", "explain", "keys", "models", "ledger", "config"):
        assert re.search(rf"\b{command}\b", done.stdout)


def test_two_doors_do_not_serve_one_home(sqlite_door: Door) -> None:
    done = sqlite_door.server.run("up", "--port", "0")
    assert done.returncode == 1
    assert "Another Transom serves" in done.stderr


def test_a_port_that_is_taken_is_said(make_server: MakeServer, sqlite_door: Door) -> None:
    done = make_server(NO_ENGINE + GOOD).run("up", "--port", str(sqlite_door.server.port))
    assert done.returncode == 1
    assert "--port" in done.stderr


def test_a_home_that_cannot_be_written_is_said(make_server: MakeServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = make_server(NO_ENGINE).run("keys", "list", environment={"TRANSOM_HOME": str(tmp_path / "file" / "home")})
    assert done.returncode == 1
    assert "TRANSOM_HOME" in done.stderr
