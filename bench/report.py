"""The report of a run, made from its JSON and nothing else.

python -m bench.report run.json                             print it
python -m bench.report run.json --into docs/benchmarks.md   put it between that file's two marks
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from bench.aims import aims
from bench.results import Run
from bench.summary import Row, rows, writing

T = TypeVar("T")
BEGIN = "<!-- results: made by bench.report, not by hand -->"
END = "<!-- end of results -->"
_ABSENT = "-"


def markdown(run: Run) -> str:
    """The whole report."""
    parts = [_run(run), _chats(run), _streams(run), _memory(run), _ratios(run), _writing(run), _aims(run)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _number(value: float | None, decimals: int = 0, *, scale: float = 1.0) -> str:
    return _ABSENT if value is None else f"{value / scale:,.{decimals}f}"


def _percent(share: float | None) -> str:
    return _ABSENT if share is None else f"{share:.0%}"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table that reads well as plain text too: first column left, the others right."""
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]

    def text(line: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if not at else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([text(head), f"|{rule}|", *(text(line) for line in lines)])


def _run(run: Run) -> str:
    machine, disk = run.machine, run.fsync
    lines = [
        f"Run of {run.date}, commit `{run.commit}`: `{run.command}`",
        f"{machine.processor}, {machine.cores} cores, Linux {machine.kernel}, Python {machine.python}",
        f"Load of the machine in the minute before: {machine.load_before:.2f}",
        f"Appending 4 KiB and `fsync`: median {disk.p50_us:,.0f} µs, 99th percentile {disk.p99_us:,.0f} µs",
    ]
    for row in rows(run):
        if row.per_second is not None:
            lines.append(f"{row.name} {row.version}: {_rounds(run, row)}{row.errors:,} errors")
        if row.remark:
            lines.append(f"{row.name} was not measured, or not to the end: {row.remark}")
    return "\n".join(f"- {line}" for line in lines)


def _rounds(run: Run, row: Row) -> str:
    count = next(len(subject.rounds) for subject in run.subjects if subject.name == row.name)
    return f"{count} round{'s' if count != 1 else ''}, "


def _measured(run: Run) -> list[Row]:
    return [row for row in rows(run) if row.per_second is not None]


def _chats(run: Run) -> str:
    head = ["plain chats", "requests/s", "core used", "by others", "CPU µs each", "core µs each", "p50 ms", "p99 ms"]
    head += ["added p50 ms", "added p99 ms", "behind 50 ms: p50", "p99"]
    lines = [
        [
            row.name,
            _number(row.per_second),
            _percent(row.core_share),
            _percent(row.others_share),
            _number(row.cpu_per_request, 1),
            _number(row.core_per_request, 1),
            _number(row.loaded_p50, 2, scale=1000),
            _number(row.loaded_p99, 2, scale=1000),
            _number(row.added_p50, 3, scale=1000),
            _number(row.added_p99, 3, scale=1000),
            _number(row.added_before_wait_p50, 3, scale=1000),
            _number(row.added_before_wait_p99, 3, scale=1000),
        ]
        for row in _measured(run)
    ]
    return table(head, lines)


def _streams(run: Run) -> str:
    head = ["64 streams", "chunks/s", "CPU µs a chunk", "added p50 ms", "added p99 ms", "first chunk p50 ms"]
    lines = [
        [
            row.name,
            _number(row.chunks_per_second),
            _number(row.cpu_per_chunk, 1),
            _number(row.chunk_p50, 3, scale=1000),
            _number(row.chunk_p99, 3, scale=1000),
            _number(row.first_chunk_p50, 3, scale=1000),
        ]
        for row in _measured(run)
    ]
    return table(head, lines)


def _memory(run: Run) -> str:
    lines = [
        [row.name, _number(row.pss, 1, scale=1e6), _number(row.rss, 1, scale=1e6)]
        for row in _measured(run)
        if row.pss is not None
    ]
    return table(["memory after load", "PSS MB", "RSS MB"], lines) if lines else ""


def _ratios(run: Run) -> str:
    ours = next((row for row in _measured(run) if row.name == "transom"), None)
    others = [row for row in _measured(run) if row.name not in {"transom", "direct"}]
    if ours is None or not others:
        return ""

    def ratio(mine: float | None, other: float | None) -> str:
        return f"{mine / other:,.2f}" if mine is not None and other else _ABSENT

    lines = [
        [
            f"to {row.name}",
            ratio(ours.per_second, row.per_second),
            ratio(ours.cpu_per_request, row.cpu_per_request),
            ratio(ours.added_p50, row.added_p50),
            ratio(ours.cpu_per_chunk, row.cpu_per_chunk),
            ratio(ours.pss, row.pss),
        ]
        for row in others
    ]
    return table(["Transom", "requests/s", "CPU a request", "added p50", "CPU a chunk", "memory"], lines)


def _writing(run: Run) -> str:
    head = ["durable writes", "commits", "writes each", "one commit, ms: mean", "p50", "answer waited, ms: mean", "p50"]
    head.append("of a commit hidden")
    lines = [
        [
            part.load,
            f"{part.commits:,}",
            _number(part.writes_per_commit, 1),
            _number(part.commit_mean, 3, scale=1000),
            _number(part.commit_p50, 3, scale=1000),
            _number(part.wait_mean, 3, scale=1000),
            _number(part.wait_p50, 3, scale=1000),
            _percent(part.hidden),
        ]
        for part in writing(run)
    ]
    return table(head, lines) if lines else ""


def _aims(run: Run) -> str:
    lines = [[aim.what, aim.measured, "yes" if aim.holds else "NO"] for aim in aims(run)]
    return table(["aim", "measured", "holds"], lines) if lines else ""


def insert(text: str, report: str) -> str:
    """The document `text` with `report` between its two marks. Raises `ValueError` where it has none."""
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"the document needs the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{report}\n{END}{after}"


def command(prog: str, about: str, kind: type[T], markdown: Callable[[T], str]) -> int:
    """Print the report of a run's file, or put it into a document: the command of this module and of its like.

    `kind` is what the file holds; `about` says what the command is for.
    """
    parser = argparse.ArgumentParser(prog=f"python -m bench.{prog}", description=about.split("\n", maxsplit=1)[0])
    parser.add_argument("run", type=Path, help="what the benchmark's --json FILE wrote")
    parser.add_argument("--into", type=Path, metavar="DOCUMENT")
    options = parser.parse_args()
    text = markdown(msgspec.json.decode(options.run.read_bytes(), type=kind))
    if options.into is None:
        print(text)
    else:
        options.into.write_text(insert(options.into.read_text(), text))
    return 0


if __name__ == "__main__":
    sys.exit(command("report", __doc__, Run, markdown))
