"""What is wrong with declared limits and prices, each with its place in the file."""

from decimal import Decimal, InvalidOperation

from transom.errors import ConfigError
from transom.metering.limits import name_of, scope_of
from transom.metering.money import amount_problem
from transom.metering.settings import LimitSettings
from transom.metering.sheet import PriceSheet
from transom.values import Version


def limit_problems(limits: tuple[LimitSettings, ...], versions: tuple[Version, ...]) -> list[ConfigError]:
    """Find limits that say nothing, can match nothing, or have one name."""
    problems: list[ConfigError] = []
    names: set[str] = set()
    for index, limit in enumerate(limits):
        place = f"limits.{index}"
        problems += [ConfigError(what, file=f"{place}{field}") for field, what in _own_problems(limit)]
        problems += _unmatched(place, limit, versions)
        if name_of(limit) in names:
            what = f"Another limit is called {name_of(limit)!r} too. Give one of them another `name`."
            problems.append(ConfigError(what, file=place))
        names.add(name_of(limit))
    return problems


def unpriced(limits: tuple[LimitSettings, ...], versions: tuple[Version, ...], sheet: PriceSheet) -> list[ConfigError]:
    """Find models that nobody could ask: a budget counts for everybody, and they have no price in its currency."""
    problems = []
    for limit in limits:
        scope = scope_of(limit)
        if limit.money is None or (scope.group, scope.key) != (None, None):
            continue
        problems += [
            ConfigError(
                f"{version.name} has no price in {limit.money.currency} at the upstream {target.upstream!r}, and the "
                f"budget {name_of(limit)!r} counts what everybody spends, so nobody could ask it. Declare its `price` "
                '(input = "0", output = "0" where it is free), or narrow the budget.',
                file=f"models.{version.model}" if version.version == "1" else f"models.{version.name}",
            )
            for version in versions
            for target in version.route
            if scope.meets(version)
            and scope.upstream in {None, target.upstream}
            and sheet.currency(version, target) != limit.money.currency
        ]
    return problems


def _own_problems(limit: LimitSettings) -> list[tuple[str, str]]:
    found = []
    said = (limit.requests_per_minute, limit.tokens_per_minute, limit.concurrent, limit.money)
    if said == (None, None, None, None):
        what = "It limits nothing. Give `requests_per_minute`, `tokens_per_minute`, `concurrent` or `money`."
        found.append(("", what))
    if limit.money is not None and (problem := amount_problem(limit.money.amount)) is not None:
        found.append((".money.amount", problem))
    if limit.warn_at and limit.money is None:
        found.append((".warn_at", "There is no `money` to warn of. Add it, or remove this."))
    found += [
        (".warn_at", f'{text!r} is no part of the money. Write a number between 0 and 1 as text: "0.8".')
        for text in limit.warn_at
        if not _is_part(text)
    ]
    return found


def _is_part(text: str) -> bool:
    try:
        return 0 < Decimal(text) <= 1
    except InvalidOperation:
        return False


def _unmatched(place: str, limit: LimitSettings, versions: tuple[Version, ...]) -> list[ConfigError]:
    models = {name for version in versions for name in (version.model, version.name)}
    upstreams = {target.upstream for version in versions for target in version.route}
    found = []
    for field, name, known in (("model", limit.model, models), ("upstream", limit.upstream, upstreams)):
        if name is not None and name not in known:
            what = f"No {field} in use is called {name!r}. There is: {', '.join(sorted(known)) or 'none yet'}."
            found.append(ConfigError(what, file=f"{place}.{field}"))
    if not found and (limit.model, limit.upstream) != (None, None) and not any(map(scope_of(limit).meets, versions)):
        what = f"No route of {limit.model!r} leads to {limit.upstream!r}, so it can match nothing."
        found.append(ConfigError(what, file=place))
    return found


def several_processes(limits: tuple[LimitSettings, ...], workers: int, rates: object) -> list[ConfigError]:
    """Find rates that would be counted by each of several processes for itself."""
    counted = any(limit.requests_per_minute or limit.tokens_per_minute for limit in limits)
    if not counted or workers == 1 or rates is not None:
        return []
    return [
        ConfigError(
            f"Rates are counted in one process and would not hold across {workers} workers. Count them in Valkey or "
            'Redis (storage.rates = "redis://HOST:6379"), set server.workers = 1 (or start with --workers 1), or limit '
            "`money` and `concurrent` only, which the database counts.",
            file="limits",
        )
    ]
