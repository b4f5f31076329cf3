"""Every request to a page or the admin API: who asks, whether they may, the record of it, and then the answer."""

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from transom.console import entrance, incoming, provider
from transom.console.faults import api_error
from transom.console.headers import HEADERS, is_https
from transom.console.rows import is_flagged
from transom.console.sessions import FORM_COOKIE, SESSION_COOKIE
from transom.console.site import Route, Site, Visit
from transom.errors import Forbidden, Refusal, Unidentified
from transom.gateway.reads import ruled
from transom.gateway.refuse import to_refusal
from transom.gateway.request import ClientGoneError
from transom.gateway.running import NOBODY
from transom.values import Caller, DecisionId


class Endpoint:
    """The ASGI application of one path and method: the routes that share them."""

    def __init__(self, site: Site, routes: tuple[Route, ...]) -> None:
        self._site = site
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        route = _choose(self._routes, request)
        visit = Visit(self._site, request, NOBODY, incoming.peer(request))
        try:
            response = await _serve(route, visit)
        except ClientGoneError:
            return
        except Refusal as refusal:
            if route.by in ("form", "provider") and isinstance(refusal, Unidentified):
                response = await entrance.wrong_key(visit, refusal)
            else:
                response = refused(route, visit, refusal)
        except Exception as error:  # noqa: BLE001 - the last door: nothing unexpected may show its text to a client
            response = refused(route, visit, to_refusal(error, f"{route.method} {route.path}"))
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if visit.record is not None:
            response.headers["transom-decision"] = visit.record.id
        await response(scope, receive, send)


def refused(route: Route, visit: Visit, refusal: Refusal) -> Response:
    """Say a refusal: in OpenAI's error shape to programs, as a page to people, who are shown the way to sign in."""
    headers = {} if refusal.retry_after is None else {"retry-after": str(refusal.retry_after)}
    if refusal.decision is not None:
        headers["transom-decision"] = refusal.decision
    if route.api:
        if refusal.status == 401:
            headers["www-authenticate"] = "Bearer"
        return Response(api_error(refusal), refusal.status, headers, "application/json")
    if refusal.status == 401 and route.by == "session":
        return _to_sign_in(route, visit, refusal)
    return visit.page("refused.html", refusal.status, headers, refusal=refusal)


def _to_sign_in(route: Route, visit: Visit, refusal: Refusal) -> Response:
    """Send whoever only has no session to the sign-in page; tell whoever's session ended why it did."""
    request = visit.request
    visit.session = None
    if refusal.decision is None and route.method == "GET" and route.path != "/events":
        back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        response: Response = RedirectResponse(
            "/sign-in" if back == "/" else f"/sign-in?next={quote(back, safe='')}", 303
        )
    else:
        headers = {"transom-decision": refusal.decision} if refusal.decision else {}
        response = visit.page("refused.html", refusal.status, headers, refusal=refusal)
    response.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="strict", secure=is_https(request))
    return response


def _choose(routes: tuple[Route, ...], request: Request) -> Route:
    """Choose by the query; the route that names none comes last."""
    asked = {f"{name}={value}" for name, value in request.query_params.multi_items()}
    return next((route for route in routes if route.query in asked), routes[-1])


async def _serve(route: Route, visit: Visit) -> Response:
    if route.action is None:
        return await route.handler(visit)
    if route.by == "form":
        visit.form = await incoming.form(visit.request)
        _check_form(visit, visit.request.cookies.get(FORM_COOKIE, ""))
    visit.caller = await _identify(route, visit)
    async with ruled(
        visit.site.door, visit.caller, route.action, peer=visit.peer, flagged=await _is_flagged(route, visit)
    ) as record:
        visit.record = record
        if route.by == "key":
            visit.body = await incoming.body(visit.request)
        elif route.by == "session" and route.method == "POST":
            visit.form = await incoming.form(visit.request)
            _check_form(visit, visit.session.token if visit.session else "")
        return await route.handler(visit)


async def _is_flagged(route: Route, visit: Visit) -> bool:
    """Say, for policy, whether what is asked for is a decision that a safeguard flagged, or a list of these alone."""
    if route.action not in ("read_decisions", "read_content"):
        return False
    id_ = visit.request.path_params.get("id")
    if id_ is None:
        visit.look()
        return visit.only_flagged
    return await visit.site.door.database.run(lambda connection: is_flagged(connection, DecisionId(id_)))


async def _identify(route: Route, visit: Visit) -> Caller:
    door = visit.site.door
    if route.by == "key":
        return await door.identify(incoming.secrets(visit.request))
    if route.by == "form":
        return await door.identify(frozenset(filter(None, (visit.field("key").encode(),))))
    if route.by == "provider":
        return door.identify_subject(await provider.finish(visit))
    visit.session = session = visit.site.sessions.read(visit.request.cookies.get(SESSION_COOKIE, ""))
    if session is not None and session.identity is not None:
        return door.identify_subject(session.identity)
    return await door.identify_session(session.caller if session else None, session.generation if session else 0)


def _check_form(visit: Visit, binding: str) -> None:
    """Refuse a form that no page of ours sent, by the browser's word and by the token that our forms carry."""
    if incoming.same_origin(visit.request) and visit.site.sessions.is_form_token(binding, visit.field("form")):
        return
    raise Forbidden(
        "This form was not sent from a page of this door, or the page is too old. Go back, reload it and try again.",
        code="foreign_form",
    )
