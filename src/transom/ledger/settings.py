"""`[ledger]` and `[witness]` of `transom.toml`."""

from typing import Annotated, Literal

import msgspec

from transom.config.secrets import SecretRef
from transom.errors import LedgerError
from transom.ledger.cosign import CosignatureVerifier, parse_witness_vkey
from transom.ledger.keys import DEFAULT_ORIGIN, KeySources
from transom.ledger.note import Verifier, check_name, parse_vkey


class WitnessedBySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[ledger.witnesses]]`: a witness that is asked to cosign this log's checkpoints (C2SP tlog-witness)."""

    url: str
    """Its submission prefix; `/add-checkpoint` is asked for below it."""
    vkey: str
    """Its public key."""

    def __post_init__(self) -> None:
        """Raise `ValueError` where the key is none."""
        _ = self.verifier

    @property
    def verifier(self) -> CosignatureVerifier:
        """The public key, read."""
        try:
            return parse_witness_vkey(self.vkey)
        except LedgerError as error:
            raise ValueError(str(error)) from error


class LedgerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The log's name and pace, and who witnesses it. Read at start; the origin is fixed with the log's first key."""

    origin: str = DEFAULT_ORIGIN
    """A scheme-less URL under which outsiders find the log (C2SP tlog-checkpoint)."""
    interval_seconds: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.25
    """How often what became durable is sequenced and signed."""
    key: SecretRef | None = None
    """The key that signs the log (C2SP signed-note's text of a secret key); left out, `data/keys/ledger.key`."""
    master_key: SecretRef | None = None
    """What opens everything that is kept: 32 bytes in base64; left out, `data/keys/master.key`."""
    pseudonym_key: SecretRef | None = None
    """What callers' pseudonyms are made with: 32 bytes in base64; left out, `data/keys/pseudonym.key`."""
    receipts: Literal["asked", "always"] = "asked"
    """Which answers carry a receipt: those whose caller asked for one, or all."""
    promise_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 60
    """How long after a receipt was signed the log may take until it holds what it promises."""
    witnesses: tuple[WitnessedBySettings, ...] = ()
    quorum: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How many of them must have cosigned a checkpoint before it counts as witnessed."""
    witness_seconds: Annotated[float, msgspec.Meta(gt=0, le=1.5)] = 0.5
    """How long they are waited for before a checkpoint is published. Shorter than the sequencer's lease."""
    unwitnessed: Literal["publish", "hold"] = "publish"
    """What is done with a checkpoint that too few have cosigned."""

    @property
    def sources(self) -> KeySources:
        """Where the keys are."""
        return KeySources(self.key, self.master_key, self.pseudonym_key)

    def __post_init__(self) -> None:
        """Raise `ValueError`, which msgspec reports with the place in the file, where witnesses do not add up."""
        names = [witness.verifier.name for witness in self.witnesses]
        if len(set(names)) < len(names):
            raise ValueError("two witnesses have the same name; each needs a key and a name of its own")
        if self.quorum > len(names):
            raise ValueError(f"quorum is {self.quorum}, but there are {len(names)} witnesses: it can never be met")
        if self.unwitnessed == "hold" and not self.quorum:
            raise ValueError('unwitnessed = "hold" needs a quorum of at least 1: without one nothing is ever held')


class WitnessSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[witness]`: the logs that this door is a witness for (C2SP tlog-witness). Read at start."""

    name: str = "transom.local/witness"
    """What its cosignatures are signed with; fixed with the witness's key, which is made when there are logs."""
    logs: tuple[str, ...] = ()
    """Their public keys; several of one log where its key was rotated."""

    def __post_init__(self) -> None:
        """Raise `ValueError` where a key is none, or the name cannot be one."""
        try:
            check_name(self.name)
            _ = self.keys
        except LedgerError as error:
            raise ValueError(str(error)) from error

    @property
    def keys(self) -> dict[str, tuple[Verifier, ...]]:
        """The keys by the log that they are of."""
        found: dict[str, tuple[Verifier, ...]] = {}
        for verifier in map(parse_vkey, self.logs):
            found[verifier.name] = (*found.get(verifier.name, ()), verifier)
        return found
