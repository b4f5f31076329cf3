"""The blocks of messages in requests: text, images, documents, thoughts, uses of tools and their results."""

import re
from collections.abc import Callable, Iterable, Mapping

import msgspec

from transom.dialects.anthropic.signature import Proof, own_proof, unwrap, unwrap_hidden
from transom.dialects.middle import (
    Audio,
    Declined,
    Document,
    Image,
    Part,
    Reasoning,
    Text,
    ToolResult,
    ToolUse,
    Unsayable,
)
from transom.dialects.objects import Object, uncarried
from transom.errors import InvalidRequest

_ARGUMENTS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_FOREIGN = re.compile(r"[^a-zA-Z0-9_-]")
PDF = "application/pdf"
PLAIN = "text/plain"


def read_content(content: str | list[Object], kinds: frozenset[str], where: str) -> tuple[Part, ...]:
    """Read the blocks of one message. Raises `InvalidRequest` for any whose type is none of `kinds`, which `where` has.

    Names of tools in results are not known yet.
    """
    if isinstance(content, str):
        return (Text(content),) if content else ()
    return tied(_read_block(block, kinds, where) for block in content)


def tied(parts: Iterable[Part | Proof]) -> tuple[Part, ...]:
    """Put signatures of tools, which stand before their uses, where they belong, and leave out empty text."""
    read: list[Part] = []
    signature: str | None = None
    for part in parts:
        if isinstance(part, Proof):
            signature = part.tool
        elif isinstance(part, ToolUse):
            read.append(msgspec.structs.replace(part, signature=signature))
            signature = None
        elif part != Text(""):
            read.append(part)
    return tuple(read)


def read_thought(text: str, signature: str | None) -> Reasoning | Proof:
    """Return a thought, or the signature that it carries for the use of a tool."""
    proof = unwrap(signature)
    return proof if proof.tool is not None else Reasoning(text, proof.signature, proof.hidden)


def write_part(part: Part, path: str) -> dict[str, object]:
    """Say a part of a request. Raises `Unsayable` naming a path below `path`."""
    match part:
        case Text(text=text) | Declined(text=text):
            return {"type": "text", "text": text}
        case Image():
            return _write_image(part, path)
        case Document():
            return _write_document(part, path)
        case Reasoning():
            return _write_reasoning(part, path)
        case ToolUse():
            return _write_tool_use(part, path)
        case ToolResult():
            return _write_tool_result(part, path)
        case Audio():
            raise Unsayable(path, "is sound, which Anthropic's API does not take")


def _read_block(block: Object, kinds: frozenset[str], where: str) -> Part | Proof:
    kind = block.need("type", block.text("type"))
    read = _READERS.get(kind)
    if read is None:
        raise uncarried(block.at("type"), f"blocks of the type `{kind[:100]}` are Anthropic's own")
    if kind not in kinds:
        path = block.at("type")
        raise InvalidRequest(f"`{path}`: a block of the type `{kind[:100]}` cannot stand in {where}.", param=path)
    block.hint("cache_control")
    part = read(block)
    block.done()
    return part


def _read_text(block: Object) -> Text:
    # What an earlier answer cited is no part of what it said.
    block.hint("citations")
    return Text(block.need("text", block.text("text")))


def _read_image(block: Object) -> Image:
    if (transformations := block.object("transformations")) is not None:
        if transformations.text("oversized_image") == "error":
            raise uncarried(transformations.at("oversized_image"), "no other API refuses an image for its size")
        transformations.done()
    source = block.need("source", block.object("source"))
    kind = source.need("type", source.text("type"))
    if kind == "base64":
        image = Image(media_type=_needed_text(source, "media_type"), data=_needed_text(source, "data"))
    elif kind == "url":
        image = Image(url=_needed_text(source, "url"))
    else:
        raise _foreign_source(source, kind)
    source.done()
    return image


def _read_document(block: Object) -> Document:
    if (citations := block.object("citations")) is not None:
        if citations.flag("enabled"):
            raise uncarried(citations.at("enabled"), "no other API cites documents in Anthropic's way")
        citations.done()
    name = block.text("title")
    source = block.need("source", block.object("source"))
    kind = source.need("type", source.text("type"))
    if kind in {"base64", "text"}:
        document = Document(media_type=_needed_text(source, "media_type"), data=_needed_text(source, "data"), name=name)
        if document.media_type != (PDF if kind == "base64" else PLAIN):
            path = source.at("media_type")
            raise InvalidRequest(f"`{path}` must be `{PDF}` in Base64, or `{PLAIN}` as text.", param=path)
    elif kind == "url":
        document = Document(media_type=PDF, url=_needed_text(source, "url"), name=name)
    else:
        raise _foreign_source(source, kind)
    source.done()
    return document


def _read_thinking(block: Object) -> Reasoning | Proof:
    return read_thought(block.need("thinking", block.text("thinking")), block.text("signature"))


def _read_redacted(block: Object) -> Reasoning:
    return Reasoning(hidden=unwrap_hidden(_needed_text(block, "data")))


def _read_tool_use(block: Object) -> ToolUse:
    caller = block.object("caller")
    if caller is not None and (kind := caller.text("type")) != "direct":
        raise uncarried(caller.at("type"), f"only Anthropic's servers let `{(kind or '')[:100]}` use tools")
    return ToolUse(
        id=_needed_text(block, "id"),
        name=_needed_text(block, "name"),
        arguments=block.need("input", block.json("input")),
    )


def _read_tool_result(block: Object) -> ToolResult:
    content = block.text_or_objects("content")
    parts = () if content is None else read_content(content, _IN_RESULTS, "the result of a tool")
    return ToolResult(
        id=_needed_text(block, "tool_use_id"),
        name=None,
        parts=tuple(part for part in parts if isinstance(part, Text | Image | Document)),
        failed=block.flag("is_error") or False,
    )


_IN_RESULTS = frozenset({"text", "image", "document"})
_READERS: Mapping[str, Callable[[Object], Part | Proof]] = {
    "text": _read_text,
    "image": _read_image,
    "document": _read_document,
    "thinking": _read_thinking,
    "redacted_thinking": _read_redacted,
    "tool_use": _read_tool_use,
    "tool_result": _read_tool_result,
}


def _needed_text(block: Object, name: str) -> str:
    return block.need(name, block.text(name))


def _foreign_source(source: Object, kind: str) -> InvalidRequest:
    return uncarried(source.at("type"), f"a source of the type `{kind[:100]}` is held, or made out, by Anthropic")


def _write_image(image: Image, path: str) -> dict[str, object]:
    if image.detail not in {None, "auto"}:
        raise Unsayable(f"{path}.detail", "Anthropic's API has one way only to look at an image")
    if image.url is not None:
        return {"type": "image", "source": {"type": "url", "url": image.url}}
    if image.data is None or image.media_type is None:
        raise Unsayable(path, "is an image without its data, or without its media type, which Anthropic's API wants")
    return {"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": image.data}}


def _write_document(document: Document, path: str) -> dict[str, object]:
    if document.media_type not in {PDF, PLAIN} and not (document.url is not None and document.media_type is None):
        raise Unsayable(path, f"is a document of the type {document.media_type}; Anthropic's are {PDF} and {PLAIN}")
    if document.data is not None:
        kind = "base64" if document.media_type == PDF else "text"
        source = {"type": kind, "media_type": document.media_type, "data": document.data}
    elif document.url is not None and document.media_type != PLAIN:
        source = {"type": "url", "url": document.url}
    else:
        raise Unsayable(path, "is a document without its data, which Anthropic's API fetches for PDF only")
    block: dict[str, object] = {"type": "document", "source": source}
    if document.name is not None:
        block["title"] = document.name
    return block


def _write_reasoning(thought: Reasoning, path: str) -> dict[str, object]:
    signature, hidden = own_proof(thought.signature), own_proof(thought.hidden)
    if hidden is not None and not thought.text and thought.signature is None:
        return {"type": "redacted_thinking", "data": hidden}
    if thought.hidden is not None or signature is None:
        raise Unsayable(path, "is a thought without Anthropic's signature, and its API takes no other")
    return {"type": "thinking", "thinking": thought.text, "signature": signature}


def _write_tool_use(use: ToolUse, path: str) -> dict[str, object]:
    if use.signature is not None:
        raise Unsayable(f"{path}.signature", "Anthropic's API takes signatures on thoughts alone")
    arguments = json_object(use.arguments)
    if arguments is None:
        raise Unsayable(f"{path}.arguments", "is no JSON object, which Anthropic's API wants")
    return {"type": "tool_use", "id": _tool_id(use.id), "name": use.name, "input": arguments}


def _write_tool_result(result: ToolResult, path: str) -> dict[str, object]:
    block: dict[str, object] = {"type": "tool_result", "tool_use_id": _tool_id(result.id)}
    if result.parts:
        block["content"] = [write_part(part, f"{path}.parts.{index}") for index, part in enumerate(result.parts)]
    if result.failed:
        block["is_error"] = True
    return block


def json_object(text: str) -> msgspec.Raw | None:
    """Return the JSON text of an object as it stands, `{}` for none at all; `None` where it is anything else."""
    encoded = text.encode() if text.strip() else b"{}"
    try:
        _ARGUMENTS.decode(encoded)
    except (msgspec.DecodeError, RecursionError):
        return None
    return msgspec.Raw(encoded)


def _tool_id(name: str) -> str:
    """Anthropic takes letters, digits, `_` and `-`. Ids of others, like `functions.look:0`, stay distinct."""
    return _FOREIGN.sub(lambda found: f"_{ord(found[0]):x}_", name)
