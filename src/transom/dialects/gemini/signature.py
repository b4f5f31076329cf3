"""What proves a thought to its vendor, on its way through a client that holds it as bytes.

Gemini's clients read `thoughtSignature` as base64 and write it again in another alphabet, which is the same to Google
and another signature to anyone else. So what an answer's caller shall give back is wrapped: base64 whose bytes hold
the words as they were. A signature that is not wrapped is Google's own and stays as it is.
"""

import base64
import binascii

import msgspec

_MARK = b"transom\x00"
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
        return _proofs.decode(held.removeprefix(_MARK)) if held.startswith(_MARK) else Proof(signature)
    except (binascii.Error, ValueError):  # msgspec's errors are ValueErrors
        return Proof(signature)


_STANDARD = str.maketrans("-_", "+/")


def standard(data: str) -> str:
    """Return base64 in the usual alphabet, padded: Gemini's clients write the other one."""
    if "-" in data or "_" in data:
        data = data.translate(_STANDARD)
    return data + "=" * (-len(data) % 4)
