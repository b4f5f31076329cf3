"""`docs/compatibility.md`: written from what a run shows, and read again to be held against another."""

from collections.abc import Iterator
from pathlib import Path

from tests.compatibility.callers.caller import Caller
from tests.compatibility.run import CALLERS, FORMATS, ROWS

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"
Outcomes = dict[tuple[str, str], dict[str, str]]
"""By caller's dialect and upstream's: what comes of each row."""
_NAMES = {caller.DIALECT: caller.NAME for caller in CALLERS}
_HEAD = """# Compatibility: every client with every upstream

Whoever speaks one of four APIs reaches upstreams of all four. Each cell below was tried, plain and streamed, with the
vendor's own client before a running Transom, and an upstream behind it that reads every field of what arrives and
answers in its own API. `python -m tests.compatibility` writes this page; the test beside it fails where a run shows
anything else.

- **carried**: all that was asked arrived, and all that was answered was read, by the client, as it was said. Where both
  speak the same API, bytes pass through untouched but for the model's name.
- **refused**: the other API cannot say it. The client raises its own exception for status 400, which names this field
  of its own request, and no upstream was asked. Nothing is dropped in silence.
- **left out, and said**: it changes no answer, so that the request goes on without it; the answer's header
  `transom-not-carried` names it.
- **not in this API**: the caller's API has no words for it.

An upstream's own limits stand besides: what a vendor's API can say, one of its models may still refuse.
"""


def merged(plain: dict[str, str], streamed: dict[str, str]) -> dict[str, str]:
    """Say both outcomes of each row as one; an empty one says nothing."""
    found = {}
    for row, outcome in plain.items():
        said = {"plain": outcome, "streamed": streamed[row]}
        kinds = {each for each in said.values() if each}
        found[row] = kinds.pop() if len(kinds) == 1 else "; ".join(f"{kind}: {each}" for kind, each in said.items())
    return found


def write(outcomes: Outcomes) -> str:
    """Return the page."""
    return "\n".join([_HEAD, *(line for caller in CALLERS for line in _section(caller, outcomes))])


def read(page: str) -> Outcomes:
    """Return the outcomes that a page shows."""
    found: Outcomes = {}
    spoken = {name: dialect for dialect, name in _NAMES.items()}
    caller = ""
    upstreams: list[str] = []
    for line in page.splitlines():
        if line.startswith("## From "):
            caller = spoken[line.removeprefix("## From ")]
        if not line.startswith("| ") or line.startswith("| --- "):
            continue
        row, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not row.startswith("what"):
            for upstream, cell in zip(upstreams, cells, strict=True):
                found.setdefault((caller, upstream), {})[row] = cell
        else:
            upstreams = [spoken[cell.removeprefix("to ")] for cell in cells]
    return found


def _section(caller: type[Caller], outcomes: Outcomes) -> Iterator[str]:
    yield f"## From {caller.NAME}\n"
    yield f"What this API alone has: {caller.NATIVE}. What changes no answer: {caller.HINT}.\n"
    yield "| what | " + " | ".join(f"to {_NAMES[spoken]}" for spoken in FORMATS) + " |"
    yield "| --- " * (len(FORMATS) + 1) + "|"
    for row in ROWS:
        yield f"| {row} | " + " | ".join(outcomes[caller.DIALECT, spoken][row] for spoken in FORMATS) + " |"
    yield ""
