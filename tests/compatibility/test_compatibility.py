"""The table of docs/compatibility.md is what a run shows, cell by cell."""

from collections.abc import Iterator

import pytest
from tests.compatibility.run import CALLERS, FORMATS, Bench, Cell, bench
from tests.compatibility.table import DOCUMENT, merged, read, write


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One door and one upstream for all cells."""
    with bench(tmp_path_factory.mktemp("compatibility")) as running:
        yield running


@pytest.mark.parametrize("spoken", FORMATS)
@pytest.mark.parametrize("caller", [caller.DIALECT for caller in CALLERS])
def test_what_comes_of_each_feature_is_what_the_table_says(tried: Bench, caller: str, spoken: str) -> None:
    client = tried.callers[caller]
    plain, streamed = (Cell(tried, client, spoken, stream=stream).outcomes() for stream in (False, True))
    assert merged(plain, streamed) == read(DOCUMENT.read_text())[caller, spoken], (
        "write the table anew with `python -m tests.compatibility`, and see that the change is meant"
    )


def test_the_page_is_what_the_command_writes() -> None:
    page = DOCUMENT.read_text()
    assert write(read(page)) == page
