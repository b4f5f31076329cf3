"""What proves a thought to its vendor, in the one place for it that Anthropic's clients give back as it came.

Other vendors sign uses of tools too, or give a readable thought and a hidden one together. In an answer these stand in
the `signature` of a thought, behind a mark. Anthropic's own signatures are Base64, in which the mark cannot occur.
"""

import msgspec

_MARK = "transom:"


class Proof(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a signature holds: a thought's own and what is hidden of it, or that of the use of a tool that follows."""

    signature: str | None = None
    hidden: str | None = None
    tool: str | None = None


_proofs = msgspec.json.Decoder(Proof)


def wrap(proof: Proof) -> str:
    """Return the text of a signature: a thought's own as it is."""
    if proof.hidden is None and proof.tool is None:
        return proof.signature or ""
    return _MARK + msgspec.json.encode(proof).decode()


def unwrap(signature: str | None) -> Proof:
    """Return what a signature says."""
    if not signature or not signature.startswith(_MARK):
        return Proof(signature or None)
    try:
        return _proofs.decode(signature.removeprefix(_MARK))
    except msgspec.DecodeError:
        return Proof(signature)
