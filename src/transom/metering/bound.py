"""What a request may use up at most, before it is asked: tokens in and out. Read from the call alone.

- An answer's length: the fields that its own dialect has for that. What other dialects call theirs no upstream heeds.
- Text: byte-level tokenizers make at most one token of a byte, and everything a model is told stands in the body, whose
  JSON is never shorter than its text. What templates add to a message is less than the JSON around it; `_AROUND` covers
  what they add to the whole.
- Pictures and documents: `_IMAGE` and `_DOCUMENT` for each, more than any vendor bills today; inline sound: its bytes.
- What is stored at the vendor is not in the body: `max_input_tokens` bounds it, because no model takes more.
- What tools that the vendor runs itself add has no bound at all: it is a conversation of its own.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from transom.values import Call, Version

_AROUND: Final = 1024
_IMAGE: Final = 50_000
_DOCUMENT: Final = 1_000_000
_VENDORS_TOOLS = ("web_search_options", "mcp_servers")
"""Fields that make the vendor run tools, besides `tools`."""
_OWN_TOOLS = frozenset(("function", "custom"))
_IMAGES = frozenset(("image_url", "input_image", "image", "inlineData", "inline_data", "fileData", "file_data"))
_DOCUMENTS = frozenset(("file", "input_file", "document"))
_VERBATIM = frozenset(("tools", "functions", "args", "arguments", "response", "parameters", "input_schema", "metadata"))
"""Fields whose content is text to the model whatever it looks like."""


class Bound(msgspec.Struct, frozen=True):
    """Tokens at most. `None`: that cannot be said. `stored`: the input may also be as long as the model takes.

    `media`: there are pictures or documents in it.
    """

    input: int | None
    output: int | None
    stored: bool = False
    media: bool = False


def bound_of(call: Call, version: Version) -> Bound:
    """Say what a call may use up of `version` at most. Its body is a JSON object by now."""
    said: dict[str, Any] = msgspec.json.decode(call.body)
    output = 0 if version.kind == "embedding" else _output(call, said, version)
    if any(said.get(name) for name in _VENDORS_TOOLS) or _has_own_tools(said):
        return Bound(None, output, call.stored)
    media = list(_media(said))
    seen = sum((_IMAGE if kind in _IMAGES else _DOCUMENT) - payload for kind, payload in media)
    return Bound(len(call.body) + _AROUND + seen, output, call.stored, bool(media))


def _output(call: Call, said: dict[str, Any], version: Version) -> int | None:
    answers = _whole(call.answers)
    tokens = _whole(call.longest)
    if answers is None or tokens is None:
        return None
    bounds = [] if version.max_output_tokens is None else [version.max_output_tokens]
    if tokens and min(tokens) > 0:  # less is none at all to some servers
        bounds.append(max(tokens))
    if not bounds:
        return None
    return (min(bounds) + _predicted(said)) * max(1, *answers, 1)


def _has_own_tools(said: dict[str, Any]) -> bool:
    """Whether the vendor runs a tool itself, which may read any number of pages."""
    tools = said.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if not isinstance(tool, dict):
            continue
        if "type" in tool and not (isinstance(tool["type"], str) and tool["type"] in _OWN_TOOLS):
            return True
        if "type" not in tool and not tool.keys() <= {
            "functionDeclarations",
            "function_declarations",
            "name",
            "description",
            "input_schema",
            "strict",
            "cache_control",
        }:
            return True
    return False


def _media(said: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Find pictures and documents; with each, how many bytes of the body are its payload and no text."""
    waiting: list[Any] = [value for name, value in said.items() if name not in _VERBATIM]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
            continue
        if not isinstance(value, dict):
            continue
        kinds = [value["type"]] if isinstance(value.get("type"), str) else []
        kinds += [name for name in ("inlineData", "inline_data", "fileData", "file_data") if name in value]
        kind = next((each for each in kinds if each in _IMAGES or each in _DOCUMENTS), None)
        if kind is not None:
            media = "document" if _is_document(value) else kind
            yield media, _payload(value) if media in _IMAGES else 0
            continue
        tool = value.get("type") == "tool_use"
        waiting += [each for name, each in value.items() if name not in _VERBATIM and not (tool and name == "input")]


def _is_document(value: dict[str, Any]) -> bool:
    """Whether what Gemini sends under one name is no picture."""
    for name in ("inlineData", "inline_data", "fileData", "file_data"):
        data = value.get(name)
        if isinstance(data, dict):
            kind = data.get("mimeType", data.get("mime_type"))
            return not (isinstance(kind, str) and kind.startswith("image/"))
    return False


def _payload(value: object) -> int:
    """Count the bytes of data within one picture: what a model sees of them is no text."""
    if isinstance(value, str):
        return len(value) if value.startswith("data:image/") else 0
    if not isinstance(value, dict):
        return 0
    found = 0
    for name, each in value.items():
        if name == "data" and isinstance(each, str):
            found += len(each)
        elif name in {"source", "image_url", "url", "inlineData", "inline_data"}:
            found += _payload(each)
    return found


def _predicted(said: dict[str, Any]) -> int:
    """Count a predicted answer: what of it is not used is billed as output."""
    return len(msgspec.json.encode(said["prediction"])) if said.get("prediction") else 0


def _whole(values: tuple[object, ...]) -> list[int] | None:
    """Return what is said in some fields; `None` where one says what is no whole number."""
    said = [value for value in values if value is not None]
    numbers = [value for value in said if isinstance(value, int) and not isinstance(value, bool)]
    return numbers if len(numbers) == len(said) else None
