"""`[storage]` of `transom.toml`."""

import msgspec

from transom.config.secrets import SecretRef


class StorageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where rows and blobs go. Left out: SQLite and a folder in TRANSOM_HOME/data. Read at start."""

    database: str | SecretRef | None = None
    """`sqlite:///FILE` or `postgresql://…`; a URL with a password comes from the environment or a file."""
    objects: str | None = None
    """A folder, or a URL such as `s3://BUCKET/PREFIX`."""
