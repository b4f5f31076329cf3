"""`[[limits]]` and `[alerts]` of `transom.toml`: what callers may not pass, and who is told when they come near."""

from typing import Annotated, Literal

import msgspec

from transom.config.secrets import SecretRef

Count = Annotated[int, msgspec.Meta(ge=1, le=10**12)]


class MoneySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So much money, as decimal text, in a window of UTC: a day, a month, or all there ever is."""

    amount: str
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")]
    per: Literal["day", "month", "total"] = "month"


class LimitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits on what `group`, `key`, `model` and `upstream` narrow down, all of them together where several are given.

    `per`: counted for each caller apart, or for all together. `name` identifies it wherever it is shown, and its
    counters in the database; left out, it is made of the other fields but the amounts.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._@-]{1,64}\Z")] | None = None
    group: str | None = None
    key: str | None = None
    """A key's name or id."""
    model: str | None = None
    """A model's name, or that of one version."""
    upstream: str | None = None
    """Counts calls whose route leads there, and of what they cost only what it answered."""
    per: Literal["caller", "all"] = "caller"
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    concurrent: Count | None = None
    money: MoneySettings | None = None
    warn_at: tuple[str, ...] = ()
    """Parts of the money, as decimal text, at whose passing an alert is sent."""


class AlertSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where it is told, that a budget has passed one of its `warn_at`. Left out, it is shown on `/budgets` alone."""

    webhook: str | SecretRef | None = None
    """An `http` or `https` URL that takes a POST of JSON; by reference where the URL is itself a secret."""
