"""The HTTP edge: paths to handlers, refusals to answers. The only module that knows the paths of the gateway."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from transom.dialects.anthropic.messages import MESSAGES
from transom.dialects.counting import ANTHROPIC_COUNT, gemini_count
from transom.dialects.gemini.generate import GENERATE, Generate
from transom.dialects.gemini.path import read_path
from transom.dialects.openai.chat import CHAT
from transom.dialects.openai.embeddings import EMBEDDINGS
from transom.dialects.openai.responses import RESPONSES
from transom.dialects.translate import Dialect
from transom.errors import MethodNotAllowed, NotFound
from transom.gateway.models import list_models, view_model
from transom.gateway.path import answer
from transom.gateway.patience import Patience
from transom.gateway.reads import open_read
from transom.gateway.receipts import read_receipt
from transom.gateway.refuse import send_refusal, to_refusal
from transom.gateway.request import WHO_ASKS, Receive, Request, Scope, Send
from transom.gateway.running import Door
from transom.gateway.telemetry import CONTENT_TYPE
from transom.gateway.witnessing import Witness, add_checkpoint, show_witnessed
from transom.ledger.tiles import served_path
from transom.storage.objects import Objects

_JSON = [(b"content-type", b"application/json")]
_TEXT = [(b"content-type", b"text/plain; charset=utf-8")]
_OURS = ("/v1/", "/v1beta/")
"""Below these, what has no route is refused here, in the shape that clients of models read."""

AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Handler = Callable[[Request], Awaitable[None]]


class Route(msgspec.Struct, frozen=True):
    """A path (or, ending with a slash, everything below it), its method, and the action that policy rules on.

    `action` is `None` for the two probes, which reveal nothing but whether this process is well. `dialect` is the one
    whose clients ask here, for the shape of errors.
    """

    path: str
    method: str
    action: str | None
    handler: Handler
    dialect: Dialect = CHAT


class Gateway:
    """The ASGI application of the gateway. What it has no route for goes to `elsewhere` (the pages)."""

    def __init__(self, door: Door, objects: Objects, elsewhere: AsgiApp, witness: Witness | None = None) -> None:
        """`witness`: what this door is for other logs, where it is."""
        self._door = door
        self._witness = witness
        self._objects = objects
        self._elsewhere = elsewhere
        self._patience = Patience()
        self.routes = (
            Route("/v1/chat/completions", "POST", "infer", self._answer),
            Route("/v1/responses", "POST", "infer", self._answer, RESPONSES),
            Route("/v1/messages", "POST", "infer", self._answer, MESSAGES),
            Route("/v1/messages/count_tokens", "POST", "infer", self._answer, ANTHROPIC_COUNT),
            Route("/v1/embeddings", "POST", "embed", self._answer, EMBEDDINGS),
            Route("/v1/models", "GET", "list_models", self._models),
            Route("/v1/models/", "GET", "view_model", self._model),
            Route("/v1/models/", "POST", "infer", self._gemini, GENERATE),
            Route("/v1beta/models", "GET", "list_models", self._models, GENERATE),
            Route("/v1beta/models/", "GET", "view_model", self._model, GENERATE),
            Route("/v1beta/models/", "POST", "infer", self._gemini, GENERATE),
            Route("/ledger/", "GET", "read_ledger", self._ledger),
            Route("/witness/add-checkpoint", "POST", "witness", self._add_checkpoint),
            Route("/witness/", "GET", "witness", self._witnessed),
            Route("/receipts/", "GET", "read_receipt", self._receipt),
            Route("/metrics", "GET", "read_metrics", self._metrics),
            Route("/healthz", "GET", None, self._healthz),
            Route("/readyz", "GET", None, self._readyz),
        )
        self._exact: dict[str, tuple[Route, ...]] = {}
        for route in self.routes:
            self._exact[route.path] = (*self._exact.get(route.path, ()), route)
        self._below = tuple(path for path in self._exact if path.endswith("/"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Lifespan is the server's own business (`app.serve`)."""
        if scope["type"] != "http":
            return
        path = scope["path"]
        routes = self._exact.get(path) or self._exact.get(next((p for p in self._below if path.startswith(p)), ""), ())
        if not routes and not path.startswith(_OURS):
            await self._elsewhere(scope, receive, send)
            return
        request = Request(scope, receive, send, self._patience, routes[0].dialect if routes else CHAT)
        try:
            await self._serve(routes, request)
        except asyncio.CancelledError:
            if not request.gone:
                raise
        except Exception as error:  # noqa: BLE001 - the last door: nothing unexpected may show its text to a client
            refusal = to_refusal(error, f"{request.method} {routes[0].path if routes else '?'}")
            if not request.started:
                await send_refusal(request, refusal, refusal.decision)

    async def _serve(self, routes: tuple[Route, ...], request: Request) -> None:
        if not routes:
            raise NotFound(
                f"There is no {request.path[:100]} here. Transom answers /v1/chat/completions, /v1/responses, "
                "/v1/messages, /v1/embeddings, /v1beta/models/MODEL:generateContent and /v1/models."
            )
        method = "GET" if request.method == "HEAD" else request.method
        for route in routes:
            if route.method == method:
                request.dialect = route.dialect
                await route.handler(request)
                return
        allowed = ", ".join(route.method for route in routes)
        raise MethodNotAllowed(f"{routes[0].path} takes {allowed}.", allow=allowed)

    async def _answer(self, request: Request) -> None:
        await answer(self._door, request, request.dialect)

    async def _gemini(self, request: Request) -> None:
        called = read_path(request.path, request.query)
        if called is None:
            raise NotFound(
                "After a model's name comes :generateContent, :streamGenerateContent or :countTokens. "
                "GET /v1beta/models lists the models."
            )
        if called.method == "countTokens":
            request.dialect = gemini_count(called.model)
        else:
            request.dialect = Generate(called.model, called.method == "streamGenerateContent", sse=called.sse)
        await self._answer(request)

    async def _models(self, request: Request) -> None:
        request.dialect = _asker(request)
        await list_models(self._door, request)

    async def _model(self, request: Request) -> None:
        request.dialect = _asker(request)
        await view_model(self._door, request, request.path.partition("/models/")[2])

    async def _ledger(self, request: Request) -> None:
        async with open_read(self._door, request, "read_ledger") as headers:
            served = served_path(request.path)
            data = await asyncio.to_thread(self._objects.get, served.object_path) if served is not None else None
            if served is None or data is None:
                raise NotFound(
                    "The log has no such tile. It serves /ledger/checkpoint and /ledger/tile/… (C2SP tlog-tiles)."
                )
        # What was shown to somebody in particular must not be kept by a cache that others share.
        kept = served.private_cache_control if request.secrets else served.cache_control
        headers += [
            (b"content-type", served.content_type.encode()),
            (b"cache-control", kept.encode()),
            *([(b"vary", WHO_ASKS)] if request.secrets else []),
            (b"access-control-allow-origin", b"*"),
        ]
        await request.respond(200, headers, data)

    async def _add_checkpoint(self, request: Request) -> None:
        await add_checkpoint(self._door, self._witness, request)

    async def _witnessed(self, request: Request) -> None:
        await show_witnessed(self._door, self._witness, request, request.path.removeprefix("/witness/"))

    async def _receipt(self, request: Request) -> None:
        await read_receipt(self._door, request)

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


def _asker(request: Request) -> Dialect:
    """Say whose client asks for models: all of them ask at the same place, and tell themselves by their headers."""
    if request.has(b"anthropic-version"):
        return MESSAGES
    return GENERATE if request.has(b"x-goog-api-key") else request.dialect
