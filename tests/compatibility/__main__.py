"""Write docs/compatibility.md from what a run shows: `python -m tests.compatibility`."""

import tempfile
from pathlib import Path

from tests.compatibility.run import FORMATS, Cell, bench
from tests.compatibility.table import DOCUMENT, Outcomes, merged, write


def main() -> None:
    outcomes: Outcomes = {}
    with tempfile.TemporaryDirectory() as folder, bench(Path(folder)) as tried:
        for caller in tried.callers.values():
            for spoken in FORMATS:
                plain, streamed = (Cell(tried, caller, spoken, stream=stream).outcomes() for stream in (False, True))
                outcomes[caller.DIALECT, spoken] = merged(plain, streamed)
    DOCUMENT.write_text(write(outcomes))


main()
