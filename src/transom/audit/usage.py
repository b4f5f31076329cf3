"""Upstreams' own accounts: usage exports and invoices as CSV, read into calls or sums of calls. No I/O.

They come from outside and are believed in nothing but their numbers: every value has a length, every number is whole or
decimal, and what cannot be read is named with its line.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

from transom.errors import ConfigError
from transom.ledger.fields import MAX_INTEGER

FIELDS: Final = ("time", "id", "model", "requests", "input", "output", "cost")
"""What a line may say; `input` is all of it, cached or not."""
PRESETS: Final[Mapping[str, Mapping[str, str]]] = {
    "plain": {name: name for name in FIELDS},
    "openai": {
        "time": "start_time",
        "model": "model",
        "requests": "num_model_requests",
        "input": "input_tokens",
        "output": "output_tokens",
    },
    "anthropic": {
        "time": "usage_date_utc",
        "model": "model_version",
        "input": "usage_input_tokens_no_cache+usage_input_tokens_cache_write_5m+usage_input_tokens_cache_write_1h"
        "+usage_input_tokens_cache_read",
        "output": "usage_output_tokens",
    },
}
"""Columns of what vendors hand out, by what they mean. Several are added up."""
_LONGEST: Final = 500
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)
_DAY: Final = timedelta(days=1)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What one line says: of one call where it has an `id`, else of `requests` calls, or of an unknown number.

    `whole_day`: its time names a day and no moment in it.
    """

    number: int
    time: datetime
    whole_day: bool = False
    id: str | None = None
    model: str | None = None
    requests: int | None = None
    input: int | None = None
    output: int | None = None
    cost: Decimal | None = None


def columns(preset: str, given: str) -> dict[str, str]:
    """Return which columns hold what: a preset's, but for those that are `given` as `time=when,input=a+b`.

    Raises `ConfigError`.
    """
    if preset not in PRESETS:
        raise ConfigError(f"There are no columns called {preset!r}: it is one of {', '.join(PRESETS)}.")
    chosen = dict(PRESETS[preset])
    for each in filter(None, given.split(",")):
        name, equals, column = each.partition("=")
        if not equals or name not in FIELDS:
            raise ConfigError(f"{each!r} names no column. Write FIELD=COLUMN, with a field of {', '.join(FIELDS)}.")
        chosen[name] = column
    return chosen


def read_lines(text: Iterable[str], chosen: Mapping[str, str], name: str) -> Iterator[Line]:
    """Read a CSV's lines. `name` is the file's, for errors. Raises `ConfigError` with the line."""
    reader = csv.DictReader(text, strict=True)
    try:
        there = set(reader.fieldnames or ())
        held = {field: column.split("+") for field, column in chosen.items() if set(column.split("+")) <= there}
        if "time" not in held:
            raise ConfigError(
                f"There is no column {chosen.get('time', 'time')!r}; there are {', '.join(sorted(there)) or 'none'}. "
                "Say which one holds the time: --columns time=COLUMN.",
                file=name,
                line=1,
            )
        for row in reader:
            if any((row.get(column) or "").strip() for columns_ in held.values() for column in columns_):
                yield _line(row, held, name, reader.line_num)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"This is no CSV in UTF-8: {error}.", file=name, line=reader.line_num) from error


def _line(row: Mapping[str, str | None], held: Mapping[str, list[str]], name: str, number: int) -> Line:
    try:
        said = {field: [(row.get(column) or "").strip() for column in columns_] for field, columns_ in held.items()}
        time, whole_day = _time(said["time"][0])
        return Line(
            number=number,
            time=time,
            whole_day=whole_day,
            id=_text(said.get("id")),
            model=_text(said.get("model")),
            requests=_count(said.get("requests")),
            input=_count(said.get("input")),
            output=_count(said.get("output")),
            cost=_amount(said.get("cost")),
        )
    except ValueError as error:
        raise ConfigError(f"{error}.", file=name, line=number) from None


def _text(values: list[str] | None) -> str | None:
    if not values or not values[0]:
        return None
    if len(values[0]) > _LONGEST:
        raise ValueError(f"{values[0][:40]!r}… is longer than {_LONGEST} characters")
    return values[0]


def _count(values: list[str] | None) -> int | None:
    amount = _amount(values)
    if amount is None:
        return None
    if not 0 <= amount <= MAX_INTEGER or amount % 1:
        raise ValueError(f"{amount} is no number of tokens or requests")
    return int(amount)


def _amount(values: list[str] | None) -> Decimal | None:
    total: Decimal | None = None
    for text in filter(None, values or ()):
        try:
            amount = Decimal(text) if len(text) < 40 else Decimal("nan")
        except InvalidOperation:
            amount = Decimal("nan")
        if not amount.is_finite() or not -MAX_INTEGER <= amount <= MAX_INTEGER:
            raise ValueError(f"{text[:40]!r} is no number")
        total = amount if total is None else total + amount
    return total


def _time(text: str) -> tuple[datetime, bool]:
    """Read seconds since the Unix epoch, a day, or a moment; UTC where it names no zone."""
    if text.isascii() and text.isdecimal() and len(text) < 12:
        return datetime.fromtimestamp(int(text), UTC), False
    try:
        time = datetime.fromisoformat(text)
        time = (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        time = _LATEST
    if not _EARLIEST < time < _LATEST:
        raise ValueError(f"{text[:40]!r} is no time")
    return time, len(text) <= len("2026-11-24")


def span(lines: Iterable[Line]) -> tuple[datetime, datetime] | None:
    """Return from when and until when lines are, whole days; `None` where there are none."""
    first, last = _LATEST, None
    for line in lines:
        first, last = min(first, line.time), line.time if last is None else max(last, line.time)
    if last is None:
        return None
    begin = first.replace(hour=0, minute=0, second=0, microsecond=0)
    return begin, last.replace(hour=0, minute=0, second=0, microsecond=0) + _DAY
