"""`[[limits]]` in force: which of them a call falls under, what it must hold of each, and what it is charged.

Only what is counted in the database stands here: money, and calls under way. Rates are `metering.rates`.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import msgspec

from transom.errors import Forbidden, InvalidRequest
from transom.metering.accounts import CALLS, EVERYONE, MILLION, Charge, Hold, Limit, counter_id
from transom.metering.bound import Bound, bound_of
from transom.metering.money import parts
from transom.metering.prices import most
from transom.metering.settings import LimitSettings
from transom.metering.sheet import PriceSheet
from transom.values import Call, Caller, Target, Version

_TOTAL: Final = "total"


class Scope(msgspec.Struct, frozen=True):
    """What one rule narrows its limits to."""

    group: str | None
    key: str | None
    model: str | None
    upstream: str | None
    apart: bool
    """Each caller is counted apart."""

    def covers(self, caller: Caller, version: Version) -> bool:
        """Whether a call of this caller to this version counts."""
        return (
            (self.group is None or self.group in caller.groups)
            and (self.key is None or self.key in {caller.id, caller.name})
            and self.meets(version)
        )

    def meets(self, version: Version) -> bool:
        """Whether anybody's call to this version counts."""
        return (self.model is None or self.model in {version.model, version.name}) and (
            self.upstream is None or any(target.upstream == self.upstream for target in version.route)
        )

    def who(self, caller: Caller) -> str:
        """Return under whose name a caller is counted."""
        return caller.id if self.apart else EVERYONE

    @property
    def words(self) -> str:
        """Say it to a person."""
        whom = "each caller" if self.apart else "all callers together"
        narrowed = [
            f" {word} {name!r}"
            for word, name in (
                ("of group", self.group),
                ("with the key", self.key),
                ("for the model", self.model),
                ("by the upstream", self.upstream),
            )
            if name is not None
        ]
        return "for " + whom + "".join(narrowed)


class Rule(msgspec.Struct, frozen=True):
    """One limit that is counted in the database, and what it is narrowed to. `per`: the window, where it is money."""

    scope: Scope
    limit: Limit
    per: str = _TOTAL


class Limits:
    """The limits in force that the database counts. Made of settings that `metering.check` has found right."""

    def __init__(self, settings: tuple[LimitSettings, ...], sheet: PriceSheet) -> None:
        self.rules = counted_rules(settings)
        self.sheet = sheet

    def holds(self, caller: Caller, version: Version, call: Call, now: int) -> tuple[Hold, ...]:
        """Say what a call must hold before any upstream is asked. `now` in milliseconds since the Unix epoch.

        Raises `Forbidden` (`unpriced_model`) and `InvalidRequest` (`unbounded_cost`) where money limits it and what it
        may cost cannot be said.
        """
        if not self.rules:
            return ()
        rules = [rule for rule in self.rules if rule.scope.covers(caller, version)]
        if not rules:
            return ()
        moment = datetime.fromtimestamp(now / 1000, UTC)
        holds = []
        bound: Bound | None = None
        for rule in rules:
            amount = 1
            if rule.limit.kind != CALLS:
                if call.free:
                    continue
                bound = bound or bound_of(call, version)
                amount = self._most(rule, version, bound, moment.date().isoformat())
            if amount:
                window, ends = _window(rule.per, moment)
                counter = counter_id(rule.limit.name, rule.limit.kind, window, rule.scope.who(caller))
                holds.append(Hold(counter, amount, rule.limit, ends, rule.scope.upstream, rule.scope.model))
        return tuple(holds)

    def _most(self, rule: Rule, version: Version, bound: Bound, today: str) -> int:
        """Return what a call may cost at the dearest target that counts."""
        amounts = [
            self._most_at(rule, version, target, bound, today)
            for target in version.route
            if rule.scope.upstream in {None, target.upstream}
        ]
        return max(amounts)

    def _most_at(self, rule: Rule, version: Version, target: Target, bound: Bound, today: str) -> int:
        price = self.sheet.price(version, target, today)
        if price is None or price.currency != rule.limit.kind:
            raise Forbidden(
                f"{version.name} has no price in {rule.limit.kind} at the upstream {target.upstream!r}, and the budget "
                f"{rule.limit.name!r} counts what it costs. Ask an operator to declare its `price`.",
                code="unpriced_model",
            )
        input_ = self.longest(version, target, bound)
        if price.input is not None and (input_ is None or bound.output is None):
            raise _unbounded(rule.limit.name, bound)
        return most(price, input_ or 0, bound.output or 0, self.sheet.seconds(target))

    def longest(self, version: Version, target: Target, bound: Bound) -> int | None:
        """Return how many tokens of input a call can have at a target, at most; `None` where that cannot be said."""
        if bound.stored and bound.input is not None:
            return self.sheet.max_input_tokens(version, target)
        return _less(bound.input, version.max_input_tokens)


def _less(one: int | None, other: int | None) -> int | None:
    return one if one is None or other is None else min(one, other)


def _unbounded(limit: str, bound: Bound) -> InvalidRequest:
    said = f"What this may cost has no bound, and the budget {limit!r} counts it."
    if bound.output is None:
        remedy = "Set `max_tokens` to a whole number, or ask an operator to declare the model's `max_output_tokens`."
        return InvalidRequest(f"{said} {remedy}", code="unbounded_cost", param="max_tokens")
    if bound.input is None:
        remedy = "Tools that the vendor runs itself use any number of tokens. Leave them out."
    else:
        remedy = (
            "It takes up what is stored at the vendor. Leave that out, or ask for `max_input_tokens` to be declared."
        )
    return InvalidRequest(f"{said} {remedy}", code="unbounded_cost")


def charges(
    holds: tuple[Hold, ...], version: Version, upstream: str | None, spent: int | None, currency: str | None
) -> tuple[Charge, ...]:
    """Say what a call used up of what it holds, this version having answered at `upstream` for `spent` of `currency`.

    A stand-in's answer costs nothing of a limit that is another model's. `None` for `spent`: it is not known, and may
    be all; so may what was paid in another currency.
    """
    found = []
    for hold in holds:
        if hold.limit.kind == CALLS:
            amount = 0
        elif spent is None:
            amount = hold.amount
        elif spent == 0 or not hold.counts(version, upstream):
            amount = 0
        else:
            amount = spent if currency == hold.limit.kind else hold.amount
        found.append(Charge(hold, amount))
    return tuple(found)


def counted_rules(settings: tuple[LimitSettings, ...]) -> tuple[Rule, ...]:
    """Return what of the settings the database counts."""
    return tuple(rule for each in settings for rule in _rules(each))


def scope_of(settings: LimitSettings) -> Scope:
    """Return what a rule narrows its limits to."""
    return Scope(settings.group, settings.key, settings.model, settings.upstream, settings.per == "caller")


def name_of(settings: LimitSettings) -> str:
    """Return a rule's name, or make one of what it says but the amounts."""
    if settings.name is not None:
        return settings.name
    said = [settings.group, settings.key, settings.model, settings.upstream]
    narrowed = [name for name in said if name is not None] or ["everyone"]
    shared = ["together"] if settings.per == "all" else []
    kinds = [
        kind
        for kind, given in (
            ("requests", settings.requests_per_minute),
            ("tokens", settings.tokens_per_minute),
            ("concurrent", settings.concurrent),
            (settings.money.per if settings.money else "", settings.money),
        )
        if given is not None
    ]
    text = "-".join([*narrowed, *shared, *kinds])
    return "".join(each if each.isascii() and (each.isalnum() or each in "._@-") else "-" for each in text)[:64]


def _rules(settings: LimitSettings) -> list[Rule]:
    scope, name, found = scope_of(settings), name_of(settings), []
    if settings.concurrent is not None:
        limit = Limit(name, CALLS, settings.concurrent, (), f"{settings.concurrent} at once {scope.words}")
        found.append(Rule(scope, limit))
    if settings.money is not None:
        money = settings.money
        warn_at = tuple(sorted(int(Decimal(each) * MILLION) for each in settings.warn_at))
        span = "in all" if money.per == _TOTAL else f"a {money.per}"
        words = f"{money.amount} {money.currency} {span} {scope.words}"
        found.append(Rule(scope, Limit(name, money.currency, parts(money.amount), warn_at, words), money.per))
    return found


def _window(per: str, moment: datetime) -> tuple[str, int | None]:
    """Return the window's name, and when it ends in milliseconds since the Unix epoch."""
    if per == _TOTAL:
        return _TOTAL, None
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if per == "day":
        return day.date().isoformat(), _ms(day + timedelta(days=1))
    following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return f"{day:%Y-%m}", _ms(following)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000
