"""What the rest of Transom sees of an upstream: a request out, an answer back."""

import re
import ssl
import time
from pathlib import Path
from urllib.parse import urlencode

from transom.config.digest import digest
from transom.config.secrets import SecretRef
from transom.errors import ConfigError
from transom.upstreams.breaker import Breaker
from transom.upstreams.errors import UpstreamError, UpstreamLeftAlone, UpstreamReset
from transom.upstreams.gate import Gate
from transom.upstreams.health import Health
from transom.upstreams.pool import Pool
from transom.upstreams.response import Response
from transom.upstreams.settings import UpstreamSettings, split_base_url
from transom.values import Digest

Headers = tuple[tuple[bytes, bytes], ...]

_METHODS = frozenset((b"GET", b"POST"))
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_PATH = re.compile(rb"/[\x21-\x22\x24-\x7e]*")
_OURS = frozenset(
    (
        b"accept-encoding",
        b"connection",
        b"content-length",
        b"content-type",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"user-agent",
    )
)
"""Never taken from a caller: what concerns the connection (RFC 9110 section 7.6.1), and what is said here anyway."""
_HEADS_KEPT = 256
_PACE_SHARE = 0.2
"""What the newest measure counts for in the smoothed pace."""
_PACE_UNKNOWN = 1.0
"""Seconds that a first failure counts as."""


class Upstream:
    """The client of one upstream. It belongs to the event loop in which it is first used.

    Secrets and certificate authorities are read here, once. Raises `ConfigError`, whose `file` is the setting's path,
    where one cannot be used, or a header cannot be sent.
    """

    def __init__(self, name: str, settings: UpstreamSettings) -> None:
        self.name = name
        self.settings = settings
        self._address = split_base_url(settings.base_url)
        self._fixed = _fixed_headers(name, settings)
        self._protected = _OURS | {header for header, _ in self._fixed} | {b"authorization"}
        self._query = urlencode(settings.query).encode()
        self._heads: dict[tuple[bytes, bytes], bytes] = {}
        # Before the context below reads the file: if it changes in between, `is_current` says so.
        self._authorities = _authorities_digest(name, settings)
        self.breaker = None if settings.breaker is None else Breaker(settings.breaker)
        self.unwell: str | None = None
        """What its health check found wrong, while it does."""
        self.unwell_since = 0.0
        """Of `time.monotonic`."""
        places = settings.max_concurrent
        self._gate = Gate(
            name, places, (places or 0) if settings.queue is None else settings.queue, settings.queue_seconds or 5.0
        )
        self.pace: float | None = None
        """Seconds until an answer begins, as an exponentially weighted moving average, doubled by each failure; `None`
        before the first of either."""
        self._pool = Pool(
            name,
            self._address,
            settings.timeouts,
            settings.max_connections,
            _tls(name, settings) if self._address.tls else None,
            Health(self.breaker),
        )

    @property
    def health(self) -> Health:
        """What the requests made so far say about it."""
        return self._pool.health

    @property
    def connections(self) -> tuple[int, int, int]:
        """Connections open, of these idle, and requests that wait for one."""
        return self._pool.counts

    @property
    def in_flight(self) -> int:
        """Requests that were sent and whose answers are not over."""
        return self._gate.inside

    @property
    def waiting(self) -> int:
        """Requests that wait to be sent: for a place, or for a connection."""
        return self._gate.waiting + self._pool.counts[2]

    @property
    def left_alone(self) -> str | None:
        """Why it should not be asked now, in the words of the record; `None` where it may be."""
        if self.unwell is not None:
            return "unhealthy"
        return None if self.breaker is None or self.breaker.lets_through else "breaker open"

    @property
    def left_alone_since(self) -> float:
        """Since when, of `time.monotonic`, where it is left alone."""
        return self.unwell_since if self.unwell is not None or self.breaker is None else self.breaker.opened_at

    def is_current(self, wanted: UpstreamSettings) -> bool:
        """Say whether a client made of `wanted` now would be this one again, secrets and authorities included.

        Raises `ConfigError` as making one does.
        """
        return (
            self.settings == wanted
            and self._fixed == _fixed_headers(self.name, wanted)
            and self._authorities == _authorities_digest(self.name, wanted)
        )

    async def send(
        self,
        method: bytes,
        path: bytes,
        body: bytes,
        headers: Headers = (),
        *,
        content_type: bytes = b"application/json",
        fresh: bool = False,
        only_well: bool = False,
    ) -> Response:
        """Send a request and return its answer as soon as the head is here.

        `path` comes after base_url's own and begins with a slash. `body` is of `content_type`, or empty. Of
        `headers`, those that concern the connection or that the settings give are left out. Raises `UpstreamError`s;
        where the task is cancelled, the connection is closed. Raises `ValueError` for what cannot be sent.

        With `fresh`, it goes out on a new connection. With `only_well`, it does not go out where the upstream is to be
        `left_alone` once there is a place for it (`UpstreamLeftAlone`); else the caller has decided.
        """
        if not self._gate.take():
            await self._gate.enter()
        began = time.monotonic()
        why = self.left_alone if only_well else None
        if why is not None:
            self._gate.leave()
            raise UpstreamLeftAlone(self.name, why)
        finding_out = self.breaker is not None and self.breaker.enter()
        try:
            response = await self._send(method, path, body, headers, content_type, fresh=fresh)
        except BaseException as error:
            self._gate.leave()
            if isinstance(error, UpstreamError) and error.counts_against_health:
                self._slow_down(time.monotonic() - began)
            raise
        finally:
            if finding_out and self.breaker is not None:
                self.breaker.leave()
        response.on_end(self._gate.leave)
        seconds = time.monotonic() - began
        if response.status < 400:
            self.pace = seconds if self.pace is None else self.pace + _PACE_SHARE * (seconds - self.pace)
        elif response.status >= 500 or response.status == 401:
            self._slow_down(seconds)
        return response

    def _slow_down(self, seconds: float) -> None:
        """Take a failure for twice the pace that was known: an upstream that fails at once is not a fast one."""
        doubled = _PACE_UNKNOWN if self.pace is None else 2 * self.pace
        self.pace = min(max(doubled, seconds), self.settings.timeouts.first_byte)

    async def _send(
        self, method: bytes, path: bytes, body: bytes, headers: Headers, content_type: bytes, *, fresh: bool
    ) -> Response:
        head = self._heads.get((method, path)) or self._head(method, path)
        if headers:
            head += self._added(headers)
        if body:
            head += b"content-type: %b\r\ncontent-length: %d\r\n\r\n" % (content_type, len(body))
        else:
            head += b"content-length: 0\r\n\r\n" if method == b"POST" else b"\r\n"
        pool = self._pool
        kept = None if fresh else pool.take()
        response = (kept or await pool.open(fresh=fresh)).start(head, body)
        try:
            await response.begun()
        except UpstreamReset as error:
            # A kept connection ended before it was taken up again, or just then. Whatever is proved not to have gone
            # out goes out once more, and so does what asks for nothing to be done (RFC 9110 section 9.2.2).
            if not error.never_sent and not (error.stale and method == b"GET"):
                raise
        else:
            return response
        response = (await pool.open(fresh=True)).start(head, body)
        await response.begun()
        return response

    def retire(self) -> None:
        """Finish what is under way and keep no connection: newer settings take this client's place."""
        self._pool.retire()

    async def close(self) -> None:
        """End every connection at once; what is under way fails. Returns when all have ended."""
        await self._pool.close()

    def _head(self, method: bytes, path: bytes) -> bytes:
        """Build the part of the head that is the same for every request of this method and path, and keep it."""
        if method not in _METHODS:
            raise ValueError(f"method {method!r}: only GET and POST are sent to upstreams")
        if not _PATH.fullmatch(path):
            raise ValueError(f"path {path[:80]!r} must begin with a slash and be escaped already")
        target = self._address.prefix.encode() + path
        if self._query:
            target += (b"&" if b"?" in path else b"?") + self._query
        lines = [
            b"%b %b HTTP/1.1" % (method, target),
            b"host: " + self._address.authority.encode(),
            b"user-agent: transom",
            b"accept-encoding: identity",
            *(b"%b: %b" % pair for pair in self._fixed),
        ]
        head = b"\r\n".join(lines) + b"\r\n"
        if len(self._heads) >= _HEADS_KEPT:
            self._heads.clear()
        self._heads[method, path] = head
        return head

    def _added(self, headers: Headers) -> bytes:
        lines = []
        for name, value in headers:
            # A line break in either would begin another header, or another request.
            if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
                raise ValueError(f"header {name[:80]!r} has characters that no header may have")
            if name.lower() not in self._protected:
                lines.append(b"%b: %b\r\n" % (name, value))
        return b"".join(lines)


def _fixed_headers(name: str, settings: UpstreamSettings) -> Headers:
    """Resolve the headers that the settings give. Errors name the setting and never the value."""
    found: dict[bytes, bytes] = {}
    for header, value in settings.headers.items():
        where = f"upstreams.{name}.headers.{header}"
        text = value.resolve(where) if isinstance(value, SecretRef) else value
        _put(found, where, header, text)
    if settings.key is not None:
        where = f"upstreams.{name}.key"
        key = settings.key.resolve(where)
        _put(found, where, settings.key_in, f"Bearer {key}" if _is_authorization(settings.key_in) else key)
    return tuple(found.items())


def _is_authorization(header: str) -> bool:
    return header.lower() == "authorization"


def _put(found: dict[bytes, bytes], where: str, header: str, text: str) -> None:
    name = header.lower().encode()
    value = text.encode()
    if not _TOKEN.fullmatch(name):
        raise ConfigError(f"{header!r} is not a header's name. Use letters, digits and hyphens.", file=where)
    if name in _OURS:
        raise ConfigError(f"The header {header} is Transom's own to send. Remove it.", file=where)
    if name in found:
        raise ConfigError(f"The header {header} is given twice. Remove it from `headers`.", file=where)
    if not text.isascii() or not _VALUE.fullmatch(value):
        raise ConfigError(
            "The value has characters that no header may have. Give it as plain ASCII, one line.", file=where
        )
    found[name] = value


def _tls(name: str, settings: UpstreamSettings) -> ssl.SSLContext:
    """Return a context that verifies host and chain, which is `ssl`'s default for clients."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise _unusable(name, settings, error) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def _authorities_digest(name: str, settings: UpstreamSettings) -> Digest | None:
    """Return the digest of `ca_file`, if there is one."""
    if settings.ca_file is None:
        return None
    try:
        return digest(Path(settings.ca_file).read_bytes())
    except OSError as error:
        raise _unusable(name, settings, error) from error


def _unusable(name: str, settings: UpstreamSettings, error: OSError) -> ConfigError:
    return ConfigError(
        f"The file {settings.ca_file} cannot be used: {error.strerror or error}. "
        "Name a PEM file with the authorities' certificates, readable by the user who runs Transom.",
        file=f"upstreams.{name}.ca_file",
    )
