"""The log over HTTP: to a stranger, to an auditor of a closed log, as plain files, from a store that serves itself."""

import functools
import http.server
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import from_url
from tests.ledger import outsider
from tests.support.doors import MODELS, Door
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Upstream
from typing_extensions import override

from transom.ledger.tiles import headers_of
from transom.storage.objects import Objects

CLOSED = """
@id("operators-everything") permit (principal in Group::"operators", action, resource);
@id("auditors-read") permit (principal in Group::"auditors", action == Action::"read_ledger", resource);
"""


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory, vendor: Upstream) -> Iterator[Door]:
    """A door whose log is for auditors."""
    home = tmp_path_factory.mktemp("closed") / "home"
    with Server(home, NO_ENGINE + MODELS.format(url=vendor.url), policies=CLOSED) as server:
        yield Door(server.start(), vendor)


def vkey(server: Server) -> str:
    with server.stores() as stores:
        return stores.keys.vkey


def fetch(prefix: str, path: str) -> bytes | None:
    """What a GET answers, to somebody without any key."""
    try:
        with urllib.request.urlopen(f"{prefix}/{path}", timeout=20) as answer:
            assert answer.status == 200
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        error.close()
        assert error.code == 404  # noqa: PT017 - anything else fails the test, as it should
        return None


def a_tile(server: Server, key: str | None = None) -> str:
    """The path of a tile that the log has now."""
    size = int(server.get("/ledger/checkpoint", key).text.split("\n")[1])
    return f"/ledger/tile/entries/000.p/{size}" if size < 256 else "/ledger/tile/entries/000"


def test_a_stranger_verifies_the_log_over_http(door: Door) -> None:
    door.server.logged(door.server.chat("open", door.key()).decision)
    entries = outsider.verify_log(functools.partial(fetch, f"{door.server.url}/ledger"), vkey(door.server))
    assert len(entries) > 2


def test_what_is_open_may_be_kept_by_anyone(door: Door) -> None:
    checkpoint = door.server.get("/ledger/checkpoint")
    assert checkpoint.headers["cache-control"] == "no-cache"
    assert checkpoint.headers["content-type"] == "text/plain; charset=utf-8"
    tile = door.server.get(a_tile(door.server))
    assert tile.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert tile.headers["content-type"] == "application/octet-stream"
    assert "vary" not in tile.headers


def test_what_was_shown_to_somebody_is_for_no_shared_cache(closed: Door) -> None:
    key = closed.key("auditors")
    path = a_tile(closed.server, key)
    tile, checkpoint = closed.server.get(path, key), closed.server.get("/ledger/checkpoint", key)
    assert tile.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert checkpoint.headers["cache-control"] == "private, no-cache"
    assert tile.headers["vary"] == checkpoint.headers["vary"] == "authorization, x-api-key, x-goog-api-key"
    assert closed.server.get(path).status == 401
    assert closed.server.get(path, closed.key("students")).status == 403


def test_a_copied_folder_is_the_same_log(door: Door, tmp_path: Path) -> None:
    """Served by something that knows nothing of Transom."""
    folder = door.server.home.data / "objects" / "ledger"
    (tmp_path / "checkpoint").write_bytes((folder / "checkpoint").read_bytes())
    shutil.copytree(folder / "tile", tmp_path / "tile")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        @override
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        prefix = f"http://127.0.0.1:{server.server_port}"
        assert outsider.verify_log(functools.partial(fetch, prefix), vkey(door.server))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_store_that_serves_itself_is_told_how() -> None:
    store = from_url("memory:///")
    objects = Objects(store, "memory:///", headers_of)
    objects.put("ledger/checkpoint", b"note")
    objects.create("ledger/tile/0/000", b"tile")
    objects.put("other", b"other")
    said = {path: dict(obstore.get(store, path).attributes) for path in objects.list("")}
    assert said == {
        "ledger/checkpoint": {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-cache"},
        "ledger/tile/0/000": {
            "Content-Type": "application/octet-stream",
            "Cache-Control": "public, max-age=31536000, immutable",
        },
        "other": {},
    }
