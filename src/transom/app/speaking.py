"""Whether every route leads to upstreams that speak what its model is asked in. Pure."""

from collections.abc import Mapping

from transom.dialects.known import CONVERSATIONS, KNOWN
from transom.errors import ConfigError
from transom.registry.settings import ModelSettings
from transom.upstreams.settings import UpstreamSettings


def speaking_problems(
    models: Mapping[str, ModelSettings], upstreams: Mapping[str, UpstreamSettings]
) -> list[ConfigError]:
    """Find upstreams on a route that no call to its model could be said to."""
    problems = []
    for name, model in models.items():
        for index, step in enumerate(model.route):
            upstream = step if isinstance(step, str) else step.upstream
            settings = upstreams.get(upstream)
            if settings is None or _understands(settings, model.kind):
                continue
            wanted = [each for each in KNOWN if model.kind == KNOWN[each].KIND]
            problems.append(
                ConfigError(
                    f"{name} is of kind {model.kind}; the upstream {upstream!r} speaks {', '.join(settings.speaks)}. "
                    f"Add what it speaks of {', '.join(wanted)} to `speaks`, or take it off the route.",
                    file=f"models.{name}.route.{index}",
                )
            )
    return problems


def _understands(settings: UpstreamSettings, kind: str) -> bool:
    if kind == "chat":
        return any(name in CONVERSATIONS for name in settings.speaks)
    return any(kind == KNOWN[name].KIND for name in settings.speaks)
