"""Google's OpenAPI schemas said as JSON Schema."""

import json
from typing import Any

import pytest

from transom.dialects.gemini.schema import json_schema
from transom.errors import InvalidRequest


@pytest.mark.parametrize(
    ("openapi", "schema"),
    [
        ({"type": "STRING"}, {"type": "string"}),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
        ({"type": "TYPE_UNSPECIFIED", "description": "d"}, {"description": "d"}),
        ({"type": "INTEGER", "nullable": True}, {"type": ["integer", "null"]}),
        ({"type": "STRING", "nullable": False}, {"type": "string"}),
        (
            {"type": "STRING", "enum": ["A", "B"], "nullable": True},
            {"type": ["string", "null"], "enum": ["A", "B", None]},
        ),
        (
            {"any_of": [{"type": "STRING"}, {"type": "NUMBER"}], "nullable": True},
            {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "null"}]},
        ),
        (
            {"type": "ARRAY", "items": {"type": "BOOLEAN"}, "minItems": "1", "max_items": 3},
            {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
        ),
        (
            {"type": "OBJECT", "properties": {"max_items": {"type": "NULL"}}, "required": ["max_items"]},
            {"type": "object", "properties": {"max_items": {"type": "null"}}, "required": ["max_items"]},
        ),
        (
            {"type": "OBJECT", "properties": {"a": {"ref": "#/defs/A"}}, "defs": {"A": {"type": "STRING"}}},
            {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "string"}}},
        ),
        (
            {"type": "STRING", "example": "x", "default": "OBJECT"},
            {"type": "string", "default": "OBJECT", "examples": ["x"]},
        ),
        (
            {"additionalProperties": {"type": "STRING"}, "pattern": "^a", "$comment": "c"},
            {"additionalProperties": {"type": "string"}, "pattern": "^a", "$comment": "c"},
        ),
        ({"additional_properties": False}, {"additionalProperties": False}),
    ],
)
def test_it_means_the_same(openapi: dict[str, Any], schema: dict[str, Any]) -> None:
    assert json.loads(json_schema(json.dumps(openapi), "p")) == schema


def test_the_order_that_is_asked_for_is_the_order_of_the_keys() -> None:
    openapi = {"properties": {"a": {}, "b": {}, "c": {}}, "propertyOrdering": ["c", "a", "z"]}
    assert json_schema(json.dumps(openapi), "p") == '{"properties":{"c":{},"a":{},"b":{}}}'


@pytest.mark.parametrize(
    ("openapi", "param"),
    [
        ('{"items": 3}', None),
        ('{"properties": {"a": 3}}', "p.properties.a"),
        ('{"anyOf": [{}, "x"]}', "p.anyOf.1"),
        ('{"items": ' * 5000 + "{}" + "}" * 5000, "p"),
        ('{"minimum": 1e9999}', "p"),
    ],
)
def test_what_is_no_schema_is_named(openapi: str, param: str | None) -> None:
    if param is None:
        assert json_schema(openapi, "p") == openapi.replace(" ", "")
        return
    with pytest.raises(InvalidRequest) as raised:
        json_schema(openapi, "p")
    assert raised.value.param == param


def test_a_number_that_is_none_stays_as_it_is() -> None:
    digits = "9" * 5000
    said = json.loads(json_schema(json.dumps({"type": "STRING", "maxLength": digits, "minLength": "3"}), "p"))
    assert said == {"type": "string", "maxLength": digits, "minLength": 3}
