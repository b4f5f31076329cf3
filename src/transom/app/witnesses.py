"""Asks other people's witnesses to cosign this log's checkpoints (C2SP tlog-witness), from the sequencer's thread."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import CancelledError
from typing import Final

from transom.errors import ConfigError, LedgerError, StorageError
from transom.ledger.cosign import Cosignature, CosignatureVerifier, cosignatures
from transom.ledger.fields import MAX_INTEGER
from transom.ledger.note import split_note
from transom.ledger.settings import LedgerSettings, WitnessedBySettings
from transom.ledger.witness import AddCheckpoint
from transom.upstreams.client import Upstream
from transom.upstreams.errors import UpstreamError
from transom.upstreams.settings import Timeouts, UpstreamSettings

_log = logging.getLogger("transom.witnesses")
_MOST_BYTES: Final = 65_536
_LONGEST_PAUSE: Final = 2.0
"""Seconds for which a witness that fails is left alone at most: a held checkpoint waits for it."""
_GRACE_SECONDS: Final = 1.0
"""How long the event loop may take besides. With the longest `witness_seconds`, less than the sequencer's lease."""
_TIMEOUTS: Final = Timeouts(connect=5.0, first_byte=10.0, between_chunks=5.0, whole=15.0)

Prove = Callable[[int], list[bytes]]


def upstream_of(settings: WitnessedBySettings) -> UpstreamSettings:
    """Return the settings of a witness's client. Raises `ConfigError`."""
    try:
        return UpstreamSettings(base_url=settings.url.rstrip("/"), timeouts=_TIMEOUTS, max_connections=2)
    except ValueError as error:
        raise ConfigError(f"{error}.".replace("base_url", "A witness's URL"), file="ledger.witnesses") from None


class _WitnessError(Exception):
    """A witness did not cosign; says why."""


class AskedWitnesses:
    """The witnesses of the settings, asked over the event loop in which this is made. See `sequence.Witnesses`."""

    def __init__(self, settings: LedgerSettings) -> None:
        """Make the clients. Raises `ConfigError` where a witness's URL cannot be asked."""
        self.quorum = settings.quorum
        self.hold = settings.unwitnessed == "hold"
        self._seconds = settings.witness_seconds
        self._loop = asyncio.get_running_loop()
        self._witnesses = [_Witness(each) for each in settings.witnesses]

    def genuine(self, note: str, line: str) -> bool:
        """Say whether a line is a cosignature of this checkpoint, as far as its witness is known."""
        try:
            cosignatures((note + line).encode(), [each.verifier for each in self._witnesses])
        except LedgerError:
            return False
        return True

    def ask(self, note: str, size: int, prove: Prove, without: Collection[str]) -> list[Cosignature]:
        """Have a checkpoint cosigned by all but those in `without`; give what came in time. For another thread."""
        wanted = [each for each in self._witnesses if each.name not in without and not each.resting]
        if not wanted:
            return []
        asked = asyncio.run_coroutine_threadsafe(self._ask(wanted, note, size, prove), self._loop)
        try:
            return asked.result(self._seconds + _GRACE_SECONDS)
        except (CancelledError, TimeoutError):
            asked.cancel()
            return []  # the loop is busy with something else, or ends

    async def close(self) -> None:
        """End the connections."""
        for witness in self._witnesses:
            await witness.close()

    async def _ask(self, wanted: list["_Witness"], note: str, size: int, prove: Prove) -> list[Cosignature]:
        asked = [asyncio.wait_for(each.ask(note, size, prove), self._seconds) for each in wanted]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        found = []
        for witness, answer in zip(wanted, answers, strict=True):
            if isinstance(answer, Cosignature):
                witness.answered()
                found.append(answer)
            elif isinstance(answer, TimeoutError):
                witness.failed(f"it did not answer within {self._seconds:g} s")
            elif isinstance(answer, (_WitnessError, UpstreamError, LedgerError, StorageError)):
                witness.failed(str(answer))
            else:
                raise answer
        return found


class _Witness:
    def __init__(self, settings: WitnessedBySettings) -> None:
        self.verifier: CosignatureVerifier = settings.verifier
        self.name = self.verifier.name
        self._upstream = Upstream("witnesses", upstream_of(settings))
        self._size = 0
        """Of the last checkpoint that it is known to have cosigned."""
        self._pause = 0.0
        self._rests_until = 0.0
        self._said = ""

    @property
    def resting(self) -> bool:
        """It has failed and is left alone for a moment."""
        return time.monotonic() < self._rests_until

    def answered(self) -> None:
        if self._pause:
            _log.info("the witness %s answers again", self.name)
        self._pause, self._said = 0.0, ""

    def failed(self, why: str) -> None:
        if why != self._said:
            self._said = why
            _log.warning("the witness %s does not cosign; it is asked again. %s", self.name, why)
        self._pause = min(2 * self._pause or 0.5, _LONGEST_PAUSE)
        self._rests_until = time.monotonic() + self._pause

    async def ask(self, note: str, size: int, prove: Prove) -> Cosignature:
        status, body = await self._send(note, size, prove)
        if status == 409:
            # It knows another size than we thought: after a restart of ours, or an answer of its that got lost.
            self._size = self._known(body, size)
            status, body = await self._send(note, size, prove)
        if status != 200:
            raise _WitnessError(f"It answered {status}: {body[:300].decode(errors='replace').strip()}")
        # Nothing of the answer is believed that its key did not sign; other lines of it are left out.
        text, _ = split_note(note.encode())
        found = cosignatures(text.encode() + b"\n" + body, [self.verifier])
        if not found or not 0 < found[0].time * 1000 <= MAX_INTEGER:
            raise _WitnessError(f"Its answer is not signed by {self.verifier.vkey}, or at no time at all.")
        self._size = size
        return found[0]

    async def close(self) -> None:
        await self._upstream.close()

    def _known(self, body: bytes, size: int) -> int:
        try:
            known = int(body)
        except ValueError:
            raise _WitnessError("It answered 409 without the size that it knows.") from None
        if known > size:
            raise _WitnessError(
                f"It has cosigned this log at size {known}, and the log has {size} entries only: the database was "
                "restored from an older backup, or another log was signed with this key."
            )
        return known

    async def _send(self, note: str, size: int, prove: Prove) -> tuple[int, bytes]:
        old = min(self._size, size)
        proof = await asyncio.to_thread(prove, old)
        body = AddCheckpoint(old, proof, note.encode()).body
        response = await self._upstream.send(b"POST", b"/add-checkpoint", body, content_type=b"text/plain")
        return response.status, await response.read(_MOST_BYTES)
