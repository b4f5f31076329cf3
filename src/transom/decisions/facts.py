"""What policy was asked, kept once for all decisions that it was the same for: so they can be ruled on again.

Sealed rows apart from the log: who asked and which groups they are in is personal data. The entry names a commitment.
"""

import msgspec

from transom.decisions.store import FactsRow
from transom.ledger.seal import Vault
from transom.values import Pseudonym

_GENERATION = 8_192
_AGAIN_MS = 86_400_000
"""After so long they are kept anew, so that a row is used for a day at most and can go when its time is over."""


class Facts(msgspec.Struct, eq=False):
    """One row, and whether it is known to be durable."""

    row: FactsRow
    durable: bool = False


class FactsBook:
    """What one process has kept. Bounded as the memory of rulings is: at most twice 8,192."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._young: dict[bytes, Facts] = {}
        self._old: dict[bytes, Facts] = {}

    def of(self, asked: bytes, caller: Pseudonym, at_ms: int) -> Facts:
        """Give the row for what policy was asked of a caller; whoever names it writes it, while it is not durable."""
        facts = self._young.get(asked)
        if facts is None or at_ms - facts.row.at > _AGAIN_MS:
            return self._keep(asked, caller, at_ms)
        return facts

    def _keep(self, asked: bytes, caller: Pseudonym, at_ms: int) -> Facts:
        facts = self._old.get(asked)
        if facts is None or at_ms - facts.row.at > _AGAIN_MS:
            facts = Facts(FactsRow(*self._vault.seal_facts(asked), caller, at_ms))
        if len(self._young) >= _GENERATION:
            self._old, self._young = self._young, {}
        self._young[asked] = facts
        return facts

    def forget(self) -> None:
        """Keep everything anew from here on: rows were erased."""
        self._young, self._old = {}, {}
