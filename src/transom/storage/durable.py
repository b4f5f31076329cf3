"""Have the disk hold what was written: a file's content, or a folder's names."""

import os
from pathlib import Path


def fsync(path: Path) -> None:
    """Wait until the disk holds a file, or the names in a folder. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
