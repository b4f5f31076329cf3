"""The subjects: how each gateway is set up before the stand-in and started on its core, and how it is then asked.

Each comes up with a key of its own where it has keys, a priced model where it has prices, one worker, no access log,
and a kept pool of connections to the stand-in.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import msgspec

from bench import nginx, peers
from bench.processes import Process, start
from bench.wire import Target

WAITS = (0, 50)
"""Milliseconds that the paced stand-in waits before it answers a plain chat, in two of the measurements."""

_KEY = "sk-bench-of-this-run-only"
_CHAT = "/chat/completions"
_ROOT = Path(__file__).resolve().parent.parent


class Upstream(msgspec.Struct, frozen=True):
    """Where the stand-in's halves listen."""

    plain: int
    paced: int

    def base(self, wait: int | None = None) -> str:
        """The base URL of the plain half, or of the paced half with that wait."""
        if wait is None:
            return f"http://127.0.0.1:{self.plain}/v1"
        return f"http://127.0.0.1:{self.paced}{_path(wait)}"


class Subject(msgspec.Struct):
    """One gateway, running (or no gateway at all: the stand-in asked directly), and how to ask it."""

    name: str
    version: str
    plain: Target
    waits: dict[int, Target]
    stream: Target
    process: Process | None = None
    metrics: Target | None = None
    """Where Prometheus metrics are read, of a subject that counts its durable writes."""


def _path(wait: int) -> str:
    return f"/wait/{wait}/v1" if wait else "/v1"


def direct(upstream: Upstream, _port: int, _folder: Path, _core: int) -> Subject:
    """No gateway: what is measured is the harness itself."""
    return Subject(
        name="direct",
        version="no gateway",
        plain=_target(upstream.plain),
        waits={wait: _target(upstream.paced, _path(wait)) for wait in WAITS},
        stream=_target(upstream.paced),
    )


def nginx_proxy(upstream: Upstream, port: int, folder: Path, core: int) -> Subject:
    """nginx as a bare reverse proxy: kept upstream connections, nothing buffered, one process."""
    try:
        process = nginx.start_proxy(port, folder, plain=upstream.plain, paced=upstream.paced, core=core)
    except FileNotFoundError as error:
        raise peers.MissingError(str(error)) from error
    return Subject(
        name="nginx",
        version=nginx.version(),
        plain=_target(port),
        waits={wait: _target(port, f"/paced{_path(wait)}") for wait in WAITS},
        stream=_target(port, "/paced/v1"),
        process=process,
    )


_TRANSOM_SETTINGS = """\
[engine]
enabled = false

"""
_TRANSOM_UPSTREAM = """\
[upstreams.{name}]
base_url = "{base}"

[models."{name}"]
route = ["{name}"]
weights = "open"
price = {{ currency = "USD", input = "1", output = "2" }}

"""


def transom(upstream: Upstream, port: int, folder: Path, core: int) -> Subject:
    """Transom with everything on: keys, policy, safeguards, metering, sealed content, durable decisions, the ledger."""
    home = folder / "transom"
    home.mkdir()
    bases = {"bench-model": upstream.base(), "bench-stream": upstream.base(0)}
    bases |= {f"bench-wait-{wait}": upstream.base(wait) for wait in WAITS}
    settings = "".join(_TRANSOM_UPSTREAM.format(name=name, base=base) for name, base in bases.items())
    (home / "transom.toml").write_text(_TRANSOM_SETTINGS + settings)
    program = Path(sys.executable).with_name("transom")
    command = [str(program)] if program.exists() else [sys.executable, "-m", "transom.cli.main"]
    environment = {**os.environ, "TRANSOM_HOME": str(home), "PYTHONPATH": str(_ROOT / "src")}
    log = folder / "transom.log"
    process = start([*command, "up", "--port", str(port)], port=port, log=log, core=core, environment=environment)
    try:
        said = subprocess.run(
            [*command, "keys", "create", "bench", "--group", "developers", "--json"],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        key: str = msgspec.json.decode(said.stdout, type=dict[str, str])["key"]
    except (subprocess.SubprocessError, msgspec.MsgspecError, KeyError) as error:
        process.stop()
        raise peers.MissingError(f"no key could be made: {getattr(error, 'stderr', '') or error}") from error
    return Subject(
        name="transom",
        version=metadata.version("transom") if program.exists() else "of this checkout",
        plain=_target(port, key=key),
        waits={wait: _target(port, key=key, model=f"bench-wait-{wait}") for wait in WAITS},
        stream=_target(port, key=key, model="bench-stream"),
        process=process,
        metrics=Target(host="127.0.0.1", port=port, path="/metrics", model=""),
    )


def litellm(upstream: Upstream, port: int, folder: Path, core: int) -> Subject:
    """LiteLLM's proxy: one worker, a master key, priced models, no database, no log of requests."""
    peer = peers.litellm()
    bases = {"bench-model": upstream.base()} | {f"bench-wait-{wait}": upstream.base(wait) for wait in WAITS}
    config = {
        "model_list": [
            {
                "model_name": name,
                "litellm_params": {"model": "openai/bench-model", "api_base": base, "api_key": "sk-standin"},
                "model_info": {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6},
            }
            for name, base in bases.items()
        ],
        "litellm_settings": {"telemetry": False, "num_retries": 0, "request_timeout": 120},
        "general_settings": {"master_key": _KEY},
    }
    file = folder / "litellm.yaml"
    file.write_bytes(msgspec.json.encode(config))  # JSON is YAML
    environment = {
        **os.environ,
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or it would fetch its price list from elsewhere at start
    }
    options = ["--config", str(file), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    process = start(
        [*peer.command, *options], port=port, log=folder / "litellm.log", core=core, environment=environment
    )
    return Subject(
        name="litellm",
        version=peer.version,
        plain=_target(port, key=_KEY),
        waits={wait: _target(port, key=_KEY, model=f"bench-wait-{wait}") for wait in WAITS},
        stream=_target(port, key=_KEY, model="bench-wait-0"),
        process=process,
    )


def portkey(upstream: Upstream, port: int, folder: Path, core: int) -> Subject:
    """Portkey's gateway: one process, the upstream named in headers, as its open-source version has it."""
    peer = peers.portkey()
    environment = {**os.environ, "NODE_ENV": "production"}
    log = folder / "portkey.log"
    options = ["--headless", f"--port={port}"]
    process = start([*peer.command, *options], port=port, log=log, core=core, environment=environment)

    def target(wait: int | None) -> Target:
        headers = (("x-portkey-provider", "openai"), ("x-portkey-custom-host", upstream.base(wait)))
        return _target(port, key=_KEY, headers=headers)

    return Subject(
        name="portkey",
        version=peer.version,
        plain=target(None),
        waits={wait: target(wait) for wait in WAITS},
        stream=target(0),
        process=process,
    )


ALL: dict[str, Callable[[Upstream, int, Path, int], Subject]] = {
    "direct": direct,
    "nginx": nginx_proxy,
    "transom": transom,
    "portkey": portkey,
    "litellm": litellm,
}
"""How each subject is started: given the stand-in, its port, a folder of its own and its core.

Raises `peers.MissingError` or `processes.NotUpError` where it cannot be.
"""


def _target(
    port: int,
    base: str = "/v1",
    *,
    key: str | None = None,
    model: str = "bench-model",
    headers: tuple[tuple[str, str], ...] = (),
) -> Target:
    if key is not None:
        headers = (("Authorization", f"Bearer {key}"), *headers)
    return Target(host="127.0.0.1", port=port, path=base + _CHAT, model=model, headers=headers)


def needed_programs() -> list[str]:
    """What the harness itself cannot do without and does not find here, each with its remedy."""
    missing = [] if nginx.installed() else ["nginx is not installed (Debian: apt-get install nginx-light)"]
    missing += [
        f"{program} is not installed (Debian: apt-get install util-linux)"
        for program in ("taskset", "setpriv")
        if shutil.which(program) is None
    ]
    if len(os.sched_getaffinity(0)) < 2:
        missing.append("fewer than two processor cores are free for this process")
    return missing
