"""`[[limits]]` of `transom.toml`: rates that callers may not pass."""

from typing import Annotated

import msgspec


class LimitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many requests a minute for each caller of `group` (every caller where it is left out)."""

    requests_per_minute: Annotated[int, msgspec.Meta(ge=1)]
    group: str | None = None
