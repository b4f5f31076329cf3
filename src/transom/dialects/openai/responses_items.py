"""The items of Responses that carry what a model said: made for answers and requests, and what is hidden in them.

Two things must come back as they went, through clients that know nothing of them:
- What proves a thought. OpenAI's `encrypted_content` goes back under its item's own id, so both travel as one opaque
  text through other APIs. What another vendor gave travels as `encrypted_content` under an id that Transom made up.
- Gemini's signature of a tool use. Responses has no field for it; clients give an item's id back, so it is that.
"""

from collections.abc import Sequence

from transom.dialects.middle import Reasoning, ToolUse
from transom.dialects.openai.options import known
from transom.dialects.proofs import own, tagged
from transom.dialects.translate import DialectName

_SPOKEN: DialectName = "openai-responses"
PARAGRAPH = "\n\n"
"""What stands between the paragraphs of a thought."""

_MADE_UP = "rs_transom_"
_PROOF = "signature:"
_SIGNED = "fc_signed_"
MARKS = (f'"{_MADE_UP}'.encode(), f'"{_SIGNED}'.encode())
"""What stands in a request that gives back what another vendor's model thought or signed."""


def message_id(answer: str, index: int) -> str:
    """Return the id of a message, the `index`th item of an answer."""
    return f"msg_{answer}_{index}"


def thought_id(answer: str, index: int | str) -> str:
    """Return the id of a thought, the `index`th item of an answer."""
    return f"{_MADE_UP}{answer}_{index}"


def call_id(answer: str, index: int, signature: str | None) -> str:
    """Return the id of a tool use, the `index`th item of an answer."""
    return f"fc_{answer}_{index}" if signature is None else _SIGNED + signature


def signature_of(item_id: str | None) -> str | None:
    """Return the signature that a tool use's id carries."""
    return item_id.removeprefix(_SIGNED) if item_id and item_id.startswith(_SIGNED) else None


def seal(thought: Reasoning) -> str | None:
    """Return the `encrypted_content` that carries what proves `thought`."""
    if thought.signature is None:
        return thought.hidden
    return thought.signature if thought.text else _PROOF + thought.signature


def unseal(text: str, item_id: str | None, encrypted: str | None) -> Reasoning:
    """Return a thought: its summary and what its `encrypted_content` carries, which without a summary is all of it."""
    if encrypted is None:
        return Reasoning(text)
    if item_id is None or not item_id.startswith(_MADE_UP):
        encrypted = tagged(_SPOKEN, f"{item_id or ''}:{encrypted}") or ""
    if encrypted.startswith(_PROOF):
        return Reasoning(text, signature=encrypted.removeprefix(_PROOF))
    return Reasoning(text, signature=encrypted) if text else Reasoning(hidden=encrypted)


def own_seal(thought: Reasoning, made_up: str) -> tuple[str, str | None]:
    """Return the id and the `encrypted_content` by which an upstream knows its thought again, as it gave them."""
    sealed = seal(thought)
    given = own(_SPOKEN, sealed)
    if given is None:
        return made_up, sealed
    item_id, _, encrypted = given.rpartition(":")
    return item_id or made_up, encrypted


def halves(thought: Reasoning) -> tuple[Reasoning, ...]:
    """Return a thought as one item each can hold: what is hidden beside words has an item of its own."""
    if thought.hidden is None or not (thought.text or thought.signature):
        return (thought,)
    return Reasoning(thought.text, thought.signature), Reasoning(hidden=thought.hidden)


def joined(paragraphs: Sequence[str]) -> str:
    """Return the paragraphs of a thought as one text."""
    return PARAGRAPH.join(text for text in paragraphs if text)


def reasoning_item(item_id: str, text: str, encrypted: str | None) -> dict[str, object]:
    """Return a thought."""
    item: dict[str, object] = {"id": item_id, "type": "reasoning", "summary": [summary(text)] if text else []}
    return item | known(encrypted_content=encrypted)


def summary(text: str) -> dict[str, object]:
    """Return the text of a thought."""
    return {"type": "summary_text", "text": text}


def output_text(text: str, logprobs: Sequence[dict[str, object]] = ()) -> dict[str, object]:
    """Return words."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": list(logprobs)}


def refusal(text: str) -> dict[str, object]:
    """Return words for not answering."""
    return {"type": "refusal", "refusal": text}


def message_item(item_id: str, content: list[dict[str, object]], status: str) -> dict[str, object]:
    """Return what the model said in words."""
    return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": content}


def call_item(item_id: str, use: ToolUse, status: str) -> dict[str, object]:
    """Return that the model wants a tool used."""
    return {"id": item_id, "type": "function_call", "status": status, **call_fields(use)}


def call_fields(use: ToolUse) -> dict[str, object]:
    """Return what a tool use is."""
    return {"call_id": use.id, "name": use.name, "arguments": use.arguments}
