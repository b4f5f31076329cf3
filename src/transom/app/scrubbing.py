"""Looks after what is stored of the log, a piece at a time, in the process that sequences it (`ledger.scrub`)."""

import asyncio
import logging
import time
from typing import Final

from transom.app.build import Parts
from transom.errors import LedgerError
from transom.ledger.acts import RepairEntry
from transom.ledger.entry import new_id, timestamp
from transom.ledger.scrub import Scrubber

_log = logging.getLogger("transom.scrub")
_LOCAL_SECONDS: Final = 1.0
_REMOTE_SECONDS: Final = 30.0
"""Each step asks a dozen times, and whoever keeps objects for others bills each."""
_KEPT_EVERY: Final = 60
"""Steps after which it is kept how far it is."""
_MOST_SAID: Final = 1_000


class Scrubbing:
    """The scrubber of one process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._scrubber = Scrubber(parts.stores.database, parts.stores.objects, parts.stores.keys)
        self.pace = _LOCAL_SECONDS if parts.stores.objects.local else _REMOTE_SECONDS
        """Seconds between two steps."""
        self._steps = 0
        self._said: set[str] = set()

    async def look(self) -> None:
        """Do a step; put on record what was mended, and say what cannot be. Raises `StorageError`, `NotDurable`."""
        if not self._parts.sequencer.leads:
            return
        try:
            found = await asyncio.to_thread(self._scrubber.step)
        except LedgerError as error:
            self._say(str(error))
            return
        for problem in found.problems:
            self._say(problem)
        for mended in found.mended:
            _log.error("%s %s was %s, and is made whole again from what is signed", *mended)
            now = time.time_ns() // 1_000_000
            entry = RepairEntry(
                id=new_id(now), at=timestamp(now), what=mended.what, name=mended.name, cause=mended.cause
            )
            # It is mended already, by what is signed: a crash before this is durable loses the news of it, no more.
            await self._parts.door.decisions.note(entry)
        self._steps += 1
        if self._steps % _KEPT_EVERY == 0:
            await asyncio.to_thread(self._scrubber.remember)

    def _say(self, problem: str) -> None:
        """Log what cannot be mended, once: a small log is gone round every few seconds."""
        if problem not in self._said:
            if len(self._said) == _MOST_SAID:
                self._said.clear()
            self._said.add(problem)
            _log.error("what is stored is not what was signed: %s Run `transom ledger verify`.", problem)
