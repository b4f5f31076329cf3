"""`transom verify`, as a stranger runs it: with files and a public key, on a machine that has no home."""

import gzip
import http.server
import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.support.doors import MODELS
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Upstream
from typer.testing import CliRunner, Result
from typing_extensions import override

from transom.cli.main import app
from transom.errors import TransomError
from transom.ledger.cosign import Cosigner

CLOSED = """
@id("operators-everything") permit (principal in Group::"operators", action, resource);
@id("developers-ask") permit (principal in Group::"developers", action == Action::"infer", resource);
@id("own") permit (principal, action == Action::"read_receipt", resource) when { context.own };
"""
BODY = b'{"model": "open", "messages": [{"role": "user", "content": "Is it true?"}]}'


class Kept(NamedTuple):
    """What a caller keeps in a folder, and the door that it came from."""

    folder: Path
    server: Server
    key: str
    operator: str

    def file(self, name: str) -> str:
        return str(self.folder / name)

    @property
    def vkey(self) -> str:
        return (self.folder / "vkey").read_text().strip()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, vendor: Upstream) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("kept")
    settings = NO_ENGINE + MODELS.format(url=vendor.url)
    with Server(tmp_path_factory.mktemp("verify") / "home", settings, policies=CLOSED) as server:
        server.start()
        key, operator = server.issue("d", "developers").key, server.issue("o", "operators").key
        answer = server.ask("POST", "/v1/chat/completions", key=key, body=BODY, headers={"transom-receipt": "yes"})
        until = time.monotonic() + 10
        while (proof := server.get(f"/receipts/{answer.decision}.tlog-proof", key)).status != 200:
            assert time.monotonic() < until
            time.sleep(0.05)
        said = {
            "prompt": BODY,
            "answer": answer.body,
            "header": answer.headers["transom-receipt"].encode() + b"\n",
            "receipt": server.get(f"/receipts/{answer.decision}", key).body,
            "proof": proof.body,
            "vkey": server.run("ledger", "vkey").stdout.encode(),
        }
        for name, data in said.items():
            (folder / name).write_bytes(data)
        yield Kept(folder, server, key, operator)


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A home that does not exist, and still does not afterwards."""
    home = tmp_path / "no home"
    monkeypatch.setenv("TRANSOM_HOME", str(home))
    yield
    assert not home.exists()


def verify(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, ["verify", *arguments], env=environment)


def problem(result: Result) -> str:
    assert result.exit_code == 1
    assert isinstance(result.exception, TransomError), result.exception
    return str(result.exception)


@pytest.mark.parametrize("receipt", ["receipt", "header", "proof"])
def test_a_receipt_and_all_that_it_proves(kept: Kept, receipt: str) -> None:
    given = [f"--{name}={kept.file(name)}" for name in ("prompt", "answer", "proof", "vkey")]
    done = verify("receipt", kept.file(receipt), *given)
    assert done.exit_code == 0, done.output
    assert "✗" not in done.output
    for words in ("signed this receipt", "The prompt is the very one", "The answer is the very one", "status 200"):
        assert words in done.output, words
    told = json.loads(verify("receipt", kept.file(receipt), *given, "--json").output)
    assert told["ok"] is True
    assert {step["said"] for step in told["steps"]} == {"holds"}


def test_the_key_may_be_given_as_text_as_a_file_or_in_the_environment(kept: Kept) -> None:
    several = kept.folder / "keys"
    another = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
    several.write_text(f"# ours\n\n{another}\n{kept.vkey}\n")
    for given in (["--vkey", kept.vkey], ["--vkey", kept.file("vkey")], ["--vkey", str(several)]):
        assert verify("receipt", kept.file("receipt"), *given).exit_code == 0
    assert verify("receipt", kept.file("receipt"), TRANSOM_VKEY=kept.vkey).exit_code == 0
    assert "Say which key you trust" in problem(verify("receipt", kept.file("receipt")))


@pytest.mark.parametrize("name", ["prompt", "answer", "receipt", "header", "proof", "vkey"])
def test_what_was_altered_is_refused(kept: Kept, tmp_path: Path, name: str) -> None:
    for at in (0.1, 0.5, 0.9):
        data = bytearray((kept.folder / name).read_bytes())
        data[int(at * len(data))] ^= 1
        shutil.copytree(kept.folder, tmp_path / f"{at}")
        (tmp_path / f"{at}" / name).write_bytes(data)
        given = [f"--{each}={tmp_path / f'{at}' / each}" for each in ("prompt", "answer", "proof", "vkey")]
        receipt = name if name == "header" else "receipt"
        done = verify("receipt", str(tmp_path / f"{at}" / receipt), *given)
        assert done.exit_code == 1
        assert "✗" in done.output or isinstance(done.exception, TransomError)


def test_a_proof_with_its_own_entry_or_another(kept: Kept, tmp_path: Path) -> None:
    done = verify("proof", kept.file("proof"), "--vkey", kept.vkey)
    assert done.exit_code == 0, done.output
    contents = ["--prompt", kept.file("prompt"), "--answer", kept.file("answer")]
    assert verify("proof", kept.file("proof"), *contents, "--vkey", kept.vkey).exit_code == 0
    other = tmp_path / "entry"
    other.write_bytes(b"{}")
    done = verify("proof", kept.file("proof"), "--entry", str(other), "--vkey", kept.vkey)
    assert (done.exit_code, "✗" in done.output) == (1, True)
    assert "no proof file" in problem(verify("proof", kept.file("receipt"), "--vkey", kept.vkey))
    assert "no receipt" in problem(verify("receipt", kept.file("prompt"), "--vkey", kept.vkey))


def test_witnesses_are_held_to(kept: Kept) -> None:
    witness = Cosigner("witness.example/w", bytes(32)).verifier.vkey
    both = ["--vkey", kept.vkey, "--witness", witness]
    for done in (
        verify("proof", kept.file("proof"), *both),
        verify("receipt", kept.file("receipt"), "--proof", kept.file("proof"), *both),
    ):
        assert done.exit_code == 1
        assert "✗ The checkpoint is cosigned by nobody; 1 of 1 witnesses were wanted." in done.output
    assert "give the receipt's --proof" in problem(verify("receipt", kept.file("receipt"), *both))
    assert "A quorum of 2" in problem(verify("proof", kept.file("proof"), *both, "--quorum", "2"))


def test_a_person_is_told_in_a_line_and_a_program_by_the_status(kept: Kept, tmp_path: Path) -> None:
    environment = {"TRANSOM_HOME": str(tmp_path / "no home")}
    done = kept.server.run(
        "verify", "receipt", kept.file("receipt"), "--vkey", str(tmp_path / "none"), environment=environment
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot be read" in done.stderr
    assert done.stderr.count("\n") == 1
    arguments = ["receipt", kept.file("receipt"), "--prompt", kept.file("answer"), "--vkey", kept.vkey]
    done = kept.server.run("verify", *arguments, environment=environment)
    assert (done.returncode, done.stderr) == (1, "")
    assert "✗ The prompt is another than the receipt was given for" in done.stdout


def test_a_closed_log_is_read_by_whom_it_is_open_to(kept: Kept) -> None:
    url = f"{kept.server.url}/ledger"
    done = verify("log", url, "--vkey", kept.vkey, TRANSOM_KEY=kept.operator)
    assert done.exit_code == 0, done.output
    assert "Everything verifies." in done.output
    assert "401" in problem(verify("log", url, "--vkey", kept.vkey))
    assert "403" in problem(verify("log", url, "--vkey", kept.vkey, TRANSOM_KEY=kept.key))
    for wrong in ("ftp://example.com/x", "http://", "http://127.0.0.1:1/x"):
        assert problem(verify("log", wrong, "--vkey", kept.vkey))


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a log's files as a static server does that packs them unasked."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        @override
        def do_GET(self) -> None:
            file = folder / self.path.removeprefix("/")
            data = gzip.compress(file.read_bytes()) if file.is_file() else b""
            self.send_response(200 if file.is_file() else 404)
            self.send_header("content-encoding", "gzip")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        @override
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def test_a_copied_log_is_checked_as_files_and_behind_any_server(kept: Kept, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(kept.server.home.data / "objects", copy)
    log = copy / "ledger"
    vkey = ["--vkey", kept.vkey]
    with serving(log) as url:
        for where in (str(copy), str(log), url):
            done = verify("log", where, *vkey)
            assert done.exit_code == 0, done.output
        told = json.loads(verify("log", url, *vkey, "--json").output)
        assert (told["ok"], told["problems"]) == (True, [])
        assert told["entries"]["decision/1"] >= 1
        for file in sorted(log.rglob("*")):
            if not file.is_file():
                continue
            whole = file.read_bytes()
            file.write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
            reads_it = file.name == "checkpoint" or file.name in {tile.name for tile in newest(log)}
            for where in (str(log), url):
                done = verify("log", where, *vkey)
                # Partial tiles of smaller sizes are not asked for over HTTP, which cannot list them.
                assert done.exit_code == 1 or (where == url and not reads_it), (file, where, done.output)
            file.write_bytes(whole)
    assert "holds no log" in problem(verify("log", str(tmp_path), *vkey))


def newest(log: Path) -> list[Path]:
    """The widest partial tile of each folder, which is what the newest checkpoint needs."""
    folders = {file.parent for file in log.rglob("*.p/*")}
    return [max(folder.iterdir(), key=lambda file: int(file.name)) for folder in folders]
