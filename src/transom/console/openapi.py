"""The admin API described, from its own routes and structs (OpenAPI 3.1.0)."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from starlette.responses import Response

from transom.audit.asking import FIELDS
from transom.console.site import Route, Visit

_PARAMETER = re.compile(r"{(\w+)}")
_PAGING = {
    "limit": "How many, at most 200; 50 where it is left out.",
    "before": "Only what is before this decision: `older` of the page before.",
}
_QUERY = {
    "/api/decisions": {**FIELDS, **_PAGING},
    "/api/export": {
        **FIELDS,
        "format": "`jsonl` (JSON Lines, which it is where it is left out) or `parquet`.",
        "content": "`1`: prompts and answers too, for those who may read_content. The look goes on the record.",
        "reason": "With `content`, why you look, in a word.",
        "note": "With `content`, what else there is to say of it; it is kept sealed.",
    },
    "/api/decisions/{id}": {
        "content": "`1`: prompt and answer too, for those whom policy lets read_content. The look goes on the record.",
        "reason": "With `content`, why you look, in a word: `audit`, `complaint`, `incident` …",
        "note": "With `content`, what else there is to say of it; it is kept sealed.",
    },
}
_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "description": "OpenAI's error object; `policies` where policy forbids, `decision` where one was recorded, "
            "`problems` (message, file, line, column) where declared files are refused.",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
                "policies": {"type": "array", "items": {"type": "string"}},
                "decision": {"type": "string"},
                "problems": {"type": "array", "items": {"type": "object"}},
            },
            "required": ["message", "type", "param", "code"],
        }
    },
}


async def document(visit: Visit) -> Response:
    """Describe this API."""
    body = msgspec.json.encode(describe(visit.site.routes, visit.site.build))
    return Response(body, media_type="application/json")


def describe(routes: Iterable[Route], build: str) -> dict[str, Any]:
    """Describe the routes of the admin API."""
    api = [route for route in routes if route.api]
    structs = list(dict.fromkeys(each for route in api for each in (route.takes, route.gives) if each is not None))
    schemas, components = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    of = dict(zip(structs, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in api:
        if route.query is None:
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Transom's admin API",
            "version": build,
            "description": "Every request is ruled by policy and recorded; its decision's id is in the header "
            "`transom-decision`.",
        },
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}],
    }


def _operation(route: Route, of: dict[type, dict[str, Any]]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "description": f"Policy rules on `{route.action}`.",
        "operationId": f"{route.method.lower()}{re.sub(r'[^a-z]+', '_', route.path.removeprefix('/api'))}".rstrip("_"),
        "parameters": [*_in_path(route.path), *_in_query(route)],
        "responses": {
            "200": {"description": "Done.", "content": _content(of[route.gives] if route.gives else {})},
            "default": {"description": "Refused.", "content": _content({"$ref": "#/components/schemas/Error"})},
        },
    }
    if route.takes is not None:
        operation["requestBody"] = {"required": True, "content": _content(of[route.takes])}
    return operation


def _in_path(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(path)
    ]


def _in_query(route: Route) -> list[dict[str, Any]]:
    known = _QUERY.get(route.path, {}) if route.method == "GET" else {}
    return [
        {
            "name": name,
            "in": "query",
            "description": said,
            "schema": {"type": "integer" if name == "limit" else "string"},
        }
        for name, said in known.items()
    ]


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
