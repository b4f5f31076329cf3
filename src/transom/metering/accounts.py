"""What is spent and held against limits: arithmetic in whole numbers, without I/O.

A counter's id is `LIMIT/KIND/WINDOW/WHO`. The kind is a currency, counted in 1e-8 of its unit, or `calls`, counted in
calls under way. The window is a day (`2026-11-24`), a month (`2026-11`), or `total`; UTC. Who is a caller's id, or
`all`.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from transom.values import DecisionId, Version

CALLS: Final = "calls"
EVERYONE: Final = "all"
MILLION: Final = 1_000_000
"""Thresholds are millionths of a limit."""
_MOST: Final = 2**62
"""What a column can hold, and no budget comes near: nonsense that an upstream says must not stop the record."""


class Limit(msgspec.Struct, frozen=True):
    """One ceiling, as it is declared: `kind` is a currency or `calls`, `warn_at` in millionths of the ceiling."""

    name: str
    kind: str
    ceiling: int
    warn_at: tuple[int, ...]
    words: str
    """For a caller to read: "10.00 USD a month for each caller of group 'students'"."""


class Hold(msgspec.Struct, frozen=True):
    """What a call may use up of a counter, at most.

    `ends`: when the counter's window does, in milliseconds since the Unix epoch. `upstream`, `model`: whose answers
    count alone.
    """

    counter: str
    amount: int
    limit: Limit
    ends: int | None = None
    upstream: str | None = None
    model: str | None = None

    def counts(self, version: Version, upstream: str | None) -> bool:
        """Whether what this version costs, answered by this upstream, is charged to it."""
        return self.upstream in {None, upstream} and self.model in {None, version.model, version.name}


class Charge(msgspec.Struct, frozen=True):
    """What a call did use up of what it held."""

    hold: Hold
    amount: int


class Shortage(msgspec.Struct, frozen=True):
    """A hold that does not fit beside what is spent and held already."""

    hold: Hold
    spent: int
    held: int


class Alert(NamedTuple):
    """A counter whose spending has passed a threshold of its limit, in millionths."""

    counter: str
    threshold: int
    spent: int
    ceiling: int


class Account(msgspec.Struct):
    """A counter's state. `told`: the highest threshold that was told of."""

    spent: int = 0
    held: int = 0
    told: int = 0


class Books:
    """The counters that one transaction touches, and what becomes of them in it."""

    def __init__(self, accounts: dict[str, Account], held: dict[DecisionId, dict[str, int]]) -> None:
        """`held`: the holds, by counter, of those decisions that this transaction settles."""
        self.accounts = accounts
        self.touched: set[str] = set()
        self.opened: dict[DecisionId, dict[str, int]] = {}
        """Holds that begin here and do not end here."""
        self.settled: list[DecisionId] = []
        """Decisions whose holds of before end here."""
        self.alerts: list[Alert] = []
        self._held = held

    def reserve(self, decision: DecisionId, holds: Iterable[Hold]) -> Shortage | None:
        """Take all of a call's holds, or say which one does not fit and take none."""
        holds = tuple(holds)
        for hold in holds:
            account = self.accounts[hold.counter]
            if account.spent + account.held + hold.amount > hold.limit.ceiling:
                return Shortage(hold, account.spent, account.held)
        for hold in holds:
            self.accounts[hold.counter].held += hold.amount
            self.touched.add(hold.counter)
        self.opened[decision] = {hold.counter: hold.amount for hold in holds}
        return None

    def settle(self, decision: DecisionId, charges: Iterable[Charge] = ()) -> None:
        """Give back what a decision holds, and spend what it is charged: the whole of a hold that no charge names.

        What it holds is what the books say, so that settling twice charges once.
        """
        held = self.opened.pop(decision, None)
        if held is None:
            held = self._held.pop(decision, {})
            if held:
                self.settled.append(decision)
        used = {charge.hold.counter: charge for charge in charges}
        for counter, amount in held.items():
            account = self.accounts[counter]
            account.held -= amount
            charge = used.get(counter)
            spent = _whole(counter, amount) if charge is None else charge.amount
            account.spent = min(account.spent + spent, _MOST)
            self.touched.add(counter)
            if charge is not None:
                self._warn(counter, account, charge.hold.limit)

    def _warn(self, counter: str, account: Account, limit: Limit) -> None:
        """Note the highest threshold that is passed, once. A smaller one that is passed with it is not news."""
        passed = [each for each in limit.warn_at if account.spent * MILLION >= each * limit.ceiling]
        highest = max(passed, default=0)
        if highest > account.told:
            account.told = highest
            self.alerts.append(Alert(counter, highest, account.spent, limit.ceiling))


def counter_id(limit: str, kind: str, window: str, who: str) -> str:
    """Name a counter."""
    return f"{limit}/{kind}/{window}/{who}"


class Named(NamedTuple):
    """A counter's id taken apart."""

    limit: str
    kind: str
    window: str
    who: str


def named(counter: str) -> Named:
    """Take a counter's id apart."""
    return Named(*counter.split("/", 3))


def _whole(counter: str, amount: int) -> int:
    return 0 if named(counter).kind == CALLS else amount
