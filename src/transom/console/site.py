"""What every page shares, and one visit to one of them."""

from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

import jinja2
import msgspec
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from transom.callers.oidc import Identity
from transom.console.feed import Feed
from transom.console.sessions import Session, Sessions
from transom.decisions.record import Record
from transom.gateway.bounds import allows_model
from transom.gateway.providers import Provider
from transom.gateway.request import is_loopback
from transom.gateway.running import Door
from transom.ledger.keys import LedgerKeys
from transom.ledger.seal import Vault
from transom.storage.objects import Objects
from transom.values import DOOR, Caller, Context, Resource

Handler: TypeAlias = Callable[["Visit"], Awaitable[Response]]
Method: TypeAlias = Literal["GET", "POST", "DELETE"]
By: TypeAlias = Literal["session", "key", "form", "provider", "nobody"]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A path, its method, the action that policy rules on, and how the caller is identified.

    `action` is `None` only where nothing is revealed: the sign-in page and static files. Of two routes with one path
    and method, the one whose `query` (as in `content=1`) is asked for is meant. `takes` and `gives` are the structs
    of the admin API's bodies.
    """

    path: str
    method: Method
    action: str | None
    by: By
    handler: Handler
    query: str | None = None
    takes: type | None = None
    gives: type | None = None

    @property
    def api(self) -> bool:
        """Whether it belongs to the admin API: JSON in and out, a key in each request."""
        return self.by == "key"

    @property
    def summary(self) -> str:
        """What it does: the first line of its handler's docstring."""
        return (self.handler.__doc__ or "").partition("\n")[0]


class Site(msgspec.Struct, frozen=True, eq=False):
    """Everything that pages are made from."""

    door: Door
    objects: Objects
    keys: LedgerKeys
    vault: Vault
    build: str
    sessions: Sessions
    feed: Feed
    templates: jinja2.Environment
    routes: tuple[Route, ...]


class SignIn(msgspec.Struct, frozen=True, eq=False):
    """A provider that people may sign in with."""

    number: str
    label: str
    provider: Provider


class Visit(msgspec.Struct, eq=False):
    """One request to a page, identified, ruled and on record by the time a handler sees it."""

    site: Site
    request: Request
    caller: Caller
    peer: str | None
    session: Session | None = None
    form: FormData = msgspec.field(default_factory=FormData)
    body: bytes = b""
    record: Record | None = None
    only_flagged: bool = False
    """Of decisions, the visitor may see those alone that a safeguard flagged, redacted or blocked."""
    identity: Identity | None = None
    """Whom a provider has just identified."""

    @property
    def providers(self) -> tuple[SignIn, ...]:
        """The providers that people may sign in with."""
        found = [each for each in self.site.door.running.providers.values() if each.settings.client_id is not None]
        return tuple(SignIn(f"{n}", each.settings.label or each.settings.host, each) for n, each in enumerate(found))

    def may(self, action: str, resource: Resource = DOOR, *, flagged: bool = False) -> bool:
        """Say whether policy would permit it, to show a way to it or not. What is then done is ruled and recorded."""
        policies = self.site.door.running.policies
        ruling = policies.rule(self.caller, action, resource, Context(loopback=is_loopback(self.peer), flagged=flagged))
        return ruling.effect == "permit" and allows_model(self.caller, resource)

    def look(self) -> bool:
        """Say whether the visitor may see any decisions in a list; `only_flagged` then says whether all of them."""
        every = self.may("read_decisions")
        self.only_flagged = not every and self.may("read_decisions", flagged=True)
        return every or self.only_flagged

    def field(self, name: str) -> str:
        """Return a form's field, empty where it was not sent."""
        value = self.form.get(name)
        return value.strip() if isinstance(value, str) else ""

    def asked(self, name: str) -> str | None:
        """Return what the query says of `name`, `None` where it says nothing."""
        return self.request.query_params.get(name, "").strip() or None

    def number(self, name: str) -> int | None:
        """Return a whole number of the query, `None` where there is none that is one."""
        text = self.request.query_params.get(name, "")
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None

    def render(self, template: str, **values: object) -> str:
        """Fill in a template."""
        return self.site.templates.get_template(template).render(visit=self, **values)

    def page(
        self, template: str, status: int = 200, headers: dict[str, str] | None = None, **values: object
    ) -> HTMLResponse:
        """Return a whole page."""
        return HTMLResponse(self.render(template, **values), status, headers)

    @property
    def form_token(self) -> str:
        """What a form of this page must send back."""
        return self.site.sessions.form_token(self.session.token) if self.session else ""
