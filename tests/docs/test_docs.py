"""What the documents say is so."""

import inspect
import re
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from transom import errors
from transom.app.declared import SECTIONS, read_running, read_settings
from transom.app.home import Home, prepare
from transom.callers.settings import OidcSettings
from transom.cli.main import app
from transom.decisions import life
from transom.registry.settings import ModelSettings
from transom.upstreams.settings import Timeouts, UpstreamSettings

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text())
    missing = [link for link in links if not (document.parent / link).exists()]
    assert missing == []


def _structs() -> list[tuple[str, type[msgspec.Struct]]]:
    plain = [(name, wanted) for name, wanted in SECTIONS.items() if isinstance(wanted, type)]
    return [*plain, ("models", ModelSettings), ("upstreams", UpstreamSettings), ("oidc", OidcSettings)]


@pytest.mark.parametrize(("section", "struct"), _structs(), ids=str)
def test_every_setting_is_documented(section: str, struct: type[msgspec.Struct]) -> None:
    said = (ROOT / "docs" / "operating.md").read_text()
    fields = [field.encode_name for field in msgspec.structs.fields(struct)]
    assert f"[{section}" in said
    assert [field for field in fields if f"`{field}`" not in said] == []


def test_every_timeout_is_documented_with_its_default() -> None:
    said = (ROOT / "docs" / "operating.md").read_text()
    for field in msgspec.structs.fields(Timeouts):
        assert f"{field.name} {field.default:g}" in said


def test_the_readmes_five_lines_are_taken_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (lines,) = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(lines.splitlines()) == 5
    home = Home(tmp_path)
    prepare(home)
    home.settings.write_text(home.settings.read_text() + lines)
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-real-one")
    running = read_running(home, read_settings(home))
    assert {version.model for version in running.registry.versions} >= {"smollm2-135m-instruct", "gpt-5-mini"}


def test_every_command_that_a_document_shows_exists() -> None:
    shown = {
        tuple(match.split())
        for document in DOCUMENTS
        for match in re.findall(
            r"(?:`|/bin/)transom "
            r"((?:callers|config|decisions|import|keys|ledger|limits|models|verify) [a-z-]+|up|explain|reconcile)\b",
            document.read_text(),
        )
    }
    assert shown
    for words in sorted(shown):
        result = CliRunner().invoke(app, [*words, "--help"])
        assert result.exit_code == 0, words


def test_the_error_tree_is_drawn_whole() -> None:
    drawn = errors.__doc__ or ""
    defined = [
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    ]
    assert [name for name in defined if not re.search(rf"\b{name}\b", drawn)] == []


def test_every_refusal_is_drawn_with_its_status() -> None:
    drawn = errors.__doc__ or ""
    for refusal in errors.Refusal.__subclasses__():
        assert re.search(rf"{refusal.__name__} +{refusal.status}\b", drawn), refusal


def test_a_decisions_ends_are_drawn() -> None:
    drawn = life.__doc__ or ""
    assert [status for status in life.STATUSES if status not in drawn] == []
