"""A published log as a stranger finds it: at a URL, or copied into a folder. Reads, and asks nothing else of anyone."""

import http.client
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from transom.errors import StorageError
from transom.ledger.tiles import FOLDER

_SECONDS: Final = 30.0
_MAX_BYTES: Final = 32 * 1024 * 1024
"""Longer than any bundle: 256 entries of 65,535 bytes."""
_GZIP: Final = 16 + zlib.MAX_WBITS


class Source(Protocol):
    """Where a log's objects are. Paths are those of `ledger.tiles`. Both raise `StorageError`."""

    def get(self, path: str) -> bytes | None:
        """Give an object's bytes, None where there is none."""
        ...

    def list(self, prefix: str) -> list[str]:
        """Give the paths below `prefix`, as far as they can be listed."""
        ...


class Folder:
    """A log in a folder: the one that holds `checkpoint` and `tile/`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, path: str) -> bytes | None:
        """Give a file's bytes, None where there is none."""
        try:
            return (self._folder / path.removeprefix(f"{FOLDER}/")).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise StorageError(f"{error.filename} cannot be read ({error.strerror}).") from error

    def list(self, prefix: str) -> list[str]:
        """Give the paths of all files below `prefix`."""
        within = self._folder / prefix.removeprefix(f"{FOLDER}/")
        return sorted(f"{FOLDER}/{file.relative_to(self._folder)}" for file in within.rglob("*") if file.is_file())


class Remote:
    """A log behind HTTP, on one connection; `key` is sent where the log is open to some alone."""

    def __init__(self, url: str, key: str | None = None) -> None:
        """`url`: what stands before `/checkpoint` and `/tile/`. Raises `StorageError` where it is no such URL."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise StorageError(f"{url[:100]} is no URL of a log: give what stands before /checkpoint, with https://.")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=_SECONDS)
        self._url = url.rstrip("/")
        self._prefix = parts.path.rstrip("/")
        self._headers = {"accept-encoding": "gzip, identity"} | ({"authorization": f"Bearer {key}"} if key else {})

    def get(self, path: str) -> bytes | None:
        """Give what a GET answers, None for 404."""
        path = path.removeprefix(f"{FOLDER}/")
        try:
            status, encoding, data = self._ask(path)
        except (http.client.HTTPException, OSError):
            self._connection.close()  # it may have been idle for too long: once more, on a new one
            try:
                status, encoding, data = self._ask(path)
            except (http.client.HTTPException, OSError) as error:
                raise StorageError(f"{self._url}/{path} cannot be read: {type(error).__name__} {error}.") from error
        if status == 404:
            return None
        if status != 200 or len(data) > _MAX_BYTES:
            raise StorageError(f"{self._url}/{path} answered {status} and {len(data)} bytes, which no log does.")
        return _unzipped(data) if encoding == "gzip" else data

    def list(self, prefix: str) -> list[str]:  # noqa: ARG002 - as `Source` has it
        """Give nothing: HTTP has no listings. What is asked for is known by the log's size."""
        return []

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def _ask(self, path: str) -> tuple[int, str | None, bytes]:
        self._connection.request("GET", f"{self._prefix}/{path}", headers=self._headers)
        answer = self._connection.getresponse()
        data = answer.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            self._connection.close()
        return answer.status, answer.getheader("content-encoding"), data


def _unzipped(data: bytes) -> bytes:
    """Unpack what a server sent packed (C2SP tlog-tiles lets it), within bounds. What is damaged is nothing."""
    try:
        return zlib.decompressobj(_GZIP).decompress(data, _MAX_BYTES)
    except zlib.error:
        return b""


@contextmanager
def open_source(where: str, key: str | None = None) -> Iterator[Source]:
    """Open a log at a URL, or in a folder. Raises `StorageError` where there is none."""
    if "://" in where:
        with closing(Remote(where, key)) as remote:
            yield remote
        return
    folder = Path(where)
    inner = folder / FOLDER
    chosen = inner if not (folder / "checkpoint").exists() and (inner / "checkpoint").exists() else folder
    if not (chosen / "checkpoint").exists():
        raise StorageError(f"{where} holds no log: there is no `checkpoint` in it. Give the folder that holds it.")
    yield Folder(chosen)
