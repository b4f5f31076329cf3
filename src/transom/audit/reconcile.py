"""An upstream's account held against ours: what it billed and we have no record of was omitted here. No I/O.

Where lines name calls by the upstream's own ids, each is looked for. Where they are sums, days and models are compared,
and what may lie on either side of a midnight is allowed for.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Final

import msgspec

from transom.audit.usage import Line
from transom.values import DecisionId

MIDNIGHT: Final = timedelta(minutes=15)
"""So long before and after it, a call may be on the other day in the upstream's account: answers end later than they
begin, and clocks differ."""
_SHOWN: Final = 1_000
_KINDS: Final = {"requests": "requests", "input": "input tokens", "output": "output tokens"}


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A try at the upstream, as the record has it. `input` is all of it, cached or not; missing is not zero."""

    decision: DecisionId
    time: datetime
    model: str
    """What the upstream said that it was, else the version that was asked for."""
    request: str | None = None
    input: int | None = None
    output: int | None = None
    answered: bool
    """It answered, so that it will have billed the call; else nobody knows."""


class Finding(msgspec.Struct, frozen=True):
    """Something that does not agree: where (a line of the account, a decision, a day), and what."""

    where: str
    what: str


class Report(msgspec.Struct, kw_only=True):
    """What came of it. `omitted` is what should be on our record and is not."""

    matched: int = 0
    omitted: list[Finding] = []
    only_here: list[Finding] = []
    """On our record, and not in the account."""
    differing: list[Finding] = []
    unknown: list[str] = []
    """What cannot be known from this."""
    counts: dict[str, int] = {}
    """How many there are of each of these: the lists hold the first thousand."""

    def note(self, name: str, where: str, what: str) -> None:
        """Add to one of the lists."""
        self.counts[name] = self.counts.get(name, 0) + 1
        found: list[Finding] = getattr(self, name)
        if len(found) < _SHOWN:
            found.append(Finding(where, what))


def hold_against(report: Report, lines: Sequence[Line], calls: Iterable[Call], *, upstream: str) -> None:
    """Hold an upstream's account against our calls to it, all of the same days."""
    ours = list(calls)
    named = [line for line in lines if line.id is not None]
    sums = [line for line in lines if line.id is None]
    if named:
        _by_name(report, named, ours, upstream, alone=not sums)
    if sums:
        _by_day(report, sums, ours, upstream)
    report.unknown += list(_unknown(ours, upstream))


def _by_name(report: Report, lines: Sequence[Line], ours: Sequence[Call], upstream: str, *, alone: bool) -> None:
    known: dict[str, Call] = {}
    for call in ours:
        if call.request is not None:
            known[call.request] = call
    seen: set[str] = set()
    for line in lines:
        assert line.id is not None
        theirs = known.get(line.id)
        where = f"line {line.number} of {upstream}'s account"
        if theirs is None:
            report.note("omitted", where, f"Request {line.id} of {line.time:%Y-%m-%d %H:%M} is on no record here.")
        elif line.id in seen:
            report.note("differing", where, f"Request {line.id} is billed more than once.")
        else:
            seen.add(line.id)
            report.matched += 1
            _compare(report, line, theirs, where)
    if not alone:
        return
    for call in ours:
        if call.answered and call.request is not None and call.request not in seen:
            report.note("only_here", f"decision {call.decision}", f"Request {call.request} is not in the account.")


def _compare(report: Report, line: Line, call: Call, where: str) -> None:
    for kind, theirs, own in (("input", line.input, call.input), ("output", line.output, call.output)):
        if theirs is not None and own is not None and theirs != own:
            what = f"{theirs} {kind} tokens there, {own} in decision {call.decision}."
            report.note("differing", where, what)


class _Sum(msgspec.Struct):
    """Of some calls. `doubtful` brought no answer; of `uncounted` ones nobody told us the tokens."""

    requests: int = 0
    doubtful: int = 0
    uncounted: int = 0
    input: int = 0
    output: int = 0

    def add(self, call: Call) -> None:
        self.requests += call.answered
        self.doubtful += not call.answered
        self.uncounted += call.answered and call.input is None
        self.input += call.input or 0
        self.output += call.output or 0


class _Day(msgspec.Struct):
    """Our calls of one day and model: all, those `near` a midnight, and those of the days beside it that are."""

    own: _Sum = msgspec.field(default_factory=_Sum)
    near: _Sum = msgspec.field(default_factory=_Sum)
    beside: _Sum = msgspec.field(default_factory=_Sum)


def _by_day(report: Report, lines: Sequence[Line], ours: Sequence[Call], upstream: str) -> None:
    by_model = any(line.model is not None for line in lines)
    theirs: defaultdict[tuple[date, str], list[Line]] = defaultdict(list)
    of_model: defaultdict[str, list[Line]] = defaultdict(list)
    for line in lines:
        model = (line.model or "") if by_model else ""
        theirs[line.time.date(), model].append(line)
        of_model[model].append(line)
    days = _days(ours, by_model=by_model)
    missing: set[str] = set()
    for day, model in sorted(theirs.keys() | days.keys()):
        where = f"{upstream}, {day}{f', {model}' if model else ''}"
        if _compare_day(report, where, theirs.get((day, model), []), days.get((day, model), _Day())):
            missing.add(model)
    # What each day's midnights would explain, all days together may not.
    for model in sorted(of_model.keys() - missing):
        every = _Day()
        for call in ours:
            if not by_model or call.model == model:
                every.own.add(call)
        for problem in _more_there(of_model[model], every):
            report.note("omitted", f"{upstream}, all days{f', {model}' if model else ''}", problem)


def _days(calls: Iterable[Call], *, by_model: bool) -> dict[tuple[date, str], _Day]:
    days: defaultdict[tuple[date, str], _Day] = defaultdict(_Day)
    for call in calls:
        model = call.model if by_model else ""
        today = call.time.date()
        days[today, model].own.add(call)
        others = {(call.time - MIDNIGHT).date(), (call.time + MIDNIGHT).date()} - {today}
        for other in others:
            days[other, model].beside.add(call)
        if others:
            days[today, model].near.add(call)
    return days


def _compare_day(report: Report, where: str, lines: Sequence[Line], day: _Day) -> bool:
    """Compare one day; say whether something of it was omitted here."""
    if not lines:
        if day.own.requests > day.near.requests:
            report.note("only_here", where, f"{day.own.requests} calls on our record, none in the account.")
        return False
    problems = list(_more_there(lines, day))
    for problem in problems:
        report.note("omitted", where, problem)
    if problems:
        return True
    report.matched += sum(line.requests or 0 for line in lines) or day.own.requests
    for kind, theirs in _sums(lines):
        ours, near = (getattr(each, kind) for each in (day.own, day.near))
        if ours - near > theirs:
            report.note("only_here", where, f"{theirs} {_KINDS[kind]} there, {ours} on our record.")
    return False


def _more_there(lines: Sequence[Line], day: _Day) -> Iterator[str]:
    """Say what the account has more of than our record can explain."""
    doubtful = day.own.doubtful + day.beside.doubtful
    uncounted = day.own.uncounted + day.beside.uncounted
    for kind, theirs in _sums(lines):
        most = getattr(day.own, kind) + getattr(day.beside, kind) + (doubtful if kind == "requests" else 0)
        # Tokens of calls that nobody counted to us, or whose end we do not know, are the account's word alone.
        explained = kind != "requests" and (doubtful or uncounted)
        if theirs > most and not explained:
            yield f"{theirs} {_KINDS[kind]} there, at most {most} on our record: {theirs - most} are missing here."


def _sums(lines: Sequence[Line]) -> Iterator[tuple[str, int]]:
    for kind in _KINDS:
        said = [count for line in lines if (count := getattr(line, kind)) is not None]
        if said:
            yield kind, sum(said)


def _unknown(ours: Sequence[Call], upstream: str) -> Iterator[str]:
    nameless = sum(call.answered and call.request is None for call in ours)
    doubtful = sum(not call.answered for call in ours)
    uncounted = sum(call.answered and call.input is None for call in ours)
    if nameless:
        yield f"{nameless} calls to {upstream} have no id of its own on our record, so they can only be counted."
    if doubtful:
        yield f"Of {doubtful} tries at {upstream} that brought no answer, nobody knows whether they were billed."
    if uncounted:
        yield f"{upstream} counted no tokens to us of {uncounted} calls: their tokens cannot be compared."
    yield (
        f"Calls to {upstream} under another account or key of yours than the account covers, or from another "
        "machine with the same key: the account shows the latter as omitted here, and the former nowhere."
    )
