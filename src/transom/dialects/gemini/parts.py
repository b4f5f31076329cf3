"""`contents` read into messages: one at a time, part by part.

Gemini's clients keep a streamed answer as one content per chunk, so neighbouring contents of the model are one message,
and words that were cut between them are whole again.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby

import msgspec

from transom.dialects.gemini.calls import Calls, made_id
from transom.dialects.gemini.media import read_detail, read_file, read_inline
from transom.dialects.gemini.signature import Proof, own_proof, unwrap
from transom.dialects.gemini.wire import Object
from transom.dialects.middle import Audio, Document, Image, Message, Part, Reasoning, Role, Text, ToolResult, ToolUse
from transom.errors import InvalidRequest

_USERS = (None, "user", "function")
"""`function` is what results of tools stood under in older clients."""
_OWN = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")
_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_contents(contents: list[Object]) -> tuple[Message, ...]:
    """Read a conversation. Contents without parts say nothing. Raises `InvalidRequest`."""
    calls = Calls()
    read = (message for content in contents for message in _messages(content, calls))
    messages: list[Message] = []
    for role, run in groupby(read, lambda message: message.role):
        if role == "assistant":
            messages.append(Message(role, _joined(message.parts for message in run)))
        else:
            messages.extend(run)
    return tuple(messages)


def read_system(content: Object) -> Message | None:
    """Read `systemInstruction`: words, whatever its role. Raises `InvalidRequest`."""
    content.text("role")
    texts = [(part, part.text("text")) for part in (content.objects("parts") or ())]
    for part, _ in texts:
        part.done()
    content.done()
    parts = tuple(Text(text) for _, text in texts if text)
    return Message("system", parts) if parts else None


def _messages(content: Object, calls: Calls) -> Iterator[Message]:
    role = content.text("role")
    if role != "model" and role not in _USERS:
        raise InvalidRequest(f"`{content.at('role')}` must be `user` or `model`.", param=content.at("role"))
    said: Role = "assistant" if role == "model" else "user"
    parts = [read for part in (content.objects("parts") or ()) for read in _part(part, said, calls)]
    content.done()
    for results, run in groupby(parts, lambda part: isinstance(part, ToolResult)):
        yield Message("tool" if results else said, tuple(run))


def _part(part: Object, role: Role, calls: Calls) -> list[Part]:
    """Read one part; its signature, where it proves no thought of its own and no use of a tool, follows it."""
    part.drop_if("thought", False)
    _check_role(part, role)
    proof = unwrap(part.text("thoughtSignature"))
    signed = [Reasoning(signature=proof.signature, hidden=proof.hidden)] if proof != Proof() else []
    part.hint("partMetadata")
    for name in _OWN:
        part.refuse(name, "it belongs to a tool that Google runs itself")
    if (call := part.object("functionCall")) is not None:
        read: Part = _call(call, part.path, calls, own_proof(proof.signature))
        signed = []
    elif (response := part.object("functionResponse")) is not None:
        read = _response(response, calls)
    elif (blob := part.object("inlineData")) is not None:
        read = read_detail(part, read_inline(blob))
    elif (file := part.object("fileData")) is not None:
        read = read_detail(part, read_file(file))
    else:
        return _words(part, proof)
    part.refuse("text", "a part says one thing, and this one says another already")
    part.done()
    return [read, *signed]


def _check_role(part: Object, role: Role) -> None:
    """Refuse what only the other side may say."""
    for name in ("thought", "thoughtSignature", "functionCall") if role == "user" else ("functionResponse",):
        if name in part:
            raise InvalidRequest(
                f"`{part.at(name)}` stands under the wrong role: the model thinks and calls, the user responds.",
                param=part.at(name),
            )


def _words(part: Object, proof: Proof) -> list[Part]:
    text, thought = part.text("text"), part.flag("thought")
    part.done()
    if text is None and proof == Proof():
        raise InvalidRequest(f"`{part.path}` says nothing: it has no text, data or call.", param=part.path)
    thinking = Reasoning(text if text and thought else "", proof.signature, proof.hidden)
    words = [] if thought or not text else [Text(text)]
    return [*words, thinking] if thinking != Reasoning() else [*words]


def _call(call: Object, place: str, calls: Calls, signature: str | None) -> ToolUse:
    id_, name = call.text("id"), call.need("name", call.text("name"))
    arguments = call.json("args")
    call.drop_if("willContinue", False)
    call.done()
    use = ToolUse(id_ or made_id(place), name, "{}" if arguments is None else arguments, signature)
    calls.asked(use.id, name)
    return use


def _response(response: Object, calls: Calls) -> ToolResult:
    id_, name = calls.answered(response, response.text("id"), response.text("name"))
    said = response.json("response")
    media = [_medium(part) for part in (response.objects("parts") or ())]
    response.drop_if("willContinue", False)
    response.hint("scheduling")
    response.done()
    text, failed = ("", False) if said is None else _output(said)
    return ToolResult(id_, name, (*([Text(text)] if text else []), *media), failed)


def _output(whole: str) -> tuple[str, bool]:
    """Return a result's words, and whether they tell of a failure: `output` and `error` are Google's own keys."""
    said = _objects.decode(whole)
    key = next(iter(said), "")
    if len(said) != 1 or key not in {"output", "error"}:
        return whole, False
    value = bytes(said[key]).decode()
    return msgspec.json.decode(value, type=str) if value.startswith('"') else value, key == "error"


def _medium(part: Object) -> Image | Document:
    blob, file = part.object("inlineData"), part.object("fileData")
    if blob is not None:
        medium = read_inline(blob)
    elif file is not None:
        medium = read_file(file)
    else:
        part.done()
        raise InvalidRequest(f"`{part.path}` has neither `inlineData` nor `fileData`.", param=part.path)
    medium = read_detail(part, medium)
    part.done()
    if isinstance(medium, Audio):
        raise InvalidRequest(f"`{part.path}`: sound in a tool's result cannot be carried.", param=part.path)
    return medium


def _joined(pieces: Iterable[tuple[Part, ...]]) -> tuple[Part, ...]:
    """Return what was said in pieces: words and thoughts that were cut between two of them are whole again."""
    parts: list[Part] = []
    words: list[str] = []
    """Of the last of `parts`, where it is words or a thought that may go on."""
    for piece in pieces:
        for place, part in enumerate(piece):
            last = parts[-1] if parts and not place else None
            if isinstance(part, Text) and isinstance(last, Text):
                words.append(part.text)
            elif isinstance(part, Reasoning) and isinstance(last, Reasoning) and last == Reasoning(last.text):
                words.append(part.text)
                parts[-1] = Reasoning("", part.signature, part.hidden)
            else:
                _close(parts, words)
                parts.append(part)
                words = [part.text] if isinstance(part, Text | Reasoning) else []
    _close(parts, words)
    return tuple(parts)


def _close(parts: list[Part], words: list[str]) -> None:
    if len(words) > 1:
        parts[-1] = msgspec.structs.replace(parts[-1], text="".join(words))
