"""The report of a run of the ledger's benchmark, made from its JSON and nothing else.

python -m bench.ledger_report ledger.json                                    print it
python -m bench.ledger_report ledger.json --into docs/ledger-benchmarks.md   put it between that file's two marks
"""

import statistics
import sys

from bench.ledger_results import LedgerRun, Step
from bench.report import command, table

AIM = 5_000
"""Entries a second, on one core."""
LAG = 1.0
"""Seconds that a checkpoint may stay behind, beside the time that one batch takes."""
_BARS = 40


def markdown(run: LedgerRun) -> str:
    """Give the whole report."""
    parts = [_head(run), _paced(run), _backlog(run), _curve(run), _bars(run.steps), _aims(run)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(run: LedgerRun) -> str:
    machine, disk = run.machine, run.fsync
    lines = [
        f"Run of {run.date}, commit `{run.commit}`: `{run.command}`",
        f"{machine.processor}, {machine.cores} cores, Linux {machine.kernel}, Python {machine.python}, {run.database}",
        f"Load of the machine in the minute before: {machine.load_before:.2f}",
        f"Appending 4 KiB and `fsync`: median {disk.p50_us:,.0f} µs, 99th percentile {disk.p99_us:,.0f} µs",
        f"An entry has {run.entry_bytes:,.0f} bytes on average",
    ]
    if run.rows_bytes:
        size = run.backlog[-1].at_size + run.backlog[-1].entries
        lines.append(
            f"At {size:,} entries: {run.rows_bytes / 1e9:,.2f} GB of database, {run.objects_bytes / 1e9:,.2f} GB of log"
        )
    return "\n".join(f"- {line}" for line in lines)


def _paced(run: LedgerRun) -> str:
    head = ["entries written a second", "wanted", "log before", "interval s", "core used", "lag s: p50", "p99", "worst"]
    lines = [
        [
            f"{each.written:,.0f}",
            f"{each.wanted:,}",
            f"{each.at_size:,}",
            f"{each.interval:g}",
            f"{each.core:.0%}",
            f"{each.lag_p50:.3f}",
            f"{each.lag_p99:.3f}",
            f"{each.lag_max:.3f}",
        ]
        for each in run.paced
    ]
    return table(head, lines) if lines else ""


def _backlog(run: LedgerRun) -> str:
    head = ["entries waiting", "log before", "entries a second", "CPU µs an entry"]
    lines = [
        [
            f"{each.entries:,}",
            f"{each.at_size:,}",
            f"{each.entries / each.seconds:,.0f}",
            f"{each.cpu / each.entries * 1e6:.1f}",
        ]
        for each in run.backlog
    ]
    return table(head, lines) if lines else ""


def _curve(run: LedgerRun) -> str:
    head = ["log of", "CPU µs an entry", "core µs an entry", "longest run s", "objects a run", "find ms", "prove ms"]
    head += ["memory MB", "restart s"]
    lines = [
        [
            f"{each.size:,}",
            f"{each.cpu_us:.1f}",
            f"{each.wall_us:.1f}",
            f"{each.longest_run:.2f}",
            f"{each.writes:.1f}",
            f"{each.find * 1000:.2f}",
            f"{each.prove * 1000:.2f}",
            f"{each.memory / 1e6:.0f}",
            "-" if each.restart is None else f"{each.restart:.2f}",
        ]
        for each in run.steps
    ]
    return table(head, lines) if lines else ""


def _bars(steps: list[Step]) -> str:
    """Draw the curve in text: CPU time an entry, by the size of the log."""
    if not steps:
        return ""
    most = max(each.cpu_us for each in steps)
    width = len(f"{steps[-1].size:,}")
    lines = [f"{each.size:>{width},} {'#' * round(each.cpu_us / most * _BARS)} {each.cpu_us:.1f}" for each in steps]
    return "\n".join(["```text", f"{'entries':>{width}} CPU µs an entry", *lines, "```"])


def _aims(run: LedgerRun) -> str:
    lines = []
    for each in run.paced:
        if each.wanted == AIM:
            what = f"{AIM:,} entries a second at {each.at_size:,} entries, published within {LAG:g} s + one run"
            holds = each.written > 0.95 * AIM and each.core < 1 and each.lag_p99 <= LAG + each.interval
            lines.append([what, f"{each.written:,.0f}/s, p99 {each.lag_p99:.3f} s", "yes" if holds else "NO"])
    if len(run.steps) > 1:
        first, last = _ends(run.steps)
        what = f"an entry costs the same at {run.steps[-1].size:,} entries as at the beginning (within a fifth)"
        lines.append([what, f"{first:.1f} µs, {last:.1f} µs", "yes" if last <= 1.2 * first else "NO"])
    return table(["aim", "measured", "holds"], lines) if lines else ""


def _ends(steps: list[Step]) -> tuple[float, float]:
    """Give what an entry costs in the first and in the last tenth of the curve."""
    count = max(len(steps) // 10, 1)
    return (
        statistics.median(each.cpu_us for each in steps[:count]),
        statistics.median(each.cpu_us for each in steps[-count:]),
    )


if __name__ == "__main__":
    sys.exit(command("ledger_report", __doc__, LedgerRun, markdown))
