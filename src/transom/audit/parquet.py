"""Exports as Parquet, a column a field, with the header in the file's metadata. Needs the extra `transom[export]`."""

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from typing_extensions import override

from transom.audit.exported import Header, Row
from transom.errors import InvalidRequest

_NUMBERS = frozenset(("milliseconds", "leaf", "outcome_leaf"))
_ROWS = 2_000
"""In a row group."""


def parquet(header: Header, pages: Iterable[Sequence[Row]]) -> Iterator[bytes]:
    """Write Parquet, a row group at a time. Raises `InvalidRequest` at once where pyarrow is not installed."""
    try:
        # Only who wants it has it: it is several times the size of everything else.
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import parquet as pq  # noqa: PLC0415
    except ImportError:
        raise InvalidRequest(
            "Parquet needs pyarrow, which is not installed here. Install it (pip install 'transom[export]'), or ask "
            "for JSON Lines.",
            param="format",
        ) from None
    return _write(pa, pq, header, pages)


def _write(pa: Any, pq: Any, header: Header, pages: Iterable[Sequence[Row]]) -> Iterator[bytes]:  # noqa: ANN401 - no types
    metadata = {f"transom.{name}": _text(value) for name, value in msgspec.structs.asdict(header).items()}
    names = Row.__struct_fields__
    schema = pa.schema([(name, pa.int64() if name in _NUMBERS else pa.string()) for name in names], metadata)
    sink = _Sink()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        waiting: list[Row] = []
        for page in pages:
            waiting += page
            if len(waiting) >= _ROWS:
                writer.write_table(_table(pa, schema, waiting))
                waiting = []
                yield sink.taken()
        if waiting:
            writer.write_table(_table(pa, schema, waiting))
    yield sink.taken()


def _table(pa: Any, schema: Any, rows: Sequence[Row]) -> Any:  # noqa: ANN401 - no types
    return pa.table({name: [getattr(row, name) for row in rows] for name in Row.__struct_fields__}, schema=schema)


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


class _Sink(io.RawIOBase):
    """What was written since it was last asked: Parquet is written from front to back."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(self._parts[-1])

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)
