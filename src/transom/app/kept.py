"""Everything in force kept under its digest, as soon as the object store takes it."""

import asyncio
from collections.abc import Iterator

from transom.decisions.declared import keep
from transom.gateway.running import Running
from transom.storage.objects import Objects


class KeptDeclared:
    """Keeps what comes into force: policies, their schema, safeguards, the registry, the price sheet.

    Settings are not among it: they may name what only operators should know.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._kept: Running | None = None

    async def keep(self, running: Running) -> None:
        """Keep everything of a running set, once. Raises `StorageError`; then it is tried at the next call."""
        if running is not self._kept:
            await asyncio.to_thread(keep, self._objects, list(_texts(running)))
            self._kept = running


def _texts(running: Running) -> Iterator[bytes]:
    for text in running.policies.texts.values():
        yield text.encode()
    yield running.policies.source
    yield running.safeguards.source
    yield running.registry.source
    for version in running.registry.versions:
        yield version.declared
    yield running.prices.source
