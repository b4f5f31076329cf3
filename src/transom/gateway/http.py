"""The HTTP edge: paths to handlers, refusals to answers. The only module that knows the paths of the gateway."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from transom.dialects import openai_chat, openai_embeddings
from transom.errors import MethodNotAllowed, NotFound
from transom.gateway.path import answer
from transom.gateway.patience import Patience
from transom.gateway.reads import open_read, ruled
from transom.gateway.refuse import send_refusal, to_refusal
from transom.gateway.request import Receive, Request, Scope, Send
from transom.gateway.running import Door
from transom.gateway.telemetry import CONTENT_TYPE
from transom.ledger.tiles import served_path
from transom.registry.versions import Registry
from transom.storage.objects import Objects
from transom.values import Caller, Context, RequestedModel, Version

_JSON = [(b"content-type", b"application/json")]
_TEXT = [(b"content-type", b"text/plain; charset=utf-8")]

AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Handler = Callable[[Request], Awaitable[None]]


class Route(msgspec.Struct, frozen=True):
    """A path (or, ending with a slash, everything below it), its method, and the action that policy rules on.

    `action` is `None` for the two probes, which reveal nothing but whether this process is well.
    """

    path: str
    method: str
    action: str | None
    handler: Handler


class Gateway:
    """The ASGI application of the gateway. What it has no route for goes to `elsewhere` (the pages)."""

    def __init__(self, door: Door, objects: Objects, elsewhere: AsgiApp) -> None:
        self._door = door
        self._objects = objects
        self._elsewhere = elsewhere
        self._patience = Patience()
        self.routes = (
            Route("/v1/chat/completions", "POST", "infer", self._chat),
            Route("/v1/embeddings", "POST", "embed", self._embeddings),
            Route("/v1/models", "GET", "list_models", self._models),
            Route("/v1/models/", "GET", "view_model", self._model),
            Route("/ledger/", "GET", "read_ledger", self._ledger),
            Route("/metrics", "GET", "read_metrics", self._metrics),
            Route("/healthz", "GET", None, self._healthz),
            Route("/readyz", "GET", None, self._readyz),
        )
        self._exact = {route.path: route for route in self.routes if not route.path.endswith("/")}
        self._below = tuple(route for route in self.routes if route.path.endswith("/"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Lifespan is the server's own business (`app.serve`)."""
        if scope["type"] != "http":
            return
        path = scope["path"]
        route = self._exact.get(path) or next((r for r in self._below if path.startswith(r.path)), None)
        if route is None and not path.startswith("/v1/"):
            await self._elsewhere(scope, receive, send)
            return
        request = Request(scope, receive, send, self._patience)
        try:
            await self._serve(route, request)
        except asyncio.CancelledError:
            if not request.gone:
                raise
        except Exception as error:  # noqa: BLE001 - the last door: nothing unexpected may show its text to a client
            refusal = to_refusal(error, f"{request.method} {route.path if route else '?'}")
            if not request.started:
                await send_refusal(request, refusal, refusal.decision)

    async def _serve(self, route: Route | None, request: Request) -> None:
        if route is None:
            raise NotFound(
                f"There is no {request.path[:100]} here. Transom answers /v1/chat/completions, /v1/embeddings and "
                "/v1/models."
            )
        if request.method != route.method and not (request.method == "HEAD" and route.method == "GET"):
            raise MethodNotAllowed(f"{route.path} takes {route.method}.", allow=route.method)
        await route.handler(request)

    async def _chat(self, request: Request) -> None:
        await answer(self._door, request, openai_chat)

    async def _embeddings(self, request: Request) -> None:
        await answer(self._door, request, openai_embeddings)

    async def _models(self, request: Request) -> None:
        caller = await self._door.identify(request.secret)
        async with ruled(self._door, caller, "list_models", loopback=request.loopback) as record:
            registry = self._door.running.registry
            shown = [_shown(registry, version) for version in registry.versions if self._visible(caller, version)]
            body = msgspec.json.encode({"object": "list", "data": shown})
        await request.respond(200, [*_JSON, (b"transom-decision", record.id.encode())], body)

    async def _model(self, request: Request) -> None:
        caller = await self._door.identify(request.secret)
        name = RequestedModel(request.path.removeprefix("/v1/models/"))
        version = self._door.running.registry.find(name)
        if version is None:
            async with ruled(self._door, caller, "list_models", loopback=request.loopback):
                self._door.running.registry.resolve(name)
            return
        async with ruled(
            self._door, caller, "view_model", loopback=request.loopback, resource=version.resource
        ) as record:
            body = msgspec.json.encode(_shown(self._door.running.registry, version))
        await request.respond(200, [*_JSON, (b"transom-decision", record.id.encode())], body)

    def _visible(self, caller: Caller, version: Version) -> bool:
        ruling = self._door.running.policies.rule(caller, "view_model", version.resource, Context())
        return ruling.effect == "permit"

    async def _ledger(self, request: Request) -> None:
        async with open_read(self._door, request, "read_ledger") as headers:
            served = served_path(request.path)
            data = await asyncio.to_thread(self._objects.get, served.object_path) if served is not None else None
            if served is None or data is None:
                raise NotFound(
                    "The log has no such tile. It serves /ledger/checkpoint and /ledger/tile/… (C2SP tlog-tiles)."
                )
        headers += [
            (b"content-type", served.content_type.encode()),
            (b"cache-control", served.cache_control.encode()),
            (b"access-control-allow-origin", b"*"),
        ]
        await request.respond(200, headers, data)

    async def _metrics(self, request: Request) -> None:
        async with open_read(self._door, request, "read_metrics") as headers:
            body = self._door.telemetry.expose()
        await request.respond(200, [*headers, (b"content-type", CONTENT_TYPE)], body)

    async def _healthz(self, request: Request) -> None:
        await request.respond(200, _TEXT, b"ok\n")

    async def _readyz(self, request: Request) -> None:
        """Say whether requests can be answered now, and if not, which part is in the way: never more than that."""
        problems = {name: problem for name, probe in self._door.probes.items() if (problem := probe()) is not None}
        body = msgspec.json.encode({"ready": not problems, "problems": problems})
        await request.respond(503 if problems else 200, _JSON, body)


def _shown(registry: Registry, version: Version) -> dict[str, object]:
    """Return a model in OpenAI's shape, with what Transom knows of it beside. Its id is a name that leads to it."""
    in_service = registry.find(RequestedModel(version.model))
    return {
        "id": version.model if in_service is version else version.name,
        "object": "model",
        "created": 0,
        "owned_by": version.producer or "unknown",
        "version": version.name,
        "kind": version.kind,
        "rung": version.rung,
        "openness": version.openness,
        "licence": version.licence,
    }
