"""`transom import litellm`: from the terminal to a door that serves."""

import json
from pathlib import Path

import pytest
from tests.coming_from.configs import KEYS, REALISTIC, TEAMS, VARIABLES
from tests.support.doors import MakeServer
from tests.support.upstream import Upstream
from typer.testing import CliRunner

from transom.cli.main import app
from transom.errors import ConfigError, StartError

FILES = ["transom.toml", "policies/starter.cedar", "policies/from-litellm.cedar", "create-keys.sh"]


@pytest.fixture
def sources(tmp_path: Path) -> list[str]:
    """The command's arguments for files that are there."""
    for name, data in (("config.yaml", REALISTIC.encode()), ("keys.json", KEYS), ("teams.json", TEAMS)):
        (tmp_path / name).write_bytes(data)
    config, keys, teams = (str(tmp_path / name) for name in ("config.yaml", "keys.json", "teams.json"))
    return ["import", "litellm", config, "--keys", keys, "--keys", teams]


def test_what_is_written_serves(
    tmp_path: Path, sources: list[str], make_server: MakeServer, vendor: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_URL", vendor.url)
    done = CliRunner().invoke(app, [*sources, "--into", str(tmp_path / "made")])
    assert done.exit_code == 0, done.output
    assert "model_list[9].litellm_params.model: Transom speaks to Amazon Bedrock" in done.output
    assert "Set these where Transom is started: AZURE_EU_KEY, OPENAI_API_KEY" in done.output
    written = tmp_path / "made"
    assert all((written / name).is_file() for name in FILES)
    server = make_server(
        (written / "transom.toml").read_text(),
        policies=(written / "policies" / "from-litellm.cedar").read_text(),
        environment=dict.fromkeys(VARIABLES, "a-key"),
    )
    server.start()
    free = server.issue("free", "litellm").key
    team = server.issue("team", "data-science").key
    assert server.chat("local", free).json["choices"][0]["message"]["content"] == "A fine answer."
    assert vendor.find("meta-llama/Llama-3.1-8B-Instruct").json["model"] == "meta-llama/Llama-3.1-8B-Instruct"
    assert server.chat("local", team).status == 403


def test_nothing_is_overwritten(tmp_path: Path, sources: list[str]) -> None:
    mine = tmp_path / "mine" / "transom.toml"
    mine.parent.mkdir()
    mine.write_text("# mine\n")
    done = CliRunner().invoke(app, [*sources, "--into", str(mine.parent)])
    assert isinstance(done.exception, StartError)
    assert f"{mine} is there already" in str(done.exception)
    assert [path.name for path in mine.parent.iterdir()] == ["transom.toml"]
    assert mine.read_text() == "# mine\n"


def test_a_dry_run_only_says_what_would_be(tmp_path: Path, sources: list[str]) -> None:
    done = CliRunner().invoke(app, [*sources, "--into", str(tmp_path / "made"), "--dry-run", "--json"])
    assert done.exit_code == 0
    said = json.loads(done.output)
    assert said["folder"] is None
    assert sorted(said["files"]) == sorted(FILES)
    assert {"file", "line", "place", "what"} == set(said["not_carried"][0])
    assert not (tmp_path / "made").exists()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["import", "litellm", str(tmp_path / "none.yaml")])
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception).startswith(f"{tmp_path / 'none.yaml'}: cannot be read")
