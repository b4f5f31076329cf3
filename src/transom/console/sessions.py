"""Sessions and form tokens: signed, not stored, so that every worker can read what another has issued.

A session names the key that opened it and when it ends. What the key may do is asked again at each request, so revoking
the key ends the session; signing out takes the cookie away.
"""

import hmac
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

import msgspec

from transom.callers.oidc import Identity
from transom.ledger.keys import LedgerKeys
from transom.values import CallerId

SESSION_COOKIE: Final = "transom_session"
FORM_COOKIE: Final = "transom_form"
"""What binds the sign-in form to the browser that was shown it, when there is no session yet."""
FLOW_COOKIE: Final = "transom_provider"
FLOW_SECONDS: Final = 600
_OF_PROVIDER: Final = "oidc"
SESSION_SECONDS: Final = 12 * 3600


class Session(msgspec.Struct, frozen=True):
    """Who signed in. `token` is the cookie; `expires` in seconds since the Unix epoch.

    `generation`: of the secret that they signed in with, so that replacing it ends the session as revoking does.
    """

    caller: CallerId
    generation: int
    expires: int
    token: str
    identity: Identity | None = None
    """Who a provider said it is, for one who signed in with it: no key of ours says that."""


class Flow(msgspec.Struct, frozen=True):
    """A sign-in with a provider under way, kept by the browser that began it; `expires` as above."""

    issuer: str
    state: str
    nonce: str
    verifier: str
    back: str
    expires: int


class Sessions:
    """Issues and reads them, under keys derived from the ledger's master key."""

    def __init__(self, keys: LedgerKeys) -> None:
        self._session_key = keys.derive(b"console/session/1")
        self._form_key = keys.derive(b"console/form/1")
        self._flow_key = keys.derive(b"console/flow/1")

    def open(self, caller: CallerId, generation: int) -> Session:
        """Open a session of 12 hours for the caller whose key was just seen."""
        expires = int(time.time()) + SESSION_SECONDS
        said = f"{caller}.{generation}.{expires}.{nonce()}"
        return Session(caller, generation, expires, f"{said}.{_sign(self._session_key, said)}")

    def open_for(self, identity: Identity) -> Session:
        """Open a session of 12 hours for whom a provider has just identified. Its groups stay as they were now."""
        expires = int(time.time()) + SESSION_SECONDS
        said = f"{_OF_PROVIDER}.{_pack(identity)}.{expires}.{nonce()}"
        return Session(identity.caller, 0, expires, f"{said}.{_sign(self._session_key, said)}", identity)

    def begin(self, flow: Flow) -> str:
        """Return the cookie of a sign-in with a provider."""
        said = _pack(flow)
        return f"{said}.{_sign(self._flow_key, said)}"

    def resume(self, token: str) -> Flow | None:
        """Return the sign-in of a cookie that was given out here and is not too old."""
        said, _, signature = token.rpartition(".")
        if not _same(signature, _sign(self._flow_key, said)):
            return None
        flow = msgspec.json.decode(_unpack(said), type=Flow)
        return flow if time.time() < flow.expires else None

    def read(self, token: str) -> Session | None:
        """Return the session of a cookie that was issued here and has not ended."""
        said, _, signature = token.rpartition(".")
        if not _same(signature, _sign(self._session_key, said)):
            return None
        caller, generation, expires, _ = said.split(".")
        if time.time() >= int(expires):
            return None
        if caller == _OF_PROVIDER:
            identity = msgspec.json.decode(_unpack(generation), type=Identity)
            return Session(identity.caller, 0, int(expires), token, identity)
        return Session(CallerId(caller), int(generation), int(expires), token)

    def form_token(self, binding: str) -> str:
        """Return what a form shown to `binding` (a session's or a form's cookie) must send back."""
        return _sign(self._form_key, binding)

    def is_form_token(self, binding: str, token: str) -> bool:
        """Say whether a form was shown to `binding`. In constant time."""
        return bool(binding) and _same(token, self.form_token(binding))


def nonce() -> str:
    """Return 256 random bits as text."""
    return secrets.token_urlsafe(32)


def _pack(value: msgspec.Struct) -> str:
    return urlsafe_b64encode(msgspec.json.encode(value)).rstrip(b"=").decode()


def _unpack(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _sign(key: bytes, text: str) -> str:
    return urlsafe_b64encode(hmac.digest(key, text.encode(), "sha256")).rstrip(b"=").decode()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
