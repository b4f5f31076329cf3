"""About how many tokens a request is, for a model whose own count is not to be had. Never billed as a count."""

from collections.abc import Iterable

from transom.dialects.middle import Declined, Document, Part, Reasoning, Request, Text, ToolResult, ToolUse

_BYTES_A_TOKEN = 4
_TOKENS_A_TURN = 4
_TOKENS_AN_IMAGE = 1600
"""What Anthropic counts for an image of the greatest size that it does not shrink."""
_PDF_BYTES_A_TOKEN = 20
"""A page is about 2,500 tokens, and rarely more than 50 KB."""
_BASE64 = 3 / 4


def estimate(request: Request) -> int:
    """Return about how many tokens a request has: four bytes of text each, a fixed count for an image."""
    tokens = sum(_TOKENS_A_TURN + _parts(message.parts) for message in request.messages)
    for tool in request.tools:
        tokens += _TOKENS_A_TURN + _text(tool.name, tool.description, tool.parameters)
    return tokens if request.format is None else tokens + _text(request.format.schema)


def _parts(parts: Iterable[Part]) -> int:
    return sum(_part(part) for part in parts)


def _part(part: Part) -> int:
    match part:
        case ToolUse():
            return _text(part.name, part.arguments)
        case ToolResult():
            return _TOKENS_A_TURN + _parts(part.parts)
        case Document(media_type="application/pdf", data=str(data)):
            return int(len(data) * _BASE64) // _PDF_BYTES_A_TOKEN
        case Text(text=text) | Declined(text=text) | Reasoning(text=text) | Document(data=str(text)):
            return _text(text)
        case _:
            return _TOKENS_AN_IMAGE


def _text(*texts: str | None) -> int:
    return sum(-(-len(text.encode()) // _BYTES_A_TOKEN) for text in texts if text)
