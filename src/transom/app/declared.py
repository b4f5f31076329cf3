"""Declared files to values in force: all or nothing."""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from transom.app.home import Home
from transom.config.digest import digest
from transom.config.files import parse, relocate
from transom.engine.settings import EngineSettings
from transom.errors import ConfigError, ConfigErrors
from transom.gateway.running import Running
from transom.gateway.settings import RetentionSettings, ServerSettings
from transom.ledger.settings import LedgerSettings
from transom.metering.prices import price_problem
from transom.metering.rates import Rates
from transom.metering.settings import LimitSettings
from transom.policy.reload import load_policies
from transom.registry.settings import ModelSettings
from transom.registry.versions import build_registry
from transom.safeguards.builtin.secrets import Secrets
from transom.safeguards.interface import Safeguards, SafeguardSettings
from transom.storage.settings import StorageSettings
from transom.upstreams.client import Upstream
from transom.upstreams.settings import UpstreamSettings

EMBEDDED = "embedded"
"""The name by which a route means the embedded engine."""
_SECRET_HEADERS = frozenset(("authorization", "api-key", "x-api-key", "cookie", "proxy-authorization"))
SAFEGUARDS = (Secrets(),)
"""Every safeguard there is."""


class Settings(msgspec.Struct, frozen=True):
    """Everything that `transom.toml` says, defaults filled in."""

    server: ServerSettings
    storage: StorageSettings
    ledger: LedgerSettings
    retention: RetentionSettings
    engine: EngineSettings
    upstreams: dict[str, UpstreamSettings]
    models: dict[str, ModelSettings]
    safeguards: dict[str, SafeguardSettings]
    limits: tuple[LimitSettings, ...]

    @property
    def engine_wanted(self) -> bool:
        """Whether a model's route leads to the embedded engine."""
        steps = {
            step if isinstance(step, str) else step.upstream for model in self.models.values() for step in model.route
        }
        return EMBEDDED in steps and self.engine.enabled is not False


SECTIONS: Mapping[str, object] = {field.name: field.type for field in msgspec.structs.fields(Settings)}


def read_settings(home: Home) -> Settings:
    """Read and check `transom.toml`. Raises `ConfigErrors` with every problem's file, line and remedy."""
    return _check(home.settings.read_bytes(), str(home.settings))


def read_running(home: Home, settings: Settings, before: Running | None = None) -> Running:
    """Put in force what the files say now. Upstreams and counts that have not changed are taken over from `before`.

    Raises `ConfigErrors`; then nothing has changed.
    """
    registry = build_registry(settings.models, _upstream_names(settings), settled=frozenset((EMBEDDED,)))
    # A built-in safeguard is there with its defaults where the file says nothing of it, for policies to ask for.
    chosen = {safeguard.name: SafeguardSettings() for safeguard in SAFEGUARDS} | settings.safeguards
    safeguards = Safeguards(SAFEGUARDS, chosen)
    policies = load_policies(home.policies, registry.names, safeguards=safeguards.names)
    same_limits = before is not None and before.rates.settings == settings.limits
    return Running(
        policies=policies,
        registry=registry,
        safeguards=safeguards,
        rates=before.rates if before is not None and same_limits else Rates(settings.limits),
        upstreams=_upstreams(settings, before),
        settings_digest=digest(msgspec.json.encode(settings, order="sorted", enc_hook=int)),  # a Duration
    )


def _check(data: bytes, file: str) -> Settings:
    settings = Settings(**parse(data, file, SECTIONS))
    problems: list[ConfigError] = []
    try:
        build_registry(settings.models, _upstream_names(settings), settled=frozenset((EMBEDDED,)))
    except ConfigErrors as errors:
        problems += errors.problems
    problems += _cross_problems(settings)
    if problems:
        raise relocate(ConfigErrors(problems), data, file)
    return settings


def _cross_problems(settings: Settings) -> list[ConfigError]:
    """Find what is wrong between sections, or can match nothing."""
    known = {safeguard.name for safeguard in SAFEGUARDS}
    problems = [
        ConfigError(
            f"There is no safeguard of this name. There is: {', '.join(sorted(known))}.", file=f"safeguards.{name}"
        )
        for name in settings.safeguards
        if name not in known
    ]
    for name, model in settings.models.items():
        wrong = price_problem(model.price) if model.price is not None else None
        if wrong is not None:
            problems.append(ConfigError(wrong, file=f"models.{name}.price"))
    problems += _secrets_in_the_clear(settings)
    if EMBEDDED in settings.upstreams:
        problems.append(
            ConfigError("This name is the embedded engine's. Give the upstream another.", file=f"upstreams.{EMBEDDED}")
        )
    if settings.limits and settings.server.workers > 1:
        problems.append(
            ConfigError(
                "Rates are counted in one process and would not hold across several workers. "
                "Set server.workers = 1, or remove [[limits]].",
                file="limits",
            )
        )
    return problems


def _secrets_in_the_clear(settings: Settings) -> list[ConfigError]:
    """Find secrets that stand in the file itself. What is found is never shown."""
    problems = []
    url = settings.storage.database
    if isinstance(url, str) and re.search(r"://[^/@]*:[^/@]+@", url):
        problems.append(
            ConfigError(
                "The URL holds a password. Put the URL into the environment or a file, and name it here: "
                '{ env = "NAME" } or { file = "/path" }.',
                file="storage.database",
            )
        )
    for name, upstream in settings.upstreams.items():
        secret = _SECRET_HEADERS | {upstream.key_header.lower()}
        problems += [
            ConfigError(
                f"The header {header} carries a secret, which must not stand here. Use `key`, or a reference: "
                '{ env = "NAME" } or { file = "/path" }.',
                file=f"upstreams.{name}.headers.{header}",
            )
            for header, value in upstream.headers.items()
            if isinstance(value, str) and header.lower() in secret
        ]
    return problems


def _upstream_names(settings: Settings) -> frozenset[str]:
    names = frozenset(settings.upstreams)
    return names | {EMBEDDED} if settings.engine.enabled is not False else names


def _upstreams(settings: Settings, before: Running | None) -> dict[str, Upstream]:
    old = {} if before is None else before.upstreams
    return {
        name: old[name] if name in old and old[name].settings == wanted else Upstream(name, wanted)
        for name, wanted in settings.upstreams.items()
    }


def files_of(home: Home) -> tuple[tuple[Path, int, int], ...]:
    """Return the declared files with size and time of change: two equal answers mean that nothing was edited."""
    files = [home.settings, *sorted(home.policies.glob("*.cedar"))]
    found = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            continue
        found.append((file, status.st_size, status.st_mtime_ns))
    return tuple(found)
