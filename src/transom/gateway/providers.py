"""Identity providers as this process knows them: their keys, fetched and kept, and the tokens that were verified.

Source: OpenID Connect Discovery 1.0, section 4.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import urlsplit

import msgspec

from transom.callers.oidc import Identity, Keys, TokenError, UnknownKeyError, issuer_of, read_keys, verify
from transom.callers.settings import OidcSettings, check_address
from transom.errors import ConfigError, NotDurable
from transom.upstreams.client import Upstream
from transom.upstreams.errors import UpstreamError
from transom.upstreams.settings import Timeouts, UpstreamSettings

_log = logging.getLogger("transom.identity")
_DISCOVERY = b"/.well-known/openid-configuration"
_TIMEOUTS = Timeouts(connect=5.0, first_byte=5.0, between_chunks=5.0, whole=10.0)
_JSON = ((b"accept", b"application/json"),)
_MOST_BYTES = 1024 * 1024
_RETRY_SECONDS = 5.0
"""How long a provider that could not be asked is left alone. Strangers make us ask: they must not make us ask often."""
_GENERATION = 4096


class Metadata(msgspec.Struct, frozen=True):
    """What of a provider's discovery document matters here."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class ProviderError(Exception):
    """A provider did not answer, or not with what it must. The text says what is wrong."""


class Provider:
    """One identity provider. It belongs to the event loop in which it is first used.

    Raises `ConfigError` where a secret or certificate authorities of the settings cannot be read.
    """

    def __init__(self, settings: OidcSettings, where: str) -> None:
        """`where`: the setting's path, for errors."""
        self.settings = settings
        self.secret = (
            None if settings.client_secret is None else settings.client_secret.resolve(f"{where}.client_secret")
        )
        self._where = where
        self._at: dict[tuple[str, str | None], Upstream] = {}
        self._upstream(settings.issuer)
        self._metadata: Metadata | None = None
        self._keys: Keys = ()
        self._asked_at = float("-inf")
        self._problem: str | None = None
        self._asking: asyncio.Task[None] | None = None
        self._young: dict[bytes, Identity] = {}
        self._old: dict[bytes, Identity] = {}

    def is_current(self, wanted: OidcSettings, where: str) -> bool:
        """Say whether a provider made of `wanted` now would be this one again. Raises `ConfigError` as making one."""
        if self.settings != wanted:
            return False
        secret = None if wanted.client_secret is None else wanted.client_secret.resolve(f"{where}.client_secret")
        return secret == self.secret and all(each.is_current(each.settings) for each in self._at.values())

    def retire(self) -> None:
        """Finish what is under way and keep no connection."""
        for upstream in self._at.values():
            upstream.retire()

    async def identify(self, token: bytes) -> Identity:
        """Say whose token it is: remembered until it expires, else by the provider's keys.

        Raises `TokenError`; `NotDurable` (503, not 401) where the provider's keys cannot be had: it may be good.
        """
        name = sha256(token).digest()
        found = self._young.get(name) or self._old.get(name)
        if found is not None and time.time() < found.expires:
            self._renew()
            return found
        found = await self.verify(token)
        if len(self._young) >= _GENERATION:  # what was not verified for a whole generation is verified again
            self._old, self._young = self._young, {}
        self._young[name] = found
        return found

    async def verify(self, token: bytes, audience: str | None = None) -> Identity:
        """Say whose token it is by the provider's keys, nothing remembered. Raises as `identify` does."""
        keys = await self._current()
        try:
            return verify(token, self.settings, keys, time.time(), audience=audience)
        except UnknownKeyError:
            newer = await self._newer(keys)
            return verify(token, self.settings, newer, time.time(), audience=audience)

    async def metadata(self) -> Metadata:
        """Return what the provider says of itself. Raises `NotDurable` where it cannot be had."""
        await self._current()
        assert self._metadata is not None
        return self._metadata

    async def post(self, url: str, form: bytes, authorization: str | None = None) -> tuple[int, bytes]:
        """Send a form to one of the provider's addresses; return status and body. Raises `ProviderError`."""
        try:
            upstream = self._upstream(url, authorization)
            response = await upstream.send(
                b"POST", _path(url), form, _JSON, content_type=b"application/x-www-form-urlencoded"
            )
            return response.status, await response.read(_MOST_BYTES)
        except (UpstreamError, ConfigError, ValueError) as error:
            raise ProviderError(str(error)) from error

    async def _current(self) -> Keys:
        """Return the provider's keys: asked for where there are none, renewed behind the scenes where they are old."""
        if not self._keys:
            await self._ask()
            if not self._keys:
                raise self._unavailable()
        self._renew()
        return self._keys

    def _renew(self) -> None:
        """Ask behind the scenes where the keys are old: one that the provider has taken back must not go on."""
        if self._is_due:
            self._start_asking()

    async def _newer(self, keys: Keys) -> Keys:
        """Return newer keys than those. Where none may be asked for yet, the provider was asked a moment ago."""
        if self._keys is keys:
            await self._ask()
        if self._problem is not None:
            raise self._unavailable()
        return self._keys

    @property
    def _is_due(self) -> bool:
        wait = self.settings.jwks_seconds if self._problem is None else min(self.settings.jwks_seconds, _RETRY_SECONDS)
        return time.monotonic() - self._asked_at >= wait

    async def _ask(self) -> None:
        """Ask the provider, if it may be asked again; one question serves all who wait."""
        if self._asking is None and self._is_due:
            self._start_asking()
        if self._asking is not None:
            await asyncio.shield(self._asking)

    def _start_asking(self) -> None:
        if self._asking is None:
            self._asked_at = time.monotonic()
            self._asking = asyncio.get_running_loop().create_task(self._fetch())

    async def _fetch(self) -> None:
        try:
            metadata = await self._discover()
            keys = read_keys(await self._get(metadata.jwks_uri))
        except (ProviderError, ValueError) as error:
            if self._problem is None:
                _log.error("the identity provider %s: %s", self.settings.issuer, error)
            self._problem = str(error)
        else:
            if self._problem is not None:
                _log.warning("the identity provider %s answers again", self.settings.issuer)
            self._problem, self._metadata = None, metadata
            if keys != self._keys:
                # A key that is gone verifies nothing any more, not even what it verified before.
                self._keys, self._young, self._old = keys, {}, {}
        finally:
            self._asking = None

    async def _discover(self) -> Metadata:
        base = self.settings.issuer.rstrip("/")
        try:
            metadata = msgspec.json.decode(await self._get(base + _DISCOVERY.decode()), type=Metadata)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ProviderError("its discovery document is not what OpenID Connect Discovery says") from error
        if metadata.issuer != self.settings.issuer:
            raise ProviderError(f"it says that it is {metadata.issuer[:200]!r}. Write that as `issuer` if it is meant")
        return metadata

    async def _get(self, url: str) -> bytes:
        try:
            response = await self._upstream(url).send(b"GET", _path(url), b"")
            body = await response.read(_MOST_BYTES)
        except (UpstreamError, ConfigError, ValueError) as error:
            raise ProviderError(str(error)) from error
        if response.status != 200:
            raise ProviderError(f"{url} answers {response.status}")
        return body

    def _upstream(self, url: str, authorization: str | None = None) -> Upstream:
        """Return the client for an address of the provider's, as safe as the issuer's own."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        found = self._at.get((origin, authorization))
        if found is None:
            check_address(url, "a provider's address")
            settings = UpstreamSettings(
                base_url=origin,
                headers={} if authorization is None else {"authorization": authorization},
                ca_file=self.settings.ca_file,
                timeouts=_TIMEOUTS,
                max_connections=8,
            )
            try:
                found = Upstream(f"identity provider {parts.hostname}", settings)
            except ConfigError as error:
                raise ConfigError(error.what, file=f"{self._where}.ca_file") from error
            self._at[origin, authorization] = found
        return found

    def _unavailable(self) -> NotDurable:
        return NotDurable(
            "The identity provider cannot be asked now, so nobody new can be identified by it. Try again shortly.",
            code="identity_provider_unavailable",
            retry_after=int(_RETRY_SECONDS),
        )


Providers = Mapping[str, Provider]
"""By issuer."""


def _path(url: str) -> bytes:
    parts = urlsplit(url)
    return ((parts.path or "/") + (f"?{parts.query}" if parts.query else "")).encode()


def make_providers(
    wanted: tuple[OidcSettings, ...], before: Providers, problems: list[ConfigError]
) -> dict[str, Provider]:
    """Make every provider, or take over the one there was where nothing that it is made from has changed."""
    found: dict[str, Provider] = {}
    for number, settings in enumerate(wanted):
        where = f"oidc.{number}"
        if settings.issuer in found:
            problems.append(ConfigError(f"The issuer {settings.issuer} stands here twice. Keep one.", file=where))
            continue
        old = before.get(settings.issuer)
        try:
            current = old is not None and old.is_current(settings, where)
            found[settings.issuer] = old if old is not None and current else Provider(settings, where)
        except ConfigError as error:
            problems.append(error)
    return found


def provider_of(token: bytes, providers: Providers) -> Provider:
    """Return the provider that a token claims to be of. Raises `TokenError`."""
    found = providers.get(issuer_of(token))
    if found is None:
        raise TokenError("its issuer is none that this door knows")
    return found


def said_of(error: TokenError) -> str:
    """Return what a caller is told of a token that says nothing."""
    return f"This token does not say who you are here: {error}. Get a new one from your identity provider."
