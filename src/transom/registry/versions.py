"""The registry in force: names to versions. Pure: made from settings, asked by name."""

from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import msgspec

from transom.config.digest import digest
from transom.errors import ConfigError, ConfigErrors, InvalidRequest, NotFound
from transom.registry.routing import Routing, Step
from transom.registry.settings import ModelSettings, RouteTarget
from transom.values import (
    OPENNESS,
    RUNGS,
    AttributeValue,
    Digest,
    Openness,
    Price,
    RequestedModel,
    Resource,
    Target,
    UpstreamModel,
    Version,
    VersionName,
)

_WEIGHTS_TO_OPENNESS: Mapping[str | None, Openness] = {
    None: "unknown",
    "none": "api-only",
    "restricted": "restricted-weights",
    "open": "open-weights",
}
_NO_REGIONS: Mapping[str, str] = MappingProxyType({})
_canonical = msgspec.json.Encoder(order="sorted")


class Registry:
    """Every model version in force. `digest` is over all their declarations."""

    def __init__(
        self, versions: tuple[Version, ...], in_service: Mapping[str, Version], routings: Mapping[VersionName, Routing]
    ) -> None:
        self.versions = versions
        self.routings = routings
        """How each version's route is gone along."""
        self.source: bytes = _canonical.encode({version.name: version.digest for version in versions})
        self.digest: Digest = digest(self.source)
        self._by_name: dict[str, Version] = {version.name: version for version in versions} | dict(in_service)

    def find(self, requested: RequestedModel) -> Version | None:
        """Return the version that `name` or `name@version` means, if there is one."""
        return self._by_name.get(requested)

    def resolve(self, requested: RequestedModel) -> Version:
        """Return the version that `name` or `name@version` means. Raises `NotFound`, OpenAI's `model_not_found`."""
        version = self._by_name.get(requested)
        if version is None:
            raise NotFound(
                f"No model is called {requested[:100]!r} here. GET /v1/models lists those you may see.",
                code="model_not_found",
                param="model",
            )
        return version

    def version(self, name: VersionName) -> Version:
        """Return the version of this full name, which must be one of `names`."""
        return self._by_name[name]

    def resolve_for(self, requested: RequestedModel, kind: str) -> Version:
        """Resolve a model that must be of `kind`. Raises `InvalidRequest` where it is of another."""
        version = self.resolve(requested)
        if version.kind != kind:
            raise InvalidRequest(
                f"The model {version.name} is of kind {version.kind}; this endpoint needs one of kind {kind}.",
                param="model",
            )
        return version

    @property
    def names(self) -> frozenset[VersionName]:
        """Every version's full name."""
        return frozenset(version.name for version in self.versions)


def build_registry(
    models: Mapping[str, ModelSettings],
    upstreams: frozenset[str],
    *,
    settled: frozenset[str] = frozenset(),
    regions: Mapping[str, str] = _NO_REGIONS,
) -> Registry:
    """Make the registry of the declared models. `settled` upstreams need no route to be right.

    `regions`: of the upstreams that declare one. Raises `ConfigErrors` for a route to an upstream that is not declared
    or that asks one twice, an upstream that no route uses, a model whose version in service is not clear, names that
    are no names, and routing that can match nothing. Each error's `file` is the key's path.
    """
    problems: list[ConfigError] = []
    versions = [_build(key, settings, upstreams, regions, problems) for key, settings in models.items()]
    used = {target.upstream for version in versions for target in version.route}
    problems += [
        ConfigError(
            "No model's route names this upstream. Put it into a route, or remove it.", file=f"upstreams.{name}"
        )
        for name in sorted(upstreams - used - settled)
    ]
    names = [version.name for version in versions]
    problems += [
        ConfigError(f"{version.name} is declared twice: a name without @VERSION means @1.", file=f"models.{key}")
        for index, (key, version) in enumerate(zip(models, versions, strict=True))
        if version.name in names[:index]
    ]
    in_service = _in_service(versions, models, problems)
    by_name = {version.name: version for version in versions} | in_service
    routings = {
        version.name: Routing(
            steps=_steps(settings, version.model, regions),
            choose=settings.choose,
            sticky=settings.sticky,
            retry=settings.retry,
            hedge=settings.hedge,
            fallback=_fallback(key, settings, version, by_name, problems),
        )
        for version, (key, settings) in zip(versions, models.items(), strict=True)
    }
    problems += [problem for key, settings in models.items() for problem in _idle_routing(key, settings)]
    if problems:
        raise ConfigErrors(problems)
    return Registry(tuple(versions), in_service, routings)


def _build(
    key: str,
    settings: ModelSettings,
    upstreams: frozenset[str],
    regions: Mapping[str, str],
    problems: list[ConfigError],
) -> Version:
    model, _, number = key.partition("@")
    if not model or (not number and "@" in key) or any(character.isspace() for character in key):
        problems.append(
            ConfigError(f"{key!r} is not a model's name. Write NAME or NAME@VERSION.", file=f"models.{key}")
        )
    route = _route(key, model, settings, upstreams, problems)
    name = VersionName(f"{model}@{number or '1'}")
    openness = _WEIGHTS_TO_OPENNESS[settings.weights]
    route_regions = tuple(sorted({regions[each.upstream] for each in route if each.upstream in regions}))
    declared = _canonical.encode({"name": name, "settings": settings, "regions": route_regions})
    version_digest = digest(declared)
    attributes: dict[str, AttributeValue] = {
        "name": model,
        "version": number or "1",
        "kind": settings.kind,
        "rung": RUNGS.index(settings.rung),
        "rung_name": settings.rung,
        "openness": OPENNESS.index(openness),
        "openness_name": openness,
        "open": OPENNESS.index(openness) >= OPENNESS.index("open-weights"),
        "upstreams": tuple(target.upstream for target in route),
        "regions": route_regions,
    }
    attributes |= {
        field: value
        for field, value in (("licence", settings.licence), ("producer", settings.producer))
        if value is not None
    }
    return Version(
        name=name,
        model=model,
        version=number or "1",
        kind=settings.kind,
        rung=settings.rung,
        openness=openness,
        licence=settings.licence,
        producer=settings.producer,
        description=settings.description,
        route=route,
        prices=(settings.price,) if isinstance(settings.price, Price) else settings.price,
        max_input_tokens=settings.max_input_tokens,
        max_output_tokens=settings.max_output_tokens,
        digest=version_digest,
        resource=Resource("Model", name, attributes, version_digest),
        hidden_reasoning=settings.hidden_reasoning,
        declared=declared,
    )


def _route(
    key: str, model: str, settings: ModelSettings, upstreams: frozenset[str], problems: list[ConfigError]
) -> tuple[Target, ...]:
    if not settings.route:
        problems.append(ConfigError("The route is empty. Name an upstream.", file=f"models.{key}.route"))
    route = tuple(_target(step, model) for step in settings.route)
    problems += [
        ConfigError(
            f"The route names the upstream {target.upstream!r}, which is not declared. "
            f"Declare [upstreams.{target.upstream}], or name one of: {', '.join(sorted(upstreams)) or 'none yet'}.",
            file=f"models.{key}.route",
        )
        for target in route
        if target.upstream not in upstreams
    ]
    problems += [
        ConfigError(
            f"The route has the upstream {target.upstream!r} with the model {target.model!r} before. A request asks "
            "each once. Remove it here.",
            file=f"models.{key}.route.{index}",
        )
        for index, target in enumerate(route)
        if target in route[:index]
    ]
    return tuple(step.target for step in _steps(settings, model, _NO_REGIONS))


def _target(step: str | RouteTarget, model: str) -> Target:
    if isinstance(step, str):
        return Target(step, UpstreamModel(model))
    return Target(step.upstream, UpstreamModel(step.model or model))


def _steps(settings: ModelSettings, model: str, regions: Mapping[str, str]) -> tuple[Step, ...]:
    """Return a route's steps by priority; within one they stay as they were declared."""
    steps = []
    for entry in settings.route:
        target = _target(entry, model)
        weight, priority = (None, 0) if isinstance(entry, str) else (entry.weight, entry.priority)
        steps.append(Step(target, weight or 1.0, priority, regions.get(target.upstream, "")))
    return tuple(sorted(steps, key=lambda step: step.priority))


def _fallback(
    key: str, settings: ModelSettings, version: Version, by_name: Mapping[str, Version], problems: list[ConfigError]
) -> tuple[VersionName, ...]:
    """Resolve the models that are asked where a route gives out."""
    found: list[VersionName] = []
    for index, name in enumerate(settings.fallback):
        other = by_name.get(name)
        wrong = None
        if other is None:
            wrong = f"No model is called {name!r}. It may be one of: {', '.join(sorted(by_name))}."
        elif other is version:
            wrong = "A model cannot stand in for itself. Remove it here."
        elif other.kind != version.kind:
            wrong = (
                f"{other.name} is of kind {other.kind}, {version.name} of kind {version.kind}. Name one of its kind."
            )
        elif other.name in found:
            wrong = f"{other.name} is named before. A request asks each once. Remove it here."
        else:
            found.append(other.name)
        if wrong is not None:
            problems.append(ConfigError(wrong, file=f"models.{key}.fallback.{index}"))
    return tuple(found)


def _idle_routing(key: str, settings: ModelSettings) -> Iterator[ConfigError]:
    """Find what is said of a route and decides nothing."""
    priorities = Counter(0 if isinstance(entry, str) else entry.priority for entry in settings.route)
    chooses = settings.choose != "order" or settings.sticky is not None
    if chooses and max(priorities.values(), default=0) < 2:
        name = "sticky" if settings.sticky is not None else "choose"
        what = "No two entries of the route have the same priority, so there is nothing to choose. Remove it."
        yield ConfigError(what, file=f"models.{key}.{name}")
    if settings.hedge is not None and len(settings.route) < 2:
        what = "The route has one entry, so there is no second to ask. Remove it."
        yield ConfigError(what, file=f"models.{key}.hedge")
    if settings.sticky is not None and settings.choose in {"least-loaded", "fastest"}:
        what = f'`sticky` leaves {settings.choose!r} nothing to choose. Remove one of them, or choose "weighted".'
        yield ConfigError(what, file=f"models.{key}.choose")
    if settings.choose in {"weighted", "least-loaded"} or settings.sticky is not None:
        return
    for index, entry in enumerate(settings.route):
        if not isinstance(entry, str) and entry.weight is not None:
            what = 'Nothing here goes by weights. Write choose = "weighted" for the model, or remove the weight.'
            yield ConfigError(what, file=f"models.{key}.route.{index}")


def _in_service(
    versions: list[Version], models: Mapping[str, ModelSettings], problems: list[ConfigError]
) -> dict[str, Version]:
    """Choose for each model the version that its bare name means."""
    chosen = {key for key, settings in models.items() if settings.in_service}
    result: dict[str, Version] = {}
    for model in dict.fromkeys(version.model for version in versions):
        keys = [key for key in models if key.partition("@")[0] == model]
        marked = [key for key in keys if key in chosen] if len(keys) > 1 else keys
        if len(marked) != 1:
            problems.append(
                ConfigError(
                    f"{model!r} has {len(keys)} versions and {len(marked)} marked as the one in service. "
                    "Put `in_service = true` on exactly one.",
                    file=f"models.{keys[0]}",
                )
            )
            continue
        result[model] = next(v for key, v in zip(models, versions, strict=True) if key == marked[0])
    return result
