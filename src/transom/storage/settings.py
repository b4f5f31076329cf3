"""`[storage]` of `transom.toml`."""

from typing import Literal

import msgspec

from transom.config.secrets import SecretRef


class StorageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where rows and blobs go. Left out: SQLite and a folder in TRANSOM_HOME/data. Read at start."""

    database: str | SecretRef | None = None
    """`sqlite:///FILE` or `postgresql://…`; a URL with a password comes from the environment or a file."""
    objects: str | None = None
    """A folder, or a URL such as `s3://BUCKET/PREFIX`."""
    rates: str | SecretRef | None = None
    """Valkey or Redis, where rates are counted for several processes: `valkey://HOST:6379`, `redis://…`, or with TLS
    `valkeys://…`, `rediss://…`. Left out, the one process counts."""
    rates_fail: Literal["closed", "open"] = "closed"
    """What happens to what a rate limits while it cannot be counted: it is refused, or it passes."""
