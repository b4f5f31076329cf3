"""Declared files to values in force: all or nothing."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from transom.app.alerts import upstream_of, url_of
from transom.app.home import Home
from transom.app.speaking import speaking_problems
from transom.app.witnesses import upstream_of as witness_client
from transom.callers.settings import OidcSettings
from transom.config.digest import digest
from transom.config.files import Source, parse, read
from transom.config.secrets import SecretRef
from transom.engine.settings import EngineSettings
from transom.errors import ConfigError, ConfigErrors
from transom.gateway.cache import AnswerCache
from transom.gateway.providers import make_providers
from transom.gateway.route.attempt import HERE
from transom.gateway.route.recall import CACHE
from transom.gateway.running import Running
from transom.gateway.settings import RetentionSettings, ServerSettings
from transom.ledger.settings import LedgerSettings, WitnessSettings
from transom.metering.check import limit_problems, several_processes, unpriced
from transom.metering.limits import Limits
from transom.metering.prices import prices_problem
from transom.metering.rates import SCHEMES as RATES_SCHEMES
from transom.metering.rates import Rates
from transom.metering.settings import AlertSettings, LimitSettings
from transom.metering.sheet import PriceSheet, Seller
from transom.metering.vendor import knows
from transom.policy.reload import load_policies
from transom.policy.ruling import Policies
from transom.registry.settings import ModelSettings
from transom.registry.versions import Registry, build_registry
from transom.safeguards.builtin.secrets import Secrets
from transom.safeguards.interface import Safeguards, SafeguardSettings
from transom.storage.settings import StorageSettings
from transom.upstreams.client import Upstream
from transom.upstreams.settings import UpstreamSettings
from transom.values import Price, VersionName

EMBEDDED = "embedded"
"""The name by which a route means the embedded engine."""
_TAKEN = {EMBEDDED: "the embedded engine's", HERE: "Transom's own", CACHE: "what answers that were kept come from"}
"""Names that no upstream may have, because the record means something else by them."""
EMBEDDED_REGION = "this machine"
"""Where it answers."""
_SECRET_HEADERS = frozenset(("authorization", "api-key", "x-api-key", "cookie", "proxy-authorization"))
SAFEGUARDS = (Secrets(),)
"""Every safeguard there is."""


class Settings(msgspec.Struct, frozen=True):
    """Everything that `transom.toml` says, defaults filled in; and `source`, where it says it."""

    server: ServerSettings
    storage: StorageSettings
    ledger: LedgerSettings
    witness: WitnessSettings
    retention: RetentionSettings
    engine: EngineSettings
    upstreams: dict[str, UpstreamSettings]
    models: dict[str, ModelSettings]
    safeguards: dict[str, SafeguardSettings]
    limits: tuple[LimitSettings, ...]
    alerts: AlertSettings
    oidc: tuple[OidcSettings, ...]
    source: Source

    @property
    def embedded_models(self) -> tuple[str, ...]:
        """The models whose route leads to the embedded engine."""
        return tuple(
            name
            for name, model in self.models.items()
            if any((step if isinstance(step, str) else step.upstream) == EMBEDDED for step in model.route)
        )

    @property
    def engine_wanted(self) -> bool:
        """Whether a model's route leads to the embedded engine."""
        return bool(self.embedded_models) and self.engine.enabled is not False


SECTIONS: Mapping[str, object] = {
    field.name: field.type for field in msgspec.structs.fields(Settings) if field.name != "source"
}


def read_settings(home: Home, workers: int | None = None) -> Settings:
    """Read and check `transom.toml`, for `workers` serving processes (`None`: as many as it says itself).

    Nothing outside the file is looked at. Raises `ConfigErrors` with every problem's file, line and remedy.
    """
    source = read(home.settings)
    settings = Settings(**parse(source.data, source.file, SECTIONS), source=source)
    with source.placing():
        _check(settings, settings.server.workers if workers is None else workers)
    return settings


def read_running(home: Home, settings: Settings, before: Running | None = None) -> Running:
    """Put in force what the files say now. Upstreams and counts that have not changed are taken over from `before`.

    Raises `ConfigErrors`; then nothing has changed.
    """
    with settings.source.placing():
        return _running(home, settings, before)


def _running(home: Home, settings: Settings, before: Running | None) -> Running:
    regions = _regions(settings)
    names = _upstream_names(settings)
    registry = build_registry(settings.models, names, settled=frozenset((EMBEDDED,)), regions=regions)
    # A built-in safeguard is there with its defaults where the file says nothing of it, for policies to ask for.
    chosen = {safeguard.name: SafeguardSettings() for safeguard in SAFEGUARDS} | settings.safeguards
    safeguards = Safeguards(SAFEGUARDS, chosen)
    policies = load_policies(
        home.policies, registry.names, safeguards=safeguards.names, regions=frozenset(regions.values())
    )
    problems = _unasked_safeguards(settings, policies)
    prices = _price_sheet(settings, registry)
    problems += unpriced(settings.limits, registry.versions, prices)
    problems += _alert_problems(settings)
    upstreams = _upstreams(settings, {} if before is None else before.upstreams, problems)
    providers = make_providers(settings.oidc, {} if before is None else before.providers, problems)
    if problems:
        raise ConfigErrors(problems)
    declared = {name: getattr(settings, name) for name in SECTIONS}
    same_rates = before is not None and before.rates.settings == settings.limits
    return Running(
        policies=policies,
        registry=registry,
        safeguards=safeguards,
        rates=before.rates if before is not None and same_rates else _rates(settings),
        limits=Limits(settings.limits, prices),
        prices=prices,
        caches=_caches(settings, registry, before),
        upstreams=upstreams,
        providers=providers,
        settings_digest=digest(msgspec.json.encode(declared, order="sorted", enc_hook=int)),  # a Duration
    )


def _check(settings: Settings, workers: int) -> None:
    problems: list[ConfigError] = []
    try:
        registry = build_registry(settings.models, _upstream_names(settings), settled=frozenset((EMBEDDED,)))
        problems += limit_problems(settings.limits, registry.versions)
    except ConfigErrors as errors:
        problems += errors.problems
    problems += _cross_problems(settings, workers)
    if problems:
        raise ConfigErrors(problems)


def _cross_problems(settings: Settings, workers: int) -> list[ConfigError]:
    """Find what is wrong between sections, or can match nothing."""
    known = {safeguard.name for safeguard in SAFEGUARDS}
    problems = [
        ConfigError(
            f"There is no safeguard of this name. There is: {', '.join(sorted(known))}.", file=f"safeguards.{name}"
        )
        for name in settings.safeguards
        if name not in known
    ]
    problems += speaking_problems(settings.models, settings.upstreams)
    problems += _price_problems(settings)
    problems += _secrets_in_the_clear(settings)
    problems += [
        ConfigError(f"This name is {whose}. Give the upstream another.", file=f"upstreams.{name}")
        for name, whose in _TAKEN.items()
        if name in settings.upstreams
    ]
    problems += _witness_problems(settings)
    problems += several_processes(settings.limits, workers, settings.storage.rates)
    return problems


def _price_problems(settings: Settings) -> list[ConfigError]:
    declared = [(f"models.{name}.price", _listed(model.price)) for name, model in settings.models.items()]
    declared += [
        (f"upstreams.{name}.prices.{model}", _listed(price))
        for name, upstream in settings.upstreams.items()
        for model, price in upstream.prices.items()
    ]
    problems = [
        ConfigError(wrong, file=place) for place, prices in declared if (wrong := prices_problem(prices)) is not None
    ]
    asked = {
        (step, key.partition("@")[0]) if isinstance(step, str) else (step.upstream, step.model or key.partition("@")[0])
        for key, model in settings.models.items()
        for step in model.route
    }
    problems += [
        ConfigError(
            f"No route asks this upstream for the model {model!r}. Correct its name, or remove the price.",
            file=f"upstreams.{name}.prices.{model}",
        )
        for name, upstream in settings.upstreams.items()
        for model in upstream.prices
        if (name, model) not in asked
    ]
    problems += [
        ConfigError(
            f"No vendor is called {upstream.vendor!r} in the public prices that Transom knows. Correct it (the package "
            "genai-prices has the names), or remove it and declare prices.",
            file=f"upstreams.{name}.vendor",
        )
        for name, upstream in settings.upstreams.items()
        if upstream.vendor is not None and not knows(upstream.vendor)
    ]
    return problems


def _witness_problems(settings: Settings) -> list[ConfigError]:
    problems = []
    for witness in settings.ledger.witnesses:
        try:
            witness_client(witness)
        except ConfigError as error:
            problems.append(error)
    return problems


def _listed(price: Price | tuple[Price, ...]) -> tuple[Price, ...]:
    return (price,) if isinstance(price, Price) else price


def _alert_problems(settings: Settings) -> list[ConfigError]:
    """Find a webhook that cannot be asked, or that nothing would ever be told to."""
    if settings.alerts.webhook is None:
        return []
    try:
        url = url_of(settings.alerts)
        assert url is not None
        upstream_of(url)
    except ConfigError as error:
        return [error]
    if any(limit.warn_at for limit in settings.limits):
        return []
    what = "No limit has `warn_at`, so nothing is ever told. Add it to a limit, or remove the webhook."
    return [ConfigError(what, file="alerts.webhook")]


def _rates(settings: Settings) -> Rates:
    url = settings.storage.rates
    if isinstance(url, SecretRef):
        url = url.resolve("storage.rates")
    if url is not None and url.partition("://")[0] not in RATES_SCHEMES:
        raise ConfigErrors(
            [ConfigError("This is no URL of Valkey or Redis. Write valkey://HOST:6379.", file="storage.rates")]
        )
    return Rates(settings.limits, url, fail_open=settings.storage.rates_fail == "open")


def _price_sheet(settings: Settings, registry: Registry) -> PriceSheet:
    sellers = {
        name: Seller(
            upstream.base_url,
            upstream.vendor,
            {model: _listed(price) for model, price in upstream.prices.items()},
            upstream.timeouts.whole,
        )
        for name, upstream in settings.upstreams.items()
    }
    return PriceSheet(registry.versions, sellers)


def _secrets_in_the_clear(settings: Settings) -> list[ConfigError]:
    """Find secrets that stand in the file itself. What is found is never shown."""
    problems = []
    for place, url in (("database", settings.storage.database), ("rates", settings.storage.rates)):
        if isinstance(url, str) and re.search(r"://[^/@]*:[^@]+@", url):
            problems.append(
                ConfigError(
                    "The URL holds a password. Put the URL into the environment or a file, and name it here: "
                    '{ env = "NAME" } or { file = "/path" }.',
                    file=f"storage.{place}",
                )
            )
    for name, upstream in settings.upstreams.items():
        secret = _SECRET_HEADERS | {upstream.key_in.lower()}
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


def _unasked_safeguards(settings: Settings, policies: Policies) -> list[ConfigError]:
    asked = {name for policy in policies.policies.values() for name in policy.obligations.safeguards}
    return [
        ConfigError(
            f'No policy asks for this safeguard, so it checks nothing. Write @safeguards("{name}") before a permit, '
            f"or remove [safeguards.{name}].",
            file=f"safeguards.{name}",
        )
        for name in settings.safeguards
        if name not in asked
    ]


def _upstream_names(settings: Settings) -> frozenset[str]:
    names = frozenset(settings.upstreams)
    return names | {EMBEDDED} if settings.engine.enabled is not False else names


def _caches(settings: Settings, registry: Registry, before: Running | None) -> dict[VersionName, AnswerCache]:
    """Make a cache for every version that wants one, or take over the one there was."""
    found: dict[VersionName, AnswerCache] = {}
    for version, model in zip(registry.versions, settings.models.values(), strict=True):
        if model.cache is not None:
            old = None if before is None else before.caches.get(version.name)
            found[version.name] = old if old is not None and old.settings == model.cache else AnswerCache(model.cache)
    return found


def _regions(settings: Settings) -> dict[str, str]:
    """Return the regions of the upstreams that have one, the embedded engine's too."""
    declared = {name: upstream.region for name, upstream in settings.upstreams.items() if upstream.region is not None}
    return declared | ({EMBEDDED: EMBEDDED_REGION} if settings.engine.enabled is not False else {})


def _upstreams(settings: Settings, before: Mapping[str, Upstream], problems: list[ConfigError]) -> dict[str, Upstream]:
    """Make every upstream's client, or take over the one there was where nothing that it is made from has changed."""
    found = {}
    for name, wanted in settings.upstreams.items():
        old = before.get(name)
        try:
            found[name] = old if old is not None and old.is_current(wanted) else Upstream(name, wanted)
        except ConfigError as error:
            problems.append(error)
    return found


def declared_files(home: Home) -> tuple[Path, ...]:
    """Return the files that declare: the settings and the policies."""
    return (home.settings, *home.policies.glob("*.cedar"))


def referenced_files(settings: Settings) -> tuple[Path, ...]:
    """Return the files that the settings name and whose content is in force with them: keys and authorities."""
    upstreams = [path for upstream in settings.upstreams.values() for path in upstream.files]
    return (*upstreams, *(path for provider in settings.oidc for path in provider.files))


Stamp = tuple[int, int, int]


def stamps(files: Iterable[Path]) -> dict[Path, Stamp | None]:
    """Return what tells one state of each file from another; `None` for one that cannot be reached.

    The time is the inode's, which a change of rights changes too: a file that could not be read may be readable now.
    """
    found: dict[Path, Stamp | None] = {}
    for file in files:
        try:
            status = file.stat()
        except OSError:
            found[file] = None
        else:
            found[file] = (status.st_ino, status.st_size, status.st_ctime_ns)
    return found
