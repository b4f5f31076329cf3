"""What serving processes know of the embedded engine, which one process looks after."""

from collections.abc import Callable

import msgspec

from transom.app.declared import EMBEDDED, EMBEDDED_REGION
from transom.gateway.running import Door
from transom.upstreams.client import Upstream
from transom.upstreams.settings import Timeouts, UpstreamSettings


class EngineNews(msgspec.Struct, frozen=True):
    """The engine's state, and where and with which key it answers once it does."""

    state: str
    base_url: str | None = None
    api_key: str | None = None
    error: str | None = None


class EngineLink:
    """The last news, and who wants it."""

    def __init__(self, *, wanted: bool) -> None:
        self.news = EngineNews("starting" if wanted else "off")
        self._hear: list[Callable[[EngineNews], None]] = []

    @property
    def wanted(self) -> bool:
        """Whether anybody looks after an engine: one that is not ready yet will be, or is started again."""
        return self.news.state != "off"

    def tell(self, news: EngineNews) -> None:
        """Pass on news that differ from the last."""
        if news != self.news:
            self.news = news
            for hear in self._hear:
                hear(news)

    def listen(self, hear: Callable[[EngineNews], None]) -> None:
        """Call `hear` with every change from now on."""
        self._hear.append(hear)

    def attach(self, door: Door) -> None:
        """Give a door its way to the engine, now and whenever it changes, and its probe."""

        def hear(news: EngineNews) -> None:
            door.telemetry.engine_up = news.state == "ready"
            if news.base_url is None or news.api_key is None:
                return
            known = door.running.upstreams.get(EMBEDDED)
            settings = _settings(news.base_url, news.api_key)
            if known is None or known.settings != settings:
                door.running.upstreams[EMBEDDED] = Upstream(EMBEDDED, settings)

        self.listen(hear)
        hear(self.news)
        door.probes["engine"] = self._problem

    def _problem(self) -> str | None:
        if self.news.state in ("ready", "off"):
            return None
        return f"the embedded engine is {self.news.state}"


def _settings(base_url: str, api_key: str) -> UpstreamSettings:
    # One answer at a time a slot, on a processor that others use too: its first byte may take long.
    return UpstreamSettings(
        base_url=base_url,
        headers={"authorization": f"Bearer {api_key}"},
        timeouts=Timeouts(first_byte=300, between_chunks=120, whole=900),
        max_connections=64,
        region=EMBEDDED_REGION,
    )
