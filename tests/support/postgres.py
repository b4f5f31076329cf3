"""A PostgreSQL of the tests' own: started when a test first asks for it, stopped at the end, nothing left behind.

`postgres_url`: a fresh, empty database, dropped after the test. `cluster`: a server that a test may kill.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest


def _binaries() -> Path | None:
    """Find the newest installed server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def _user() -> str | None:
    """Who runs it: PostgreSQL refuses to run as root. None: whoever runs the tests."""
    return "postgres" if os.geteuid() == 0 else None


class Cluster:
    """A server whose superuser is `postgres`. Its socket and its data are in `folder`."""

    def __init__(self) -> None:
        binaries, user = _binaries(), _user()
        if binaries is None:
            pytest.skip("PostgreSQL's programs are not installed (postgresql-15 or newer)")
        if user is not None and user not in {entry.pw_name for entry in pwd.getpwall()}:
            pytest.skip("running as root, and there is no user `postgres` to run PostgreSQL as")
        self._binaries = binaries
        # Not pytest's own folders: only their owner may enter those, and a socket's path must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        if user is not None:
            shutil.chown(self.folder, user, user)
        self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def start(self, *options: str) -> None:
        """Start it with these settings (`name=value`); give back once it can be asked."""
        said = " ".join(f"-c {option}" for option in ("listen_addresses=", *options))
        log = self.folder / "log"
        try:
            self._run("pg_ctl", "-w", "-l", str(log), "-o", f"-k {self.folder} {said}", "start")
        except subprocess.CalledProcessError:
            pytest.fail(f"PostgreSQL did not start:\n{log.read_text()}")

    def crash(self) -> None:
        """End it as a power cut would: no goodbye, recovery from its log at the next start."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def remove(self) -> None:
        """End it, if it runs, and leave nothing."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.crash()
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._binaries / program, "-D", self.folder / "data", *arguments],
            user=_user(),
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    try:
        made.start()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="session")
def postgres_socket() -> Iterator[Path]:
    """Give the folder of the socket of a running server."""
    made = Cluster()
    try:
        made.start("fsync=off")
        yield made.folder
    finally:
        made.remove()


@contextlib.contextmanager
def fresh_database(socket: Path) -> Iterator[str]:
    """Give the URL of a fresh, empty database, which is dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(host=str(socket), user="postgres", dbname="postgres", autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}".encode())
        yield f"postgresql://postgres@/{name}?host={socket}"
        server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def postgres_url(postgres_socket: Path) -> Iterator[str]:
    with fresh_database(postgres_socket) as url:
        yield url
