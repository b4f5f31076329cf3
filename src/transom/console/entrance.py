"""Sign-in and sign-out."""

import asyncio

from starlette.responses import RedirectResponse, Response

from transom.console.headers import is_https
from transom.console.local import local
from transom.console.sessions import FORM_COOKIE, SESSION_COOKIE, SESSION_SECONDS, nonce
from transom.console.site import Visit
from transom.errors import Unidentified

_SLOW_SECONDS = 1.0
"""How long a wrong key waits for its answer."""


async def sign_in_page(visit: Visit) -> Response:
    """Show the form. It reveals nothing."""
    binding = visit.request.cookies.get(FORM_COOKIE) or nonce()
    token = visit.site.sessions.form_token(binding)
    response = visit.page("sign_in.html", token=token, next=local(visit.request.query_params.get("next", "")))
    return _bound(visit, response, binding)


async def sign_in(visit: Visit) -> Response:
    """Open a session for the caller whose key was just identified and may see the console."""
    session = visit.site.sessions.open(visit.caller.id, visit.caller.generation)
    response = RedirectResponse(local(visit.field("next")) or "/", 303)
    secure = is_https(visit.request)
    response.set_cookie(
        SESSION_COOKIE,
        session.token,
        max_age=SESSION_SECONDS,
        path="/",
        httponly=True,
        samesite="strict",
        secure=secure,
    )
    response.delete_cookie(FORM_COOKIE, path="/", httponly=True, samesite="strict", secure=secure)
    return response


async def sign_out(visit: Visit) -> Response:
    """Take the session's cookie away."""
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="strict", secure=is_https(visit.request))
    return response


async def wrong_key(visit: Visit, refusal: Unidentified) -> Response:
    """Show the form again, slowly."""
    await asyncio.sleep(_SLOW_SECONDS)
    binding = visit.request.cookies.get(FORM_COOKIE) or nonce()
    token = visit.site.sessions.form_token(binding)
    # A key that was revoked or has expired was refused on the record; one that nobody knows was counted.
    headers = {"transom-decision": refusal.decision} if refusal.decision else {}
    back = local(visit.field("next"))
    response = visit.page("sign_in.html", refusal.status, headers, token=token, refusal=refusal, next=back)
    return _bound(visit, response, binding)


def _bound(visit: Visit, response: Response, binding: str) -> Response:
    """Bind the form that is shown to the browser."""
    response.set_cookie(
        FORM_COOKIE, binding, path="/", httponly=True, samesite="strict", secure=is_https(visit.request)
    )
    return response
