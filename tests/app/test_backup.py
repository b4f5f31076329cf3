"""Backups under load, and homes made of them: everything that was durable is there, verifies, and goes on."""

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.doors import MODELS
from tests.support.record import verify
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Script, Upstream

from transom.app.backup import read_manifest
from transom.ledger.entry import OutcomeEntry
from transom.ledger.tiles import CHECKPOINT

pytestmark = pytest.mark.slow


def settings(vendor: Upstream) -> str:
    return NO_ENGINE + MODELS.format(url=vendor.url)


def restored(server: Server, folder: Path, other: Server) -> Server:
    """Make `other` of a backup of `server`."""
    done = other.run("restore", str(folder), "--keys", str(server.home.data / "keys"), "--unpublished")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything verifies" in done.stdout
    return other


def settings_text(server: Server) -> str:
    return server.home.settings.read_text()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_backup_under_load_is_a_home_again(tmp_path: Path, vendor: Upstream, postgres_url: str, kind: str) -> None:
    """And of the other kind: what is backed up from one database is restored into the other."""
    vendor.scripts["held"] = Script(hold=threading.Event())
    here, there = (postgres_url, None) if kind == "postgresql" else (None, postgres_url)
    with Server(tmp_path / "home", settings(vendor), database=here) as server:
        server.start()
        before = server.chat("closed", server.key, "before").decision
        forgotten = server.chat("closed", server.key, "forget me").decision
        assert server.run("erase", "--decision", str(forgotten), "--yes").returncode == 0
        held = threading.Thread(target=server.chat, args=("closed", server.key, "script held"), kwargs={"stream": True})
        held.start()
        vendor.find("script held")
        stop = threading.Event()

        def load() -> None:
            while not stop.is_set():
                server.chat("closed", server.key, "meanwhile")

        callers = [threading.Thread(target=load) for _ in range(4)]
        for each in callers:
            each.start()
        done = server.run("backup", str(tmp_path / "backup"), "--json")
        stop.set()
        for each in callers:
            each.join()
        after = server.chat("closed", server.key, "after").decision
        vendor.scripts["held"].hold.set()  # type: ignore[union-attr] # given above
        held.join(10)
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert said["rows"]["entry"] > said["rows"]["key"] > 0
        assert server.stop() == 0
        verify(server)

    home = Server(tmp_path / "again", settings(vendor), database=there)
    with restored(server, tmp_path / "backup", home) as again:
        assert set(again.story(before).kept) == {"prompt", "answer"}
        assert again.story(forgotten).kept == ()
        interrupted = [e for e in again.entries() if isinstance(e, OutcomeEntry) and e.status == "interrupted"]
        assert interrupted
        again.start()
        answer = again.chat("closed", server.key, "a key of before opens")
        assert answer.status == 200
        again.logged(answer.decision)
        assert again.run("explain", str(after)).returncode == 1  # it came later than the backup
        assert again.stop() == 0
        verify(again)


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory, vendor: Upstream) -> tuple[Server, Path, str]:
    """A home at rest, its backup, and a decision in it."""
    folder = tmp_path_factory.mktemp("backed-up")
    with Server(folder / "home", settings(vendor)) as server:
        server.start()
        decision = server.chat("closed", server.key, "kept").decision
        server.logged(decision)
        assert server.stop() == 0
    done = server.run("backup", str(folder / "backup"))
    assert done.returncode == 0, done.stderr
    assert "record-keys/" in done.stdout
    return server, folder / "backup", decision


def test_whoever_deletes_a_backups_keys_has_erased_its_contents(
    backed_up: tuple[Server, Path, str], tmp_path: Path
) -> None:
    server, folder, decision = backed_up
    shutil.copytree(folder, tmp_path / "older")
    shutil.rmtree(tmp_path / "older" / "record-keys")
    other = Server(tmp_path / "home", settings_text(server))
    other.home.settings.unlink()  # those of the backup are put there
    restored(server, tmp_path / "older", other)
    assert settings_text(other) == settings_text(server)
    assert other.story(decision).kept == ()
    assert len(other.entries("erasure/1")) == 1
    assert other.run("ledger", "verify").returncode == 0


def test_no_second_history_is_signed(backed_up: tuple[Server, Path, str], tmp_path: Path) -> None:
    server, folder, _ = backed_up
    newer = Server(tmp_path / "newer", settings_text(server))
    shutil.rmtree(newer.home.path)
    shutil.copytree(server.home.path, newer.home.path)
    with newer.start():
        newer.logged(newer.chat("closed", server.key, "later").decision)
    note = newer.home.data / "objects" / CHECKPOINT
    for arguments, objects in ((("--published", str(note)), False), (("--unpublished",), True)):
        other = Server(tmp_path / f"other-{objects}", settings_text(server))
        if objects:  # the door's own, which nobody but the door has read
            shutil.copytree(newer.home.data / "objects", other.home.data / "objects")
        done = other.run("restore", str(folder), "--keys", str(server.home.data / "keys"), *arguments)
        assert done.returncode == 1
        assert "sign a second history" in done.stderr.replace("\n", " ")
        assert not (other.home.data / "transom.db").exists()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "rows" / "entry.rows").write_bytes(b"x"), "is not what the manifest says"),
        (lambda folder: (folder / "rows" / "entry.rows").unlink(), "is missing"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "cannot be read"),
        (lambda folder: (folder / "manifest.json").unlink(), "is no backup"),
    ],
)
def test_a_damaged_backup_is_refused_before_anything_is_written(
    backed_up: tuple[Server, Path, str], tmp_path: Path, harm: Callable[[Path], object], said: str
) -> None:
    server, folder, _ = backed_up
    shutil.copytree(folder, tmp_path / "copy")
    harm(tmp_path / "copy")
    other = Server(tmp_path / "home", settings_text(server))
    done = other.run("restore", str(tmp_path / "copy"), "--unpublished", "--keys", str(server.home.data / "keys"))
    assert done.returncode == 1
    assert said in done.stderr
    assert not (other.home.data / "transom.db").exists()


def test_what_is_in_the_way_is_said(backed_up: tuple[Server, Path, str], tmp_path: Path) -> None:
    server, folder, _ = backed_up
    keys = ("--keys", str(server.home.data / "keys"))
    assert "is there already" in server.run("backup", str(folder)).stderr
    assert "--published" in server.run("restore", str(folder)).stderr
    assert "is not empty" in server.run("restore", str(folder), "--unpublished").stderr
    fresh = Server(tmp_path / "fresh", settings_text(server))
    fresh.home.settings.unlink()
    assert "keys are neither in" in fresh.run("restore", str(folder), "--unpublished").stderr
    strange = Server(tmp_path / "strange", settings_text(server))
    strange.run("keys", "list")  # makes keys of its own
    shutil.rmtree(strange.home.data / "objects", ignore_errors=True)
    assert "keys of another door" in strange.run("restore", str(folder), "--unpublished", *keys).stderr


def test_a_backup_says_what_it_holds_and_keeps_the_doors_secrets_out(backed_up: tuple[Server, Path, str]) -> None:
    server, folder, _ = backed_up
    manifest = read_manifest(folder)
    assert manifest.files.keys() == {
        str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file() and file.name != "manifest.json"
    }
    assert "home/transom.toml" in manifest.files
    assert not [name for name in manifest.files if name.startswith("keys/")]
    with server.stores() as stores:
        assert manifest.vkey == stores.keys.vkey
    secrets = [file.read_bytes().strip() for file in (server.home.data / "keys").iterdir()]
    for file in folder.rglob("*"):
        assert not file.is_file() or not any(secret in file.read_bytes() for secret in secrets)
