"""Logs: one JSON object a line on standard error, without content and without secrets.

Of an exception only its type and places are written: its text may quote what a caller sent.
"""

import logging
import sys
import traceback
from types import TracebackType

import msgspec
from typing_extensions import override

from transom.errors import TransomError
from transom.ledger.entry import timestamp


class JsonFormatter(logging.Formatter):
    """One line of JSON a record: at, level, logger, message, and where it failed."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Write one line."""
        line: dict[str, object] = {
            "at": timestamp(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            # Our own texts are written for people to see; others may quote what a caller sent.
            if isinstance(record.exc_info[1], TransomError):
                line["why"] = str(record.exc_info[1])
            line["places"] = _places(record.exc_info[2])
        return msgspec.json.encode(line).decode()


def _places(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)
    return [f"{frame.filename.rpartition('/site-packages/')[2]}:{frame.lineno} {frame.name}" for frame in frames[-12:]]


def set_up_logs() -> None:
    """Send every logger's records to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for noisy in ("uvicorn.error", "alembic", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
