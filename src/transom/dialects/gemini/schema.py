"""The schemas of OpenAPI 3.0 that Gemini's older fields take, said as JSON Schema (2020-12).

Types are in capital letters there, `nullable` stands beside the type, and `propertyOrdering` says what JSON Schema's
users read from the order of the keys. What JSON Schema has no other word for is left as it is.
"""

import re

import msgspec

from transom.dialects.gemini.wire import camel
from transom.errors import InvalidRequest

_RENAMED = {"ref": "$ref", "defs": "$defs"}
_MAPS = ("properties", "$defs")
_LISTS = ("anyOf", "prefixItems")
_SCHEMAS = ("items", "additionalProperties")
_WHOLE = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
"""64-bit numbers: protocol buffers' JSON writes them in quotes."""
_INTEGER = re.compile(r"\d{1,19}")
_UNSPECIFIED = "type_unspecified"


def json_schema(raw: str, path: str) -> str:
    """Return an OpenAPI schema, which stands at `path`, as the text of a JSON Schema. Raises `InvalidRequest`."""
    try:
        return msgspec.json.encode(_schema(msgspec.json.decode(raw), path)).decode()
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"`{path}` cannot be read: {error}.", param=path) from error


def _schema(said: object, path: str) -> dict[str, object]:
    if not isinstance(said, dict):
        raise InvalidRequest(f"`{path}` must be a schema, an object.", param=path)
    schema: dict[str, object] = {}
    for written, value in said.items():
        key = _RENAMED.get(camel(written), camel(written))
        schema[key] = _value(key, value, f"{path}.{written}")
    if schema.get("type") == _UNSPECIFIED:
        del schema["type"]
    if "example" in schema:
        schema["examples"] = [schema.pop("example")]
    _order(schema)
    return _nullable(schema) if schema.pop("nullable", None) is True else schema


def _value(key: str, value: object, path: str) -> object:
    if isinstance(value, str):
        return _word(key, value)
    if isinstance(value, list) and key in _LISTS:
        return [_schema(each, f"{path}.{index}") for index, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if key in _MAPS:
        return {name: _schema(each, f"{path}.{name}") for name, each in value.items()}
    return _schema(value, path) if key in _SCHEMAS else value


def _word(key: str, value: str) -> object:
    if key == "type":
        return value.lower()
    if key == "$ref":
        return value.replace("#/defs/", "#/$defs/")
    return int(value) if key in _WHOLE and _INTEGER.fullmatch(value) else value


def _order(schema: dict[str, object]) -> None:
    """Put the properties into the order that is asked for."""
    order, properties = schema.pop("propertyOrdering", None), schema.get("properties")
    if isinstance(order, list) and isinstance(properties, dict):
        first = {name: properties[name] for name in order if name in properties}
        schema["properties"] = first | properties


def _nullable(schema: dict[str, object]) -> dict[str, object]:
    if isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    if isinstance(choices := schema.get("anyOf"), list):
        schema["anyOf"] = [*choices, {"type": "null"}]
    if isinstance(values := schema.get("enum"), list) and None not in values:
        schema["enum"] = [*values, None]
    return schema
