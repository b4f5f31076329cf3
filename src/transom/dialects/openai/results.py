"""What a tool gave, where no field says that it failed."""

from transom.dialects.middle import Document, Image, Text, ToolResult

FAILED = "Error: "
"""What the words of a failed tool begin with in both of OpenAI's APIs: the model must know, and has only words."""


def told(result: ToolResult) -> tuple[Text | Image | Document, ...]:
    """Return what the model is told of `result`."""
    if not result.failed:
        return result.parts
    first, *rest = result.parts or (Text(""),)
    if isinstance(first, Text):
        return (Text(FAILED + first.text), *rest)
    return (Text(FAILED), *result.parts)
