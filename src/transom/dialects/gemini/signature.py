"""What proves a thought to its vendor, on its way through a client that holds it as bytes.

Gemini's clients read `thoughtSignature` as base64 and write it again in another alphabet, which is the same to Google
and another signature to anyone else. So what an answer's caller shall give back is wrapped: base64 whose bytes hold
the words as they were. A signature that is not wrapped is Google's own.
"""

import base64
import binascii

import msgspec

from transom.dialects.proofs import own, tagged
from transom.dialects.translate import DialectName

_SPOKEN: DialectName = "gemini-generate"
_MARK = b"transom\x00"
WRAPPED = base64.b64encode(_MARK + b"{")
"""How everything begins that is wrapped, in both alphabets."""
UNSIGNED = "skip_thought_signature_validator"
"""Stands for the signature of a tool's use that Gemini did not ask for itself. Source: Google, "Thought signatures"."""


class Proof(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a thought carries besides its text (see `middle.Reasoning`)."""

    signature: str | None = None
    hidden: str | None = None


_proofs = msgspec.json.Decoder(Proof)


def wrap(proof: Proof) -> str | None:
    """Return what goes into an answer's `thoughtSignature`; `None` where there is nothing to say."""
    if proof == Proof():
        return None
    return base64.b64encode(_MARK + msgspec.json.encode(proof)).decode()


def unwrap(signature: str | None) -> Proof:
    """Return what a `thoughtSignature` says, wrapped or Google's own."""
    if not signature or signature == UNSIGNED:
        return Proof()
    try:
        held = base64.b64decode(signature.translate(_STANDARD) + "=" * (-len(signature) % 4))
        if held.startswith(_MARK):
            return _proofs.decode(held.removeprefix(_MARK))
    except (binascii.Error, ValueError):  # msgspec's errors are ValueErrors
        pass
    return Proof(tagged(_SPOKEN, signature))


def wrap_own(signature: str | None) -> str | None:
    """Return the `thoughtSignature` of a tool's use, whose signature is Gemini's always."""
    return wrap(Proof(tagged(_SPOKEN, signature)))


def own_proof(proof: str | None) -> str | None:
    """Return what proves a thought to Gemini; `None` where it was given by another."""
    return own(_SPOKEN, proof)


_STANDARD = str.maketrans("-_", "+/")


def standard(data: str) -> str:
    """Return base64 in the usual alphabet, padded: Gemini's clients write the other one."""
    if "-" in data or "_" in data:
        data = data.translate(_STANDARD)
    return data + "=" * (-len(data) % 4)
