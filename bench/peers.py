"""Other gateways, installed on demand into a cache folder outside the repository, each at a pinned version.

LiteLLM 1.82.7, 1.82.8 and 1.107.0 were tampered with by attackers: they must never be pinned here.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

LITELLM = "1.105.3"
PORTKEY = "1.15.2"
PORTKEY_NODE_SERVER = "1.13.5"
"""What Portkey's own lock file resolves `@hono/node-server` to. With newer ones, which a plain install brings, its
streams fail with `TypeError: immutable` (https://github.com/Portkey-AI/gateway/issues/1389)."""

_INSTALL_SECONDS = 900


class MissingError(Exception):
    """A peer cannot be had here; the text says why."""


class Peer(msgspec.Struct, frozen=True):
    """An installed peer: the command that starts it, and its version."""

    command: tuple[str, ...]
    version: str


def cache_folder() -> Path:
    """Where peers are kept between runs, and where a run keeps its own data while it lasts."""
    folder = Path.home() / ".cache" / "transom-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def litellm() -> Peer:
    """LiteLLM's proxy in an environment of its own, with OpenTelemetry and compiled bytecode."""
    folder = cache_folder() / f"litellm-{LITELLM}"
    if not _ready(folder):
        python = folder / "bin" / "python"
        packages = [
            f"litellm[proxy]=={LITELLM}",
            "opentelemetry-api",
            "opentelemetry-sdk",
            "opentelemetry-exporter-otlp",
        ]
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *packages])
        _run([str(python), "-m", "compileall", "-q", str(folder / "lib")], may_fail=True)  # a few ship Python 2 files
        _mark(folder)
    return Peer((str(folder / "bin" / "litellm"),), LITELLM)


def portkey() -> Peer:
    """Portkey's gateway in a folder of its own."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise MissingError("node and npm are not installed (Debian: apt-get install nodejs npm)")
    folder = cache_folder() / f"portkey-{PORTKEY}"
    if not _ready(folder):
        folder.mkdir(exist_ok=True)
        manifest = {
            "private": True,
            "dependencies": {"@portkey-ai/gateway": PORTKEY},
            "overrides": {"@hono/node-server": PORTKEY_NODE_SERVER},
        }
        (folder / "package.json").write_bytes(msgspec.json.encode(manifest))
        _run([npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts"])
        _mark(folder)
    program = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    return Peer((node, str(program)), PORTKEY)


def _ready(folder: Path) -> bool:
    """Whether the installation was finished; what was left half done is removed."""
    if (folder / ".installed").exists():
        return True
    shutil.rmtree(folder, ignore_errors=True)
    return False


def _mark(folder: Path) -> None:
    (folder / ".installed").touch()


def _run(command: Sequence[str], *, may_fail: bool = False) -> None:
    print(f"  installing: {' '.join(command)}", file=sys.stderr)
    try:
        subprocess.run(command, check=not may_fail, capture_output=True, text=True, timeout=_INSTALL_SECONDS)
    except subprocess.CalledProcessError as error:
        last = [line for line in str(error.stderr).splitlines() if line.strip()][-1:]
        raise MissingError(f"`{' '.join(command[:4])} …` failed: {' '.join(last)}") from error
    except subprocess.TimeoutExpired as error:
        raise MissingError(f"`{' '.join(command[:4])} …` took longer than {_INSTALL_SECONDS} s") from error
