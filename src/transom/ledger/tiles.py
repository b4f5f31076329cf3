"""Tiles and entry bundles: their paths, shapes and bytes, as C2SP tlog-tiles v0.1.0 says. No I/O.

Paths are relative to the log's own (`served_path` leads from one to the other).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from transom.errors import LedgerError
from transom.ledger.tree import HASH, TILE_HEIGHT, TILE_WIDTH

ENTRIES: Final = "entries"
FOLDER: Final = "ledger"
"""Where the log lives in the object store; also the path under which it is served."""
CHECKPOINT: Final = f"{FOLDER}/checkpoint"
TILES: Final = f"{FOLDER}/tile"

_MAX_LEVEL: Final = 63
_IMMUTABLE: Final = "public, max-age=31536000, immutable"
_PATH: Final = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<index>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?",
    re.ASCII,
)
_TEXT: Final = "text/plain; charset=utf-8"
_BYTES: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile, or a bundle of entries (`level` is None), by its place. `width` counts hashes or entries: 1 to 256."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """The path in the object store."""
        digits = f"{self.index:03d}"
        digits = digits.zfill(-len(digits) // 3 * -3)
        groups = [digits[start : start + 3] for start in range(0, len(digits), 3)]
        number = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"{TILES}/{ENTRIES if self.level is None else self.level}/{number}{partial}"

    @property
    def partials(self) -> str:
        """The folder of this tile's partial forms."""
        return f"{Tile(self.level, self.index).path}.p"

    @property
    def needs(self) -> int:
        """How many entries a log has at least, if it has this tile."""
        return (self.index * TILE_WIDTH + self.width) << (TILE_HEIGHT * (self.level or 0))

    @property
    def full(self) -> "Tile":
        """The same tile, full."""
        return Tile(self.level, self.index)


class Served(NamedTuple):
    """How to answer a GET of the log: which object, as what, cached how."""

    object_path: str
    content_type: str
    cache_control: str

    @property
    def private_cache_control(self) -> str:
        """How the reader's own cache may keep it, and no cache that others share."""
        return f"private, {self.cache_control.removeprefix('public, ')}"


def parse_path(path: str) -> Tile | None:
    """Read a path under the object store's log folder back; None if it is not exactly how a tile's is written."""
    match = _PATH.fullmatch(path.removeprefix(f"{FOLDER}/"))
    if match is None or not path.startswith(TILES):
        return None
    level = None if match["level"] == ENTRIES else int(match["level"])
    tile = Tile(level, int(re.sub("[x/]", "", match["index"])), int(match["width"] or TILE_WIDTH))
    if (level or 0) > _MAX_LEVEL or tile.path != path:  # leading x000 groups, widths of 256 and more
        return None
    return tile


def served_path(path: str) -> Served | None:
    """Say what a GET of `/ledger/checkpoint` or `/ledger/tile/…` is answered with; None: there is no such path.

    The object may not exist. A checkpoint may change at any moment; everything else never does.
    """
    if path == f"/{CHECKPOINT}":
        return Served(CHECKPOINT, _TEXT, "no-cache")
    tile = parse_path(path.removeprefix("/")) if path.startswith(f"/{TILES}/") else None
    return None if tile is None else Served(tile.path, _BYTES, _IMMUTABLE)


def headers_of(path: str) -> dict[str, str]:
    """Give the HTTP headers for an object of the log, for a store that serves it itself; none for other objects."""
    served = served_path(f"/{path}")
    return {"Content-Type": served.content_type, "Cache-Control": served.cache_control} if served else {}


def edge(size: int) -> list[Tile]:
    """Give the hash tile at the right edge of each level, lowest first; of width 0 where the level ends in a full one.

    A tree of `size` leaves has as many levels as this list has members.
    """
    levels: list[Tile] = []
    hashes = size
    while hashes:
        levels.append(Tile(len(levels), hashes // TILE_WIDTH, hashes % TILE_WIDTH))
        hashes //= TILE_WIDTH
    return levels


def partials_of(size: int) -> list[Tile]:
    """Give the partial bundle and the partial tiles of a tree of `size` leaves."""
    return [tile for tile in _last_of_each(size) if tile.width]


def tiles_of(size: int) -> Iterator[Tile]:
    """Go through every bundle and tile that a tree of `size` leaves consists of."""
    for last in _last_of_each(size):
        for index in range(last.index):
            yield Tile(last.level, index)
        if last.width:
            yield last


def _last_of_each(size: int) -> list[Tile]:
    """Give the edge, and the bundle that belongs to its lowest tile."""
    levels = edge(size)
    return [Tile(None, tile.index, tile.width) for tile in levels[:1]] + levels


def split_hashes(data: bytes) -> list[bytes]:
    """Split a tile's bytes into its hashes."""
    return [data[start : start + HASH] for start in range(0, len(data), HASH)]


def pack(entries: Sequence[bytes]) -> bytes:
    """Write a bundle: each entry after its length in two bytes, big-endian.

    Raises `LedgerError` where one is longer than two bytes can say.
    """
    try:
        return b"".join([part for entry in entries for part in (len(entry).to_bytes(2, "big"), entry)])
    except OverflowError as error:
        raise LedgerError(
            "An entry is longer than 65,535 bytes, so Transom did not write it. Remove its row."
        ) from error


def unpack(data: bytes) -> list[bytes]:
    """Read a bundle's entries. Raises `LedgerError` where it ends in the middle of one."""
    entries = []
    place = 0
    while place < len(data):
        start = place + 2
        place = start + int.from_bytes(data[place:start], "big")
        entries.append(data[start:place])
    if place != len(data):
        raise LedgerError("A bundle of entries ends in the middle of one: it was cut off or altered.")
    return entries
