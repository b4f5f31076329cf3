"""The pages and the admin API: a Starlette application beside the gateway, from one table of routes."""

from datetime import UTC, datetime
from itertools import groupby

import jinja2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from transom.console import api, entrance, incoming, keys, live, openapi, pages, state, static
from transom.console.faults import api_error
from transom.console.feed import Feed
from transom.console.guard import Endpoint
from transom.console.headers import HEADERS
from transom.console.sessions import Sessions
from transom.console.site import Route, Site, Visit
from transom.decisions.explain import Story
from transom.errors import MethodNotAllowed, NotFound
from transom.gateway.http import AsgiApp
from transom.gateway.running import NOBODY, Door
from transom.ledger.keys import LedgerKeys
from transom.ledger.seal import Vault
from transom.storage.objects import Objects

ROUTES: tuple[Route, ...] = (
    Route(path="/static/{name}", method="GET", action=None, by="nobody", handler=static.serve),
    Route(path="/sign-in", method="GET", action=None, by="nobody", handler=entrance.sign_in_page),
    Route(path="/sign-in", method="POST", action="view_console", by="form", handler=entrance.sign_in),
    Route(path="/sign-out", method="POST", action="view_console", by="session", handler=entrance.sign_out),
    Route(path="/", method="GET", action="view_console", by="session", handler=pages.home),
    Route(path="/policies", method="GET", action="view_console", by="session", handler=pages.policies),
    Route(path="/events", method="GET", action="read_decisions", by="session", handler=live.events),
    Route(path="/decisions/{id}", method="GET", action="read_decisions", by="session", handler=pages.decision),
    Route(path="/decisions/{id}/content", method="GET", action="read_content", by="session", handler=pages.content),
    Route(
        path="/decisions/{id}/{entry}.tlog-proof",
        method="GET",
        action="read_decisions",
        by="session",
        handler=pages.proof,
    ),
    Route(path="/keys", method="GET", action="manage_keys", by="session", handler=keys.page),
    Route(path="/keys", method="POST", action="manage_keys", by="session", handler=keys.create),
    Route(path="/keys/{id}/revoke", method="POST", action="manage_keys", by="session", handler=keys.revoke),
    Route(
        path="/api/keys",
        method="GET",
        action="manage_keys",
        by="key",
        handler=api.list_keys,
        summary="List every key, without secrets.",
        gives=api.Keys,
    ),
    Route(
        path="/api/keys",
        method="POST",
        action="manage_keys",
        by="key",
        handler=api.create_key,
        summary="Issue a key. Its secret is in this answer and nowhere else.",
        takes=api.NewKey,
        gives=api.IssuedKey,
    ),
    Route(
        path="/api/keys/{id}",
        method="DELETE",
        action="manage_keys",
        by="key",
        handler=api.revoke_key,
        summary="Revoke a key, at once and for good.",
        gives=api.RevokedKey,
    ),
    Route(
        path="/api/decisions",
        method="GET",
        action="read_decisions",
        by="key",
        handler=api.latest,
        summary="List decisions of every action, newest first.",
        gives=api.Latest,
    ),
    Route(
        path="/api/decisions/{id}",
        method="GET",
        action="read_content",
        by="key",
        handler=api.decision_with_content,
        query="content=1",
        gives=Story,
    ),
    Route(
        path="/api/decisions/{id}",
        method="GET",
        action="read_decisions",
        by="key",
        handler=api.decision,
        summary="Tell the whole story of one decision, with its proof.",
        gives=Story,
    ),
    Route(
        path="/api/models",
        method="GET",
        action="view_console",
        by="key",
        handler=api.models,
        summary="List the models that you may view, with their routes' health.",
        gives=api.Models,
    ),
    Route(
        path="/api/reload",
        method="POST",
        action="reload",
        by="key",
        handler=api.reload,
        summary="Read the declared files again, all or nothing.",
        gives=api.Reloaded,
    ),
    Route(
        path="/api/status",
        method="GET",
        action="view_console",
        by="key",
        handler=api.status,
        summary="Say what is in force and how the door stands.",
        gives=state.DoorState,
    ),
    Route(
        path="/api/openapi.json",
        method="GET",
        action="view_console",
        by="key",
        handler=openapi.document,
        summary="This description.",
    ),
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
        visit = Visit(site, request, NOBODY, incoming.from_here(request))
        return visit.page("refused.html", refusal.status, dict(HEADERS), refusal=refusal)
    return Response(api_error(refusal), refusal.status, HEADERS, "application/json")
