"""`[server]` and `[retention]` of `transom.toml`."""

from typing import Annotated

import msgspec

from transom.config.duration import Duration, duration

Seconds = Annotated[float, msgspec.Meta(gt=0)]


class ServerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the door stands and what it takes in. Read at start; a change needs a restart."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8420
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 32 * 1024 * 1024
    max_answer_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 32 * 1024 * 1024
    """The longest answer that is taken from an upstream, plain or streamed: it is held until it is on record."""
    header_seconds: Seconds = 10.0
    """How long a client may take to send a request's head."""
    body_seconds: Seconds = 60.0
    """How long a client may take to send a request's body."""
    durable_seconds: Seconds = 10.0
    """How long a decision may take to become durable before its caller gets 503."""
    drain_seconds: Seconds = 10.0
    """How long answers under way may go on when the server is told to stop."""


class RetentionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long content is kept where no policy says so with `@retain`, and what policy was asked."""

    default: Duration = duration("30d")
    """A whole number and a unit: `30d`, `12h`, `45m`, `90s`."""
    facts: Duration = duration("400d")
    """How long what policy was asked is kept, so that a decision can be ruled on again."""
