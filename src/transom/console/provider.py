"""Sign-in with an identity provider: the authorization code flow, with PKCE, state and nonce.

Sources: OpenID Connect Core 1.0 section 3.1, RFC 6749 sections 2.3.1 and 4.1, RFC 7636, RFC 9207.
"""

import hmac
import time
from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256
from typing import Any
from urllib.parse import quote_plus, urlencode

import msgspec
from starlette.responses import RedirectResponse, Response

from transom.callers.oidc import Identity, TokenError
from transom.console.headers import is_https
from transom.console.local import local
from transom.console.sessions import (
    FLOW_COOKIE,
    FLOW_SECONDS,
    SESSION_COOKIE,
    SESSION_SECONDS,
    Flow,
    nonce,
)
from transom.console.site import Visit
from transom.errors import NotDurable, NotFound, Unidentified
from transom.gateway.providers import Provider, ProviderError, said_of

_PATH = "/sign-in"


async def begin(visit: Visit) -> Response:
    """Send the browser to the provider."""
    provider = _chosen(visit)
    settings = provider.settings
    metadata = await provider.metadata()
    back = local(visit.request.query_params.get("next", ""))
    flow = Flow(settings.issuer, nonce(), nonce(), nonce(), back, int(time.time()) + FLOW_SECONDS)
    challenge = urlsafe_b64encode(sha256(flow.verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code",
        "client_id": settings.client_id or "",
        "redirect_uri": _redirect_uri(visit),
        "scope": " ".join(settings.scopes),
        "state": flow.state,
        "nonce": flow.nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    joint = "&" if "?" in metadata.authorization_endpoint else "?"
    response = RedirectResponse(f"{metadata.authorization_endpoint}{joint}{urlencode(asked)}", 303)
    # Lax: the provider sends the browser back to us, and the cookie has to come along.
    response.set_cookie(
        FLOW_COOKIE,
        visit.site.sessions.begin(flow),
        max_age=FLOW_SECONDS,
        path=_PATH,
        httponly=True,
        samesite="lax",
        secure=is_https(visit.request),
    )
    return response


async def finish(visit: Visit) -> Identity:
    """Say who has signed in. Raises `Unidentified`, counted; `NotDurable` where the provider does not answer."""
    query = visit.request.query_params
    flow = visit.site.sessions.resume(visit.request.cookies.get(FLOW_COOKIE, ""))
    # 1. what comes back answers what this browser was sent to ask
    if flow is None or not hmac.compare_digest(flow.state.encode(), query.get("state", "").encode()):
        raise _failed(visit, "This sign-in was not begun in this browser, or too long ago. Begin again.")
    provider = visit.site.door.running.providers.get(flow.issuer)
    if provider is None or query.get("iss", flow.issuer) != flow.issuer:
        raise _failed(visit, "This sign-in comes from another provider than it was begun with. Begin again.")
    if "code" not in query:
        said = query.get("error", "no code")[:60]
        raise _failed(visit, f"The provider did not sign you in ({said}). Begin again, or ask its operators.")
    # 2. the code, for a token that is meant for us and for this sign-in
    token = await _exchange(visit, provider, flow, query["code"])
    try:
        identity = await provider.verify(token, audience=provider.settings.client_id)
    except TokenError as error:
        raise _failed(visit, said_of(error)) from error
    if not hmac.compare_digest((identity.nonce or "").encode(), flow.nonce.encode()):
        raise _failed(visit, "The provider's token is of another sign-in. Begin again.")
    visit.identity = identity
    return identity


async def signed_in(visit: Visit) -> Response:
    """Open a session, and let the browser go on by itself.

    Not by a redirect: that would still be a step of the provider's navigation, and a strict cookie stays behind on it.
    """
    assert visit.identity is not None
    session = visit.site.sessions.open_for(visit.identity)
    flow = visit.site.sessions.resume(visit.request.cookies.get(FLOW_COOKIE, ""))
    secure = is_https(visit.request)
    response = visit.page("signed_in.html", next=(flow.back if flow else "") or "/")
    response.set_cookie(
        SESSION_COOKIE,
        session.token,
        max_age=SESSION_SECONDS,
        path="/",
        httponly=True,
        samesite="strict",
        secure=secure,
    )
    response.delete_cookie(FLOW_COOKIE, path=_PATH, httponly=True, samesite="lax", secure=secure)
    return response


def _chosen(visit: Visit) -> Provider:
    number = visit.request.path_params["number"]
    for each in visit.providers:
        if each.number == number:
            return each.provider
    raise NotFound("Nobody signs in with this provider.")


async def _exchange(visit: Visit, provider: Provider, flow: Flow, code: str) -> bytes:
    metadata, settings = await provider.metadata(), provider.settings
    fields = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": _redirect_uri(visit),
        "code_verifier": flow.verifier,
    }
    authorization: str | None = None
    id_, secret = settings.client_id or "", provider.secret or ""
    if "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
        authorization = "Basic " + b64encode(f"{quote_plus(id_)}:{quote_plus(secret)}".encode()).decode()
    else:
        fields |= {"client_id": id_, "client_secret": secret}
    try:
        status, body = await provider.post(metadata.token_endpoint, urlencode(fields).encode(), authorization)
    except ProviderError as error:
        raise NotDurable(
            "The identity provider does not answer now. Try again shortly.",
            code="identity_provider_unavailable",
            retry_after=5,
        ) from error
    try:
        answer = msgspec.json.decode(body, type=dict[str, Any])
        token = answer["id_token"] if status == 200 else None
    except (msgspec.MsgspecError, KeyError):
        token = None
    if not isinstance(token, str):
        raise _failed(visit, "The provider did not take what it was sent. Begin again; its log says why.")
    return token.encode()


def _redirect_uri(visit: Visit) -> str:
    scheme = "https" if is_https(visit.request) else "http"
    return f"{scheme}://{visit.request.headers.get('host', '')}{_PATH}/callback"


def _failed(visit: Visit, text: str) -> Unidentified:
    return visit.site.door.stranger("bad sign-in", text)
