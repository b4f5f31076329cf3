"""What proves a thought to its vendor, in the one place for it that Anthropic's clients give back as it came.

Other vendors sign uses of tools too, or give a readable thought and a hidden one together. In an answer these stand in
the `signature` of a thought, behind a mark.
"""

from contextlib import suppress

import msgspec

from transom.dialects.proofs import MARK, given_back, held, own
from transom.dialects.translate import DialectName

_SPOKEN: DialectName = "anthropic-messages"
_JSON = MARK + "{"


class Proof(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a signature holds: a thought's own and what is hidden of it, or that of the use of a tool that follows."""

    signature: str | None = None
    hidden: str | None = None
    tool: str | None = None


_proofs = msgspec.json.Decoder(Proof)


def wrap(proof: Proof) -> str:
    """Return the text of a signature: Anthropic's own of a thought as it is."""
    if proof.hidden is None and proof.tool is None:
        return held(_SPOKEN, proof.signature) or ""
    return MARK + msgspec.json.encode(proof).decode()


def unwrap(signature: str | None) -> Proof:
    """Return what a signature says."""
    if signature and signature.startswith(_JSON):
        with suppress(msgspec.DecodeError):
            return _proofs.decode(signature.removeprefix(MARK))
    return Proof(given_back(_SPOKEN, signature or None))


def wrap_hidden(hidden: str) -> str | None:
    """Return the `data` of a thought that only its vendor can read."""
    return held(_SPOKEN, hidden)


def unwrap_hidden(data: str) -> str | None:
    """Return what such `data` holds."""
    return given_back(_SPOKEN, data)


def own_proof(proof: str | None) -> str | None:
    """Return what proves a thought to Anthropic; `None` where it was given by another."""
    return own(_SPOKEN, proof)
