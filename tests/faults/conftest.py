from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from tests.faults.door import Door
from tests.faults.scripted import Scripted

MakeDoor: TypeAlias = Callable[..., Door]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Scripted]:
    with Scripted() as running:
        yield running


@pytest.fixture
def make_door(tmp_path: Path) -> Iterator[MakeDoor]:
    """Makes doors that are stopped at the end of the test."""
    made: list[Door] = []

    def make(settings: str, **options: object) -> Door:
        made.append(Door(tmp_path / f"home{len(made)}", settings, **options))  # type: ignore[arg-type] # passed on
        return made[-1]

    yield make
    for door in made:
        door.stop()
