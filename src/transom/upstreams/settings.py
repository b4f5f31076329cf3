"""What a file may say about one upstream."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field

from transom.config.secrets import SecretRef
from transom.dialects.translate import DialectName
from transom.upstreams.breaker import BreakerSettings
from transom.values import Price

Seconds = Annotated[float, Meta(gt=0)]
_KEY_HEADERS: Mapping[DialectName, str] = {"anthropic-messages": "x-api-key", "gemini-generate": "x-goog-api-key"}


class Timeouts(Struct, frozen=True, forbid_unknown_fields=True):
    """How long each phase of a request may last, in seconds."""

    connect: Seconds = 5.0
    """Until there is a connection: waiting for a free one, DNS, TCP and TLS together."""
    first_byte: Seconds = 60.0
    """From sending the request until the answer's head is here."""
    between_chunks: Seconds = 60.0
    """Silence in the middle of an answer; the time in which nobody reads it does not count."""
    whole: Seconds = 600.0
    """From sending the request to the answer's last byte."""


class Probe(Struct, frozen=True, forbid_unknown_fields=True):
    """`health`: how an upstream is asked whether it is well."""

    path: str
    """From the root of its host, whatever path `base_url` has: `/health`. It must answer 2xx."""
    every_seconds: Seconds = 10.0
    timeout_seconds: Seconds = 2.0

    def __post_init__(self) -> None:
        """Raise `ValueError`, which msgspec reports with the place in the file, where the path cannot be asked for."""
        if not self.path.startswith("/") or not self.path.isascii() or not self.path.isprintable() or " " in self.path:
            raise ValueError("path must begin with a slash and be plain ASCII without spaces: /health")


class UpstreamSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One upstream: where it is, how it is asked, and how long it may take."""

    base_url: str
    """`http` or `https`, a host, and any path that goes before every request's own: `https://api.openai.com/v1`."""
    key: SecretRef | None = None
    key_header: str = ""
    """The header that carries the key: as `Bearer <key>` in `authorization`, bare in any other. Left out, it is the one
    that the first dialect of `speaks` wants."""
    speaks: Annotated[tuple[DialectName, ...], Meta(min_length=1)] = ("openai-chat", "openai-embeddings")
    """The wire formats in which it answers, the preferred one first. A caller of one of them is passed through; another
    is translated to the first that holds conversations."""
    headers: dict[str, str | SecretRef] = field(default_factory=dict)
    """Sent with every request, over what the caller of `send` gives under the same name."""
    query: dict[str, str] = field(default_factory=dict)
    """Added to every request's query, as Azure wants its `api-version`."""
    timeouts: Timeouts = Timeouts()
    max_connections: Annotated[int, Meta(ge=1)] = 512
    """Open connections at most. As many requests again may wait for one; more are turned away."""
    vendor: str | None = None
    """Whose public prices hold here, by the name that `genai-prices` has for it. Left out, the host tells."""
    prices: dict[str, Price | tuple[Price, ...]] = field(default_factory=dict)
    """What it asks for a model, by its own name of the model. Goes before a model's `price` and the public one."""
    region: Annotated[str, Meta(min_length=1)] | None = None
    """Where the answering happens, in the operator's own words. Policies see it."""
    breaker: BreakerSettings | None = None
    """When it is left alone because it keeps failing. Left out: never."""
    health: Probe | None = None
    """How it is asked whether it is well; it is left alone while it does not say so. Left out: it is not asked."""
    max_concurrent: Annotated[int, Meta(ge=1)] | None = None
    """Requests under way at most, streams included. Left out: no limit but the connections."""
    queue: Annotated[int, Meta(ge=0)] | None = None
    """How many may wait for one of `max_concurrent` places. Left out: as many as there are places."""
    queue_seconds: Seconds | None = None
    """How long one waits at most. Left out: 5."""
    ca_file: str | None = None
    """PEM file of the certificate authorities to trust instead of the system's. TLS is always verified."""

    def __post_init__(self) -> None:
        """Raise `ValueError`, which msgspec reports with the place in the file, where the address cannot be used."""
        if not split_base_url(self.base_url).tls and self.ca_file is not None:
            raise ValueError("ca_file is for https, and base_url is http: nothing would be verified with it")
        if self.max_concurrent is None:
            if self.queue is not None or self.queue_seconds is not None:
                raise ValueError("queue and queue_seconds mean nothing without max_concurrent: add it or remove them")
        elif self.max_concurrent > self.max_connections:
            raise ValueError("max_concurrent is above max_connections, which are as many as can be under way at once")

    @property
    def key_in(self) -> str:
        """The header that carries the key."""
        return self.key_header or _KEY_HEADERS.get(self.speaks[0], "authorization")

    @property
    def files(self) -> tuple[Path, ...]:
        """The files whose content a client of this upstream is made from, besides these settings."""
        references = [value for value in (self.key, *self.headers.values()) if isinstance(value, SecretRef)]
        paths = [reference.path for reference in references]
        paths.append(None if self.ca_file is None else Path(self.ca_file))
        return tuple(path for path in paths if path is not None)


class Address(Struct, frozen=True):
    """A base URL taken apart."""

    tls: bool
    host: str
    port: int
    authority: str
    """What the `Host` header says (RFC 9110 section 7.2)."""
    prefix: str
    """The path before every request's own, without a slash at its end."""


def split_base_url(base_url: str) -> Address:
    """Take `base_url` apart. Raises `ValueError`, which never repeats a URL that may hold a password."""
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"}:
        raise ValueError("base_url must begin with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("base_url must not hold a user name or password: name the secret in `key` or `headers`")
    if parts.query or parts.fragment:
        raise ValueError("base_url must not hold a query or a fragment: put the query into `query`")
    if not parts.hostname:
        raise ValueError("base_url names no host: write it as https://host or https://host/path")
    if not base_url.isascii() or not base_url.isprintable() or " " in base_url:
        raise ValueError("base_url must be plain ASCII without spaces: write the host in punycode, escape the path")
    tls = parts.scheme == "https"
    usual = 443 if tls else 80
    port = usual if parts.port is None else parts.port
    if port == 0:
        raise ValueError("base_url names port 0, where nothing can listen")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Address(
        tls=tls,
        host=parts.hostname,
        port=port,
        authority=host if port == usual else f"{host}:{port}",
        prefix=parts.path.rstrip("/"),
    )
