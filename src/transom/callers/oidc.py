"""Tokens of OpenID Connect providers: what a token says, and whether it is the provider's word. Pure: no I/O, no clock.

Sources: RFC 7519 (JWT), RFC 7515 (JWS), RFC 8725 (best current practices), OpenID Connect Core 1.0 section 3.1.3.7.
"""

import re
import warnings
from base64 import urlsafe_b64decode
from binascii import Error as BadBase64
from hashlib import sha256
from typing import Any, TypeVar

import msgspec
from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, RSAKey

from transom.callers.settings import OidcSettings
from transom.values import CallerId

PREFIX = "oidc:"
"""What the id of every provider's subject begins with."""
MAX_TOKEN = 16_384
"""The longest token that is looked at, in bytes."""

_TOKEN = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC"}
_RSA_BITS = 2048
"""RFC 7518 section 3.3: "A key of size 2048 bits or larger MUST be used"."""
_TRIED = 8
_LONGEST = 255
"""OpenID Connect Core section 2: a subject "MUST NOT exceed 255 ASCII characters"."""


_T = TypeVar("_T")


class TokenError(Exception):
    """A token does not say who asks. The text says why, and nothing of the token."""

    reason = "bad token"


class TokenExpiredError(TokenError):
    """It did, until it expired."""

    reason = "expired token"


class UnknownKeyError(TokenError):
    """It is signed by a key that is not among those given: newer ones may have it."""


class Key(msgspec.Struct, frozen=True):
    """One of a provider's public keys."""

    id: str | None
    algorithm: str | None
    key: RSAKey | ECKey


Keys = tuple[Key, ...]


class Identity(msgspec.Struct, frozen=True):
    """Who a provider says it is. `groups` are the provider's own words; `expires` in seconds since the Unix epoch."""

    issuer: str
    subject: str
    name: str
    groups: tuple[str, ...]
    expires: float
    nonce: str | None = None

    @property
    def caller(self) -> CallerId:
        """The caller's id."""
        return caller_id(self.issuer, self.subject)


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str | None = None
    crit: Any = None


class _Claims(msgspec.Struct, frozen=True):
    iss: str
    aud: str | list[str]
    exp: float
    nbf: float | None = None
    nonce: str | None = None
    azp: str | None = None


class _Issuer(msgspec.Struct, frozen=True):
    iss: str


def caller_id(issuer: str, subject: str) -> CallerId:
    """Return the id under which a provider's subject is known here: it tells neither."""
    return CallerId(PREFIX + sha256(msgspec.json.encode([issuer, subject])).hexdigest()[:32])


def looks_like_token(secret: bytes) -> bool:
    """Say whether it is three parts of base64url (RFC 7515 section 7.1), as no key of ours is."""
    return secret.count(b".") == 2


def issuer_of(token: bytes) -> str:
    """Return whose token it claims to be: nobody's word yet. Raises `TokenError`."""
    if len(token) > MAX_TOKEN:
        raise TokenError(f"it is longer than {MAX_TOKEN} bytes")
    if not _TOKEN.fullmatch(token):
        raise TokenError("it is not three parts of base64url")
    return _decode(token.split(b".")[1], _Issuer).iss


def read_keys(document: bytes) -> Keys:
    """Read a provider's JWK set (RFC 7517). What cannot verify a signature with a key pair is left out.

    Raises `ValueError` where it is no JWK set, or nothing in it can.
    """
    try:
        found = msgspec.json.decode(document, type=dict[str, Any])["keys"]
        keys = [key for each in found if (key := _read_key(each)) is not None]
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("what it gives as its keys is no JWK set") from error
    if not keys:
        raise ValueError("among its keys is none that verifies a signature")
    return tuple(keys)


def verify(token: bytes, settings: OidcSettings, keys: Keys, now: float, *, audience: str | None = None) -> Identity:
    """Say who asks, by the provider's word alone. `audience` in place of the settings', for a token of a sign-in.

    Raises `TokenError`; `UnknownKeyError` where other keys of the provider may verify it.
    """
    issuer_of(token)
    head, body, _ = token.split(b".")
    # 1. the signature: by an algorithm that we allow, under a key that is made for it
    _verify_signature(token, _decode(head, _Header), settings, keys)
    # 2. issuer and audience: by this provider, for this door
    claims, said = _decode(body, _Claims), _decode(body, dict[str, Any])
    if claims.iss != settings.issuer:
        raise TokenError("it is of another issuer")
    wanted = audience or settings.audience
    if wanted not in ([claims.aud] if isinstance(claims.aud, str) else claims.aud):
        raise TokenError("it is not for this door: its audience is another")
    if audience is not None and claims.azp not in (None, audience):
        raise TokenError("it was given to another party")
    # 3. the time
    if now >= claims.exp + settings.leeway_seconds:
        raise TokenExpiredError("it has expired")
    if claims.nbf is not None and now < claims.nbf - settings.leeway_seconds:
        raise TokenError("it is not valid yet")
    # 4. who
    subject = said.get(settings.subject_claim)
    if not isinstance(subject, str) or not 1 <= len(subject) <= _LONGEST:
        raise TokenError(f"its claim {settings.subject_claim!r} names no subject")
    name = said.get(settings.name_claim)
    return Identity(
        issuer=settings.issuer,
        subject=subject,
        name=name[:64] if isinstance(name, str) and name and name.isprintable() else subject[:64],
        groups=tuple(group for group in _groups(said, settings.groups_claim) if group in settings.groups),
        expires=claims.exp + settings.leeway_seconds,
        nonce=claims.nonce,
    )


def _verify_signature(token: bytes, header: _Header, settings: OidcSettings, keys: Keys) -> None:
    if header.alg not in settings.algorithms:
        raise TokenError("it is signed in a way that is not allowed here")
    if header.crit is not None:
        raise TokenError("it demands what is not understood here (`crit`)")
    named = [key for key in keys if header.kid is None or key.id == header.kid]
    if not named:
        raise UnknownKeyError("it is signed by a key that its provider does not show")
    fitting = [
        key for key in named if key.key.key_type == _KINDS[header.alg[:2]] and key.algorithm in (None, header.alg)
    ]
    if not any(_is_signed(token, key, header.alg) for key in fitting[:_TRIED]):
        raise TokenError("its signature is not its provider's")


def _is_signed(token: bytes, key: Key, algorithm: str) -> bool:
    try:
        jws.deserialize_compact(token, key.key, algorithms=[algorithm])
    except (JoseError, ValueError, TypeError):
        return False
    return True


def _read_key(data: object) -> Key | None:
    if not isinstance(data, dict) or data.get("kty") not in _KINDS.values() or data.get("use", "sig") != "sig":
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # of weak keys, which are left out below
            key = JWKRegistry.import_key(data)
    except (JoseError, ValueError, TypeError):
        return None
    if not isinstance(key, RSAKey | ECKey):
        return None
    if isinstance(key, RSAKey) and key.public_key.key_size < _RSA_BITS:
        return None
    id_, algorithm = data.get("kid"), data.get("alg")
    return Key(id_ if isinstance(id_, str) else None, algorithm if isinstance(algorithm, str) else None, key)


def _groups(claims: dict[str, Any], path: str) -> list[str]:
    found = claims.get(path)
    if found is None:
        found = claims
        for step in path.split("."):
            found = found.get(step) if isinstance(found, dict) else None
    if found is None:
        return []
    groups = [found] if isinstance(found, str) else found
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise TokenError(f"its claim {path!r} is not a list of groups")
    return groups


def _decode(part: bytes, type_: type[_T]) -> _T:
    try:
        return msgspec.json.decode(urlsafe_b64decode(part + b"=" * (-len(part) % 4)), type=type_)
    except (msgspec.MsgspecError, BadBase64, UnicodeDecodeError, RecursionError) as error:
        raise TokenError("a part of it is not the JSON that it must be") from error
