"""What the fields of entries may hold, and what every entry has."""

from typing import Annotated, Final, TypeAlias

import msgspec

from transom.values import DecisionId, Digest, Pseudonym

MAX_INTEGER: Final = 2**53 - 1
"""The largest whole number RFC 8785 can carry."""

_UUID7: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z"
_TIME: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z\Z"
AMOUNT: Final = r"^-?[0-9]+(\.[0-9]+)?\Z"

EntryId: TypeAlias = Annotated[str, msgspec.Meta(pattern=_UUID7)]
DecisionRef: TypeAlias = Annotated[DecisionId, msgspec.Meta(pattern=_UUID7)]
Time: TypeAlias = Annotated[str, msgspec.Meta(pattern=_TIME)]
"""RFC 3339, UTC, with milliseconds."""
DigestText: TypeAlias = Annotated[Digest, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
CommitmentText: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9+/]{43}=\Z")]
"""32 bytes in base64: `ledger.seal.commitment`."""
SignatureText: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9+/]{91}=\Z")]
"""A signed note's signature in base64: 4 bytes of its key's id and 64 of Ed25519."""
Amount: TypeAlias = Annotated[str, msgspec.Meta(pattern=AMOUNT)]
"""Decimal text, without an exponent."""
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
SubjectText: TypeAlias = Annotated[Pseudonym, msgspec.Meta(pattern=r"^p_[0-9a-f]{20}\Z")]
"""A pseudonym (`ledger.keys`)."""
Word: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,62}\Z")]
"""A name out of Transom's own lists or of the operator's files, never a sentence: what is in the log stays there."""
PlainText: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,128}\Z")]
"""A name that another system gave: printable ASCII without spaces."""
VersionText: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[^\s@]{1,200}@[^\s@]{1,100}\Z")]
"""A model version, `name@version`."""


class EntryPart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A part of an entry. A field that is missing means its default, never zero."""


class EntryHead(EntryPart, frozen=True, kw_only=True, tag_field="type"):
    """What every entry has."""

    id: EntryId
    """A UUIDv7. For `DecisionEntry`, the decision's id."""
    at: Time
