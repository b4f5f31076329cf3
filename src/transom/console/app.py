"""The pages and the admin API: a Starlette application beside the gateway, from one table of routes."""

from datetime import UTC, datetime
from itertools import groupby

import jinja2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from transom.console import (
    api,
    budgets,
    entrance,
    exporting,
    incoming,
    keys,
    live,
    openapi,
    pages,
    provider,
    searching,
    state,
    static,
)
from transom.console.faults import api_error
from transom.console.feed import Feed
from transom.console.guard import Endpoint
from transom.console.headers import HEADERS
from transom.console.sessions import Sessions
from transom.console.site import By, Handler, Method, Route, Site, Visit
from transom.decisions.explain import Story
from transom.errors import MethodNotAllowed, NotFound
from transom.gateway.http import AsgiApp
from transom.gateway.running import NOBODY, Door
from transom.ledger.keys import LedgerKeys
from transom.ledger.seal import Vault
from transom.storage.objects import Objects


def _page(method: Method, path: str, action: str | None, handler: Handler, by: By = "session") -> Route:
    return Route(path=path, method=method, action=action, by=by, handler=handler)


def _api(
    method: Method,
    path: str,
    action: str,
    handler: Handler,
    gives: type | None,
    *,
    takes: type | None = None,
    query: str | None = None,
) -> Route:
    return Route(
        path="/api" + path,
        method=method,
        action=action,
        by="key",
        handler=handler,
        query=query,
        takes=takes,
        gives=gives,
    )


ROUTES: tuple[Route, ...] = (
    _page("GET", "/static/{name}", None, static.serve, by="nobody"),
    _page("GET", "/sign-in", None, entrance.sign_in_page, by="nobody"),
    _page("GET", "/sign-in/with/{number}", None, provider.begin, by="nobody"),
    _page("GET", "/sign-in/callback", "view_console", provider.signed_in, by="provider"),
    _page("POST", "/sign-in", "view_console", entrance.sign_in, by="form"),
    _page("POST", "/sign-out", "view_console", entrance.sign_out),
    _page("GET", "/", "view_console", pages.home),
    _page("GET", "/policies", "view_console", pages.policies),
    _page("GET", "/events", "read_decisions", live.events),
    _page("GET", "/search", "read_decisions", searching.page),
    _page("GET", "/decisions/{id}", "read_decisions", pages.decision),
    _page("POST", "/decisions/{id}/content", "read_content", pages.content),
    _page("GET", "/decisions/{id}/{entry}.tlog-proof", "read_decisions", pages.proof),
    _page("GET", "/ledger-tiles/{path:path}", "read_ledger", pages.tile),
    _page("GET", "/budgets", "read_budgets", budgets.page),
    _page("GET", "/keys", "manage_keys", keys.page),
    _page("POST", "/keys", "manage_keys", keys.create),
    _page("POST", "/keys/{id}/rotate", "manage_keys", keys.rotate),
    _page("POST", "/keys/{id}/revoke", "manage_keys", keys.revoke),
    _api("GET", "/budgets", "read_budgets", budgets.listing, budgets.Budgets),
    _api("GET", "/keys", "manage_keys", api.list_keys, api.Keys),
    _api("POST", "/keys", "manage_keys", api.create_key, api.IssuedKey, takes=api.NewKey),
    _api("POST", "/keys/{id}/rotate", "manage_keys", api.rotate_key, api.IssuedKey, takes=api.Rotation),
    _api("DELETE", "/keys/{id}", "manage_keys", api.revoke_key, api.RevokedKey),
    _api("GET", "/decisions", "read_decisions", api.latest, api.Latest),
    _api("GET", "/export", "export_decisions", exporting.export_with_content, None, query="content=1"),
    _api("GET", "/export", "export_decisions", exporting.export, None),
    _api("GET", "/decisions/{id}", "read_content", api.decision_with_content, Story, query="content=1"),
    _api("GET", "/decisions/{id}", "read_decisions", api.decision, Story),
    _api("GET", "/models", "view_console", api.models, api.Models),
    _api("POST", "/reload", "reload", api.reload, api.Reloaded),
    _api("GET", "/status", "view_console", api.status, state.DoorState),
    _api("GET", "/openapi.json", "view_console", openapi.document, None),
)
"""Everything that the pages and the admin API answer. What shares path and method stands together."""


def build_console(door: Door, objects: Objects, keys: LedgerKeys, vault: Vault, build: str) -> AsgiApp:
    """Return the pages and the admin API of `door`."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("transom.console"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["static"] = static.url
    templates.globals["today"] = lambda: f"{datetime.now(UTC):%Y-%m-%d}"
    site = Site(door, objects, keys, vault, build, Sessions(keys), Feed(door), templates, ROUTES)

    def unknown(request: Request, error: Exception) -> Response:
        return _nothing_here(site, request, error)

    grouped = groupby(ROUTES, key=lambda route: (route.path, route.method))
    routes = [StarletteRoute(path, Endpoint(site, tuple(same)), methods=[method]) for (path, method), same in grouped]
    app = Starlette(routes=routes, exception_handlers={404: unknown, 405: unknown})
    app.router.redirect_slashes = False  # a redirect would be an answer without our headers
    return app


def _nothing_here(site: Site, request: Request, error: Exception) -> Response:
    """Answer what no route answers: in JSON to programs, as a page to people. It reveals nothing."""
    wrong_method = isinstance(error, HTTPException) and error.status_code == 405
    refusal = (
        MethodNotAllowed(f"{request.url.path[:100]} does not take {request.method}.")
        if wrong_method
        else NotFound(f"There is no {request.url.path[:100]} here.")
    )
    if "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/"):
        visit = Visit(site, request, NOBODY, incoming.peer(request))
        return visit.page("refused.html", refusal.status, dict(HEADERS), refusal=refusal)
    return Response(api_error(refusal), refusal.status, HEADERS, "application/json")
