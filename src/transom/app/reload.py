"""Take up changed files while requests run: all of them or none."""

import asyncio
import logging
import time
from pathlib import Path

from transom.app.build import BUILD, Parts
from transom.app.declared import (
    EMBEDDED,
    Settings,
    Stamp,
    declared_files,
    read_running,
    read_settings,
    referenced_files,
    stamps,
)
from transom.app.engine_news import EngineLink
from transom.decisions.governance import record_models
from transom.errors import ConfigError, ConfigErrors, NotDurable, StorageError, TransomError
from transom.gateway.running import Running
from transom.ledger.acts import PolicyEntry, SettingsEntry
from transom.ledger.entry import new_id, timestamp
from transom.values import CallerId

_log = logging.getLogger("transom.reload")
_LOOK_SECONDS = 0.5
FILES = CallerId("files")
"""Who has files taken up that changed on disk, or that are read at a start."""


class Reloader:
    """Keeps a door's running set equal to the files; where it is not, the door's `reload_problem` says why."""

    def __init__(self, parts: Parts, link: EngineLink, *, workers: int) -> None:
        """`workers`: how many processes serve this home."""
        self._parts = parts
        self._link = link
        self._workers = workers
        self._turn = asyncio.Lock()
        self.settings = parts.stores.settings
        """What the files said when they were last taken up."""
        self._referenced: tuple[Path, ...] = ()
        # Nothing yet, so that the first look takes up whatever was edited while the process started.
        self._seen: dict[Path, Stamp | None] = {}

    async def watch(self) -> None:
        """Look at the files for ever, and take up what has changed."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if stamps((*declared_files(self._parts.stores.home), *self._referenced)) != self._seen:
                try:
                    await self.reload()
                except ConfigError:
                    continue  # said in the log and on the page; the running set stays

    async def reload(self, by: CallerId = FILES) -> Running:
        """Read everything again and put it in force. Raises `ConfigError` with every place; then nothing changes.

        `by`: who asked for it. One at a time: of two that overlap, the one that read older files might win.
        """
        async with self._turn:
            return await self._reload(by)

    async def _reload(self, by: CallerId) -> Running:
        door = self._parts.door
        before = door.running
        try:
            settings, running = await asyncio.to_thread(self._read, before)
        except (TransomError, OSError) as error:
            door.reload_problem = str(error)
            door.telemetry.reloaded("refused")
            _log.error("the files are not taken up, what ran before stays: %s", error)
            raise error if isinstance(error, ConfigError) else ConfigError(f"{error}") from error
        self.settings = settings
        door.reload_problem = None
        # The engine may have come or gone while the files were read.
        if EMBEDDED in before.upstreams:
            running.upstreams[EMBEDDED] = before.upstreams[EMBEDDED]
        door.running = running
        door.decisions.retain_seconds = settings.retention.default
        door.decisions.facts_seconds = settings.retention.facts
        door.telemetry.reloaded("taken up")
        if running.rates is not before.rates:
            await before.rates.close()
        for name, upstream in before.upstreams.items():
            if running.upstreams.get(name) is not upstream:
                upstream.retire()
        for issuer, provider in before.providers.items():
            if running.providers.get(issuer) is not provider:
                provider.retire()
        await note_in_force(self._parts, before, by)
        return running

    def _read(self, before: Running) -> tuple[Settings, Running]:
        """Read the files. Each is noted as seen before it is read: what changes meanwhile is read again."""
        home = self._parts.stores.home
        declared = stamps(declared_files(home))
        self._seen = declared | stamps(self._referenced)
        settings = read_settings(home, self._workers)
        self._referenced = referenced_files(settings)
        self._seen = declared | stamps(self._referenced)
        with settings.source.placing():
            self._refuse_new_engine(settings)
        return settings, read_running(home, settings, before)

    def _refuse_new_engine(self, settings: Settings) -> None:
        """Refuse a new route to an engine that nobody started: it would never be ready."""
        added = [name for name in settings.embedded_models if name not in self.settings.embedded_models]
        if self._link.wanted or not added:
            return
        remedy = "Restart" if settings.engine.wanted() else "Install it (pip install 'transom[local]') and restart"
        raise ConfigErrors(
            [
                ConfigError(
                    "This route leads to the embedded engine, which is not running here and is started at start only. "
                    f"{remedy} `transom up`, or take {EMBEDDED!r} out of the route.",
                    file=f"models.{name}.route",
                )
                for name in added
            ]
        )


async def note_in_force(parts: Parts, before: Running | None, by: CallerId = FILES) -> None:
    """Write into the ledger what has come into force since `before`, and who had it read."""
    running = parts.door.running
    now = time.time_ns() // 1_000_000
    who = parts.stores.keys.pseudonym(by)
    try:
        await parts.declared.keep(running)
    except StorageError as error:
        _log.warning("what came into force is not yet kept under its digest; it is tried again. %s", error)
    try:
        if before is None or before.policies.digest != running.policies.digest:
            policies = running.policies
            entry = PolicyEntry(
                id=new_id(now), at=timestamp(now), digest=policies.digest, files=dict(policies.files), by=who
            )
            await parts.door.decisions.note(entry)
        if before is None or _declared(before) != _declared(running):
            await parts.door.decisions.note(
                SettingsEntry(
                    id=new_id(now),
                    at=timestamp(now),
                    settings=running.settings_digest,
                    registry=running.registry.digest,
                    prices=running.prices.digest,
                    safeguards=running.safeguards.digest,
                    build=BUILD,
                    by=who,
                )
            )
        if before is None or before.registry.digest != running.registry.digest:
            keys, versions = parts.stores.keys, running.registry.versions
            await parts.stores.database.run(
                lambda connection: record_models(connection, keys, versions, by=by), write=True
            )
    except (NotDurable, StorageError):
        # It stays in line and is written when the database can be; every decision names the digests meanwhile.
        _log.warning("what came into force is not yet on record")


def _declared(running: Running) -> tuple[str, ...]:
    return running.settings_digest, running.registry.digest, running.prices.digest, running.safeguards.digest
