"""What proves a thought to the vendor whose model had it. To any other it says nothing, or is an error.

In the middle form a proof bears the dialect that it was given in, like `gemini-generate:CiQB`. Clients of another
dialect hold it behind a mark, and give it back so. An upstream hears the proofs of its own dialect alone.
"""

import re
from typing import get_args

import msgspec

from transom.dialects.middle import Message, Part, Reasoning, Request, ToolUse
from transom.dialects.translate import DialectName

MARK = "transom:"
"""No vendor's proof begins so: they are Base64, in which `:` does not occur."""
QUOTED_MARK = b'"' + MARK.encode()
"""As it stands in a body."""
_HELD = re.compile(f"{MARK}((?:{'|'.join(get_args(DialectName))}):.*)", re.DOTALL)
SIGNS_TOOLS: DialectName = "gemini-generate"
"""Gemini alone signs uses of tools, so that their signatures need not say whose they are."""


_WANTS_PROOF: DialectName = "anthropic-messages"
"""Anthropic alone takes no thought, in a request, that nothing proves."""


def tagged(dialect: DialectName, proof: str | None) -> str | None:
    """Return the proof of a thought as the middle form has it."""
    return None if proof is None else f"{dialect}:{proof}"


def own(dialect: DialectName, proof: str | None) -> str | None:
    """Return a proof as it was given in this dialect; `None` where it was given in another."""
    tag = f"{dialect}:"
    return proof.removeprefix(tag) if proof is not None and proof.startswith(tag) else None


def held(dialect: DialectName, proof: str | None) -> str | None:
    """Return a proof as a client of this dialect holds it: of its own as it was given, of others behind the mark."""
    if proof is None:
        return None
    given = own(dialect, proof)
    return MARK + proof if given is None else given


def given_back(dialect: DialectName, proof: str | None) -> str | None:
    """Return what a client of this dialect held, as the middle form has it."""
    found = None if proof is None else _HELD.fullmatch(proof)
    return tagged(dialect, proof) if found is None else found[1]


def signature_of_use(held_: str | None) -> str | None:
    """Return the signature of a tool's use that a client held behind the mark, or has from Google itself."""
    found = None if held_ is None else _HELD.fullmatch(held_)
    return held_ if found is None else own(SIGNS_TOOLS, found[1])


def without_foreign(request: Request, dialect: DialectName) -> tuple[Request, tuple[int, ...]]:
    """Return what an upstream of this dialect can be told, and the places of messages that it is not told all of.

    A thought that another vendor proves is left out whole: without its proof, many do not take it. Of a tool's use only
    the signature is.
    """
    messages = [_without_foreign(message, dialect) for message in request.messages]
    places = tuple(place for place, message in enumerate(messages) if message is not request.messages[place])
    return (msgspec.structs.replace(request, messages=tuple(messages)) if places else request), places


def _without_foreign(message: Message, dialect: DialectName) -> Message:
    if message.role != "assistant":
        return message
    parts = [part for part in message.parts if not _is_foreign(part, dialect)]
    if dialect != SIGNS_TOOLS:
        parts = [_unsigned(part) for part in parts]
    return message if tuple(parts) == message.parts else msgspec.structs.replace(message, parts=tuple(parts))


def _is_foreign(part: Part, dialect: DialectName) -> bool:
    if not isinstance(part, Reasoning):
        return False
    proofs = [proof for proof in (part.signature, part.hidden) if proof is not None]
    return any(own(dialect, proof) is None for proof in proofs) if proofs else dialect == _WANTS_PROOF


def _unsigned(part: Part) -> Part:
    if isinstance(part, ToolUse) and part.signature is not None:
        return msgspec.structs.replace(part, signature=None)
    return part
