"""What a model thought, in Chat Completions, which OpenAI's own do not say: three habits of those who speak alike.

- `reasoning_content`: text (DeepSeek, vLLM, llama.cpp). It is what Transom writes.
- `reasoning`: the same text (OpenRouter, newer vLLM).
- `reasoning_details`: a list with what the text alone does not say, signatures and encrypted thoughts (OpenRouter).
  It is written only where there are any, as Anthropic's and OpenAI's models want them back.
"""

from collections.abc import Sequence

import msgspec

from transom.dialects.middle import Reasoning
from transom.dialects.proofs import given_back, held
from transom.dialects.translate import DialectName

_SPOKEN: DialectName = "openai-chat"


class Detail(msgspec.Struct):
    """One entry of `reasoning_details`. A `summary` is a text by another name."""

    text: str | None = None
    summary: str | None = None
    signature: str | None = None
    data: str | None = None


def read_thoughts(text: str | None, details: Sequence[Detail]) -> tuple[Reasoning, ...]:
    """Return the thoughts of a message. Where details say text, it is `text` again."""
    thoughts = [Reasoning(each.text or each.summary or "", *read_proofs(each)) for each in details]
    thoughts = [thought for thought in thoughts if thought != Reasoning()]
    if text and not any(thought.text for thought in thoughts):
        if len(thoughts) == 1 and thoughts[0].signature is not None:
            # Whoever put a stream together without `reasoning_details`' text still has what the signature proves.
            return (Reasoning(text, thoughts[0].signature, thoughts[0].hidden),)
        thoughts.insert(0, Reasoning(text))
    return tuple(thoughts)


def read_proofs(said: Detail) -> tuple[str | None, str | None]:
    """Return the signature and the hidden thought of a detail."""
    return given_back(_SPOKEN, said.signature), given_back(_SPOKEN, said.data)


def write_thoughts(thoughts: Sequence[Reasoning]) -> dict[str, object]:
    """Return the fields of a message that say `thoughts`."""
    text = "".join(thought.text for thought in thoughts)
    fields: dict[str, object] = {"reasoning_content": text} if text else {}
    if len(thoughts) > 1 or any(thought.signature or thought.hidden for thought in thoughts):
        fields["reasoning_details"] = [detail(index, thought) for index, thought in enumerate(thoughts)]
    return fields


def detail(index: int, thought: Reasoning) -> dict[str, object]:
    """Return the `index`th entry of `reasoning_details`."""
    written: dict[str, object] = {"type": "reasoning.text" if thought.text else "reasoning.encrypted", "index": index}
    if thought.text:
        written["text"] = thought.text
    if thought.signature is not None:
        written["signature"] = held(_SPOKEN, thought.signature)
    if thought.hidden is not None:
        written["data"] = held(_SPOKEN, thought.hidden)
    return written
