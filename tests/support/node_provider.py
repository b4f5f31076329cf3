"""node-oidc-provider running on this machine: installed once into a cache folder."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

VERSION = "9.13.3"
AUDIENCE = "https://door.example/api"
_SCRIPT = Path(__file__).with_name("oidc_provider.mjs")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def installed() -> Path:
    """The folder that holds it. Skips the test where there is no Node on this machine."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("no Node on this machine (Debian: apt-get install nodejs npm)")
    folder = Path.home() / ".cache" / "transom-test" / f"oidc-provider-{VERSION}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=folder.parent))  # several processes may find that it is missing
        command = [npm, "install", "--prefix", str(fresh), "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run([*command, f"oidc-provider@{VERSION}"], check=True, capture_output=True, timeout=300)
        try:
            fresh.rename(folder)
        except OSError:
            shutil.rmtree(fresh)
    return folder


@contextmanager
def serving(redirect: str) -> Iterator[str]:
    """Serve it for a door that `redirect` leads back to; give its issuer."""
    folder, port = installed(), free_port()
    script = shutil.copy(_SCRIPT, folder / f"{port}.mjs")  # where Node finds the package from
    process = subprocess.Popen(
        ["node", script, str(port), redirect, AUDIENCE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if "listening" in line:
                break
        else:
            raise AssertionError(process.stderr.read())
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()
        Path(script).unlink()
