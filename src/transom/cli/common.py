"""What commands share: the home's stores, and how results are printed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from transom.app.build import Stores, open_stores
from transom.app.home import find_home, prepare
from transom.storage.migrate import ensure_schema

console = Console(highlight=False, markup=False)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@contextmanager
def stores() -> Iterator[Stores]:
    """Open what lives in TRANSOM_HOME, made first where there is nothing yet; what is there is not migrated."""
    home = find_home()
    prepare(home)
    opened = open_stores(home)
    try:
        ensure_schema(opened.database)
        yield opened
    finally:
        opened.close()


def print_json(value: object) -> None:
    """Print a value as one JSON document."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
