"""Tell a webhook of budgets that have passed a threshold: once for each, whichever process comes to it.

An alert is written in the transaction that passes the threshold (`metering.accounts`), so that no crash loses it. It is
sent afterwards, and again with growing pauses where the webhook does not take it; no request waits for that.
"""

import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Final
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import msgspec
from sqlalchemy import Connection

from transom.callers.keys import Keyring
from transom.config.secrets import SecretRef
from transom.errors import ConfigError
from transom.ledger.entry import timestamp
from transom.metering.accounts import EVERYONE, MILLION, named
from transom.metering.money import in_words
from transom.metering.settings import AlertSettings
from transom.metering.store import AlertRow, alerts_due, claim_alerts, settle_alert
from transom.storage.engine import Database
from transom.upstreams.client import Upstream
from transom.upstreams.errors import UpstreamError
from transom.upstreams.settings import Timeouts, UpstreamSettings
from transom.values import CallerId

_log = logging.getLogger("transom.alerts")
_PAUSES: Final = (1, 5, 30, 300)
"""Seconds after each try in vain; after the last one it is given up."""
_CLAIMED_MS: Final = 60_000
"""What another process leaves to the one that has taken it: longer than `_TIMEOUTS` lets sending last."""
_TIMEOUTS: Final = Timeouts(connect=5.0, first_byte=10.0, between_chunks=5.0, whole=20.0)
_BATCH: Final = 1
_MOST_BYTES: Final = 65_536
_WHERE: Final = "alerts.webhook"


class Alerts:
    """Sends what is due. For one process."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._webhook: Upstream | None = None
        self._url: str | None = None

    async def send(self, settings: AlertSettings) -> None:
        """Send every alert that is due; without a webhook, have none be due. Raises `StorageError`, `ConfigError`."""
        now = _now()
        if not await self._database.run(lambda connection: alerts_due(connection, now)):
            return
        webhook = self._client(url_of(settings))
        while claimed := await self._database.run(_claim, write=True):
            for row in claimed:
                problem = None if webhook is None else await self._try(webhook, row)
                due = None if problem is None or row.tries >= len(_PAUSES) else _now() + 1000 * _PAUSES[row.tries]
                await self._database.run(partial(settle_alert, id_=row.id, due=due), write=True)
                if problem is not None:
                    _tell(row, problem, again=due is not None)

    async def close(self) -> None:
        """End the connection to the webhook."""
        if self._webhook is not None:
            await self._webhook.close()

    def _client(self, url: str | None) -> Upstream | None:
        if url != self._url:
            if self._webhook is not None:
                self._webhook.retire()
            self._webhook = None if url is None else Upstream("alerts", upstream_of(url))
            self._url = url
        return self._webhook

    async def _try(self, webhook: Upstream, row: AlertRow) -> str | None:
        """Send one; return what is wrong if it is not taken."""
        body = msgspec.json.encode(self._told(row))
        try:
            response = await webhook.send(b"POST", _path(self._url or ""), body)
            await response.read(_MOST_BYTES)
        except UpstreamError as error:
            return str(error)
        return None if response.status < 300 else f"it answered with status {response.status}"

    def _told(self, row: AlertRow) -> Mapping[str, object]:
        counter = named(row.counter)
        caller = None if counter.who == EVERYONE else self._keyring.caller(CallerId(counter.who))
        return {
            "event": "budget.threshold",
            "limit": counter.limit,
            "threshold": f"{row.threshold / MILLION:g}",
            "spent": in_words(row.spent),
            "ceiling": in_words(row.ceiling),
            "currency": counter.kind,
            "window": counter.window,
            "who": counter.who,
            "name": None if caller is None else caller.name,
            "at": timestamp(row.at),
        }


def _tell(row: AlertRow, problem: str, *, again: bool) -> None:
    if again:
        _log.warning("an alert of %s is not taken by the webhook, and will be sent again: %s", row.counter, problem)
    else:
        _log.error("an alert of %s is given up: %s", row.counter, problem)


def url_of(settings: AlertSettings) -> str | None:
    """Return the webhook's URL. Raises `ConfigError` where what it is named by is missing."""
    found = settings.webhook
    return found.resolve(_WHERE) if isinstance(found, SecretRef) else found


def upstream_of(url: str) -> UpstreamSettings:
    """Return the settings of a client for a webhook. Raises `ConfigError`, which never shows the URL."""
    parts = urlsplit(url)
    try:
        return UpstreamSettings(
            base_url=urlunsplit((parts.scheme, parts.netloc, "", "", "")),
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            timeouts=_TIMEOUTS,
            max_connections=1,
        )
    except ValueError as error:
        raise ConfigError(f"{error}.".replace("base_url", "The webhook's URL"), file=_WHERE) from None


def _path(url: str) -> bytes:
    return urlsplit(url).path.encode() or b"/"


def _claim(connection: Connection) -> list[AlertRow]:
    now = _now()
    return claim_alerts(connection, now, now + _CLAIMED_MS, _BATCH)


def _now() -> int:
    return time.time_ns() // 1_000_000
