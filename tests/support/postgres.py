"""A PostgreSQL of the tests' own: started when a test first asks for it, stopped at the end, nothing left behind.

`postgres_url` is the URL of a fresh, empty database, dropped after the test.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

_START_SECONDS = 30.0


def _binaries() -> Path | None:
    """Find the newest installed server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def _user() -> str | None:
    """Who runs it: PostgreSQL refuses to run as root. None: whoever runs the tests."""
    return "postgres" if os.geteuid() == 0 else None


@pytest.fixture(scope="session")
def postgres_socket() -> Iterator[Path]:
    """Give the folder of the socket of a running server whose superuser is `postgres`."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's programs are not installed (postgresql-15 or newer)")
    user = _user()
    if user is not None and user not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip("running as root, and there is no user `postgres` to run PostgreSQL as")
    # Not pytest's own folders: only their owner may enter those, and a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        if user is not None:
            shutil.chown(folder, user, user)
        data = folder / "data"
        initdb: list[str | Path] = [
            binaries / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "-N",
        ]
        subprocess.run(initdb, user=user, cwd=folder, check=True, capture_output=True)
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
                user=user,
                cwd=folder,
                stdout=log,
                stderr=log,
            )
        try:
            _wait(folder, server)
            yield folder
        finally:
            server.send_signal(signal.SIGINT)  # fast shutdown: ends sessions, waits for nobody
            server.wait(_START_SECONDS)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_socket: Path) -> Iterator[str]:
    """Give the URL of a fresh, empty database."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(host=str(postgres_socket), user="postgres", dbname="postgres", autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}".encode())
        yield f"postgresql://postgres@/{name}?host={postgres_socket}"
        server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _wait(folder: Path, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(host=str(folder), user="postgres", dbname="postgres").close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > until:
                pytest.fail(f"PostgreSQL did not start:\n{(folder / 'log').read_text()}")
            time.sleep(0.05)
        else:
            return
