"""What is in force, and what lives as long as the process."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Protocol

import msgspec

from transom.callers.keys import Keyring
from transom.callers.oidc import Identity, TokenError, looks_like_token
from transom.decisions.receipts import Receipts
from transom.decisions.record import Decisions
from transom.errors import NotDurable, StorageError, Unidentified
from transom.gateway.cache import AnswerCache
from transom.gateway.providers import Providers, provider_of, said_of
from transom.gateway.settings import ServerSettings
from transom.gateway.telemetry import Telemetry
from transom.metering.limits import Limits
from transom.metering.rates import Rates
from transom.metering.sheet import PriceSheet
from transom.policy.ruling import Policies
from transom.registry.versions import Registry
from transom.safeguards.interface import Safeguards
from transom.storage.engine import Database
from transom.upstreams.client import Upstream
from transom.values import ANONYMOUS, Caller, CallerId, Digest, Pseudonym, VersionName

_REREAD_SECONDS = 0.05
_UNIDENTIFIED = {
    "no key": "missing_api_key",
    "unknown key": "invalid_api_key",
    "several keys": "several_api_keys",
    "bad token": "invalid_token",
    "expired token": "token_expired",
    "bad sign-in": "sign_in_failed",
    "no session": "no_session",
}
"""Why nobody could be identified, and the code that says so."""


class Running(msgspec.Struct, frozen=True, eq=False):
    """One reading of everything that is declared in files. A reload makes another; a request keeps the one it met."""

    policies: Policies
    registry: Registry
    safeguards: Safeguards
    rates: Rates
    limits: Limits
    prices: PriceSheet
    caches: Mapping[VersionName, AnswerCache]
    """Of the versions whose answers are kept for a while."""
    upstreams: dict[str, Upstream]
    """By name. The embedded engine stands here while it can be asked."""
    settings_digest: Digest
    providers: Providers = {}
    """The identity providers whose tokens are taken."""


class Probe(Protocol):
    """Something that can say whether it is well."""

    def __call__(self) -> str | None:
        """Return what is wrong, or `None`."""
        ...


class Door:
    """Everything that a request may need. `running` is replaced as a whole by a reload."""

    def __init__(
        self,
        running: Running,
        server: ServerSettings,
        keyring: Keyring,
        decisions: Decisions,
        telemetry: Telemetry,
        database: Database,
        receipts: Receipts,
    ) -> None:
        self.running = running
        self.server = server
        self.keyring = keyring
        self.decisions = decisions
        self.telemetry = telemetry
        self.database = database
        self.receipts = receipts
        self.unidentified: Counter[str] = Counter()
        """Callers that could not be identified since the last entry of their counts, by reason."""
        self.anonymous_reads: Counter[str] = Counter()
        """Reads by nobody in particular of what policy leaves open to anyone, by what was read."""
        self.probes: dict[str, Probe] = {}
        """What must be well for this process to be ready."""
        self.reload: Callable[[CallerId], Awaitable[Running]] | None = None
        """Reads the declared files again and puts them in force; raises `ConfigError`, and then nothing changes."""
        self.reload_problem: str | None = None
        """Why the running set is not what the files say now, where it is not."""
        self.stopping = asyncio.Event()
        """Set when the process is told to end: whatever streams for as long as somebody looks ends then."""
        self._reading_keys: asyncio.Task[None] | None = None
        self._read_keys_at = 0.0

    async def identify(self, secrets: Collection[bytes]) -> Caller:
        """Say who asks. Raises `Unidentified` for a secret that is no key's, or for more than one, and counts it.

        A key that is known but no longer valid is a caller, with `refusal` set: refusing it is on the record. A key
        that is not known may have been issued a moment ago, elsewhere: the database is asked before it is refused.
        """
        if not secrets:
            raise self.stranger("no key", "No key was sent. Send one as `Authorization: Bearer tr_…`.")
        if len(secrets) > 1:
            text = "Two different keys were sent, and which one counts is not ours to guess. Send one."
            raise self.stranger("several keys", text)
        (secret,) = secrets
        caller = self.keyring.identify(secret)
        if caller is None and self.running.providers and looks_like_token(secret):
            return await self._identify_token(secret)
        if caller is None:
            await self.reread_keys()
            caller = self.keyring.identify(secret)
        if caller is None:
            text = "This is no key of this door. Ask an operator for one (`transom keys create`)."
            raise self.stranger("unknown key", text)
        return caller

    async def _identify_token(self, token: bytes) -> Caller:
        try:
            provider = provider_of(token, self.running.providers)
            identity = await provider.identify(token)
        except TokenError as error:
            raise self.stranger(error.reason, said_of(error)) from error
        return self.keyring.subject(identity, provider.settings.ours(identity.groups))

    def identify_subject(self, identity: Identity) -> Caller:
        """Say whose session this is, by the provider that they signed in with. Raises `Unidentified`, and counts it."""
        provider = self.running.providers.get(identity.issuer)
        if provider is None:
            raise self.stranger("no session", "Nobody signs in with this provider any more. Sign in again.")
        return self.keyring.subject(identity, provider.settings.ours(identity.groups), "session")

    async def identify_session(self, id_: CallerId | None, generation: int) -> Caller:
        """Say whose session this is, by the key that opened it. Raises `Unidentified`, and counts it."""
        caller = None if id_ is None else self.keyring.caller(id_, generation)
        if id_ is not None and caller is None:
            await self.reread_keys()
            caller = self.keyring.caller(id_, generation)
        if caller is None:
            raise self.stranger("no session", "Nobody is signed in here. Sign in with a key of this door.")
        return msgspec.structs.replace(caller, kind="session")

    def stranger(self, reason: str, text: str) -> Unidentified:
        """Count one who could not be identified, and return the refusal that says so."""
        self.unidentified[reason] += 1
        self.telemetry.unidentified(reason)
        return Unidentified(text, code=_UNIDENTIFIED[reason])

    async def reread_keys(self) -> None:
        """Load keys again if any has changed. One reading serves all who wait, so that guessing costs us little.

        Raises `NotDurable` (503, never 401) where the database does not answer: the key may be good.
        """
        if self._reading_keys is None:
            self._reading_keys = asyncio.get_running_loop().create_task(self._read_keys())
        await asyncio.shield(self._reading_keys)

    async def _read_keys(self) -> None:
        wait = self._read_keys_at + _REREAD_SECONDS - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        self._read_keys_at = time.monotonic()
        self._reading_keys = None  # who comes from here on waits for the next reading: this one may miss their key
        try:
            await self.database.run(self.keyring.refresh)
        except StorageError as error:
            raise NotDurable(
                "The keys cannot be read now, so nobody new can be identified. Try again shortly.", retry_after=1
            ) from error


NOBODY = Caller(ANONYMOUS, "anyone", (), Pseudonym("anonymous"), kind="anonymous")
"""Who asks without a key."""
