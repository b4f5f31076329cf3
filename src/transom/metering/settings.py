"""`[[limits]]` of `transom.toml`: rates that callers may not pass."""

import msgspec


class LimitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many requests a minute for each caller of `group` (every caller where it is left out)."""

    requests_per_minute: int
    group: str | None = None
