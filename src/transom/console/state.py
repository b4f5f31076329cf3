"""How the door stands: what is in force, how far the log reaches, which models there are and how their upstreams do."""

import time
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from transom.console.site import Site, Visit
from transom.gateway.running import Running
from transom.gateway.telemetry import Retention
from transom.ledger.store import last_checkpoint
from transom.upstreams.client import Upstream
from transom.values import RUNGS, Openness, Rung, Target, Version

OPENNESS_WORDS: Final[Mapping[Openness, str]] = {
    "unknown": "openness not declared",
    "api-only": "closed, API only",
    "restricted-weights": "weights under restrictions",
    "open-weights": "open weights",
    "open-source": "open source",
}
RUNG_WORDS: Final[Mapping[Rung, str]] = {
    "internal": "fully closed",
    "hosted": "our pages only",
    "api": "answers through the API",
    "gated": "weights to those who accepted terms",
    "downloadable": "weights for anyone to download",
    "fully-open": "weights, code, data and documents",
}


class UpstreamState(msgspec.Struct, frozen=True):
    """One step of a route. `said` is in words; `error` is for operators."""

    name: str
    model: str
    state: Literal["answering", "failing", "left alone", "not asked yet", "not ready"]
    said: str
    error: str | None = None


class ModelState(msgspec.Struct, frozen=True):
    """A model version as a caller may see it. `rung_index` is 0 (internal) to 5 (fully open)."""

    name: str
    version: str
    kind: str
    rung: Rung
    rung_index: int
    rung_said: str
    openness: Openness
    openness_said: str
    licence: str | None
    producer: str | None
    description: str | None
    route: tuple[UpstreamState, ...]


class DoorState(msgspec.Struct, frozen=True):
    """What is in force and how it stands. `reload_problem`: why the running set is not what the files say."""

    ready: bool
    problems: dict[str, str]
    reload_problem: str | None
    policies: str
    settings: str
    registry: str
    ledger_origin: str
    ledger_vkey: str
    ledger_size: int
    retention: Retention
    build: str


def door_state(site: Site, ledger_size: int) -> DoorState:
    """Say how the door stands."""
    door, running = site.door, site.door.running
    problems = {name: problem for name, probe in door.probes.items() if (problem := probe()) is not None}
    return DoorState(
        ready=not problems,
        problems=problems,
        reload_problem=door.reload_problem,
        policies=running.policies.digest,
        settings=running.settings_digest,
        registry=running.registry.digest,
        ledger_origin=site.keys.origin,
        ledger_vkey=site.keys.vkey,
        ledger_size=ledger_size,
        retention=door.telemetry.retention,
        build=site.build,
    )


async def ledger_size(site: Site) -> int:
    """Return how many entries the newest checkpoint covers. Raises `StorageError`."""
    checkpoint = await site.door.database.run(last_checkpoint)
    return 0 if checkpoint is None else checkpoint.size


def models(visit: Visit) -> tuple[ModelState, ...]:
    """Return the models that this caller may view."""
    running = visit.site.door.running
    errors = visit.may("reload")
    versions = (version for version in running.registry.versions if visit.may("view_model", version.resource))
    return tuple(_model(version, running, errors=errors) for version in versions)


def _model(version: Version, running: Running, *, errors: bool) -> ModelState:
    return ModelState(
        name=version.model,
        version=version.name,
        kind=version.kind,
        rung=version.rung,
        rung_index=RUNGS.index(version.rung),
        rung_said=RUNG_WORDS[version.rung],
        openness=version.openness,
        openness_said=OPENNESS_WORDS[version.openness],
        licence=version.licence,
        producer=version.producer,
        description=version.description,
        route=tuple(_upstream(target, running.upstreams.get(target.upstream), errors) for target in version.route),
    )


def _upstream(target: Target, upstream: Upstream | None, errors: bool) -> UpstreamState:  # noqa: FBT001 - two callers' whole difference
    if upstream is None:
        return UpstreamState(target.upstream, target.model, "not ready", "is not ready yet")
    why = upstream.left_alone
    if why is not None:
        said = "is left alone: its health check fails" if upstream.unwell else "is left alone: it kept failing"
        error = upstream.unwell or upstream.health.last_error
        return UpstreamState(target.upstream, target.model, "left alone", said, error if errors else None)
    health = upstream.health
    if health.consecutive_failures:
        said = f"{health.consecutive_failures} in a row brought no answer"
        return UpstreamState(target.upstream, target.model, "failing", said, health.last_error if errors else None)
    if health.last_answer_at is None:
        return UpstreamState(target.upstream, target.model, "not asked yet", "has not been asked yet")
    return UpstreamState(target.upstream, target.model, "answering", f"answered {_ago(health.last_answer_at)}")


def _ago(moment: float) -> str:
    seconds = max(0, time.time() - moment)
    if seconds < 60:
        return "just now"
    return f"{int(seconds / 60)} min ago" if seconds < 3600 else f"{int(seconds / 3600)} h ago"
