"""One stream of server-sent events, as a client reads it."""

import http.client
from types import TracebackType
from typing import Self

from tests.console.door import Visitor


class Stream:
    """An open stream. `decision` is the one that recorded its opening."""

    def __init__(self, visitor: Visitor, path: str = "/events", headers: dict[str, str] | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", visitor.door.server.port, timeout=10)
        self._connection.request(
            "GET", path, headers={"cookie": f"transom_session={visitor.session}", **(headers or {})}
        )
        self._response = self._connection.getresponse()
        assert self._response.status == 200
        self.decision = self._response.headers["transom-decision"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._response.close()

    def event(self) -> dict[str, str]:
        """Read one event: its fields, `data` joined; empty once the stream has ended."""
        fields: dict[str, str] = {}
        while True:
            raw = self._response.readline().decode()
            name, _, value = raw.rstrip("\n").partition(": ")
            if raw == "" or (raw == "\n" and fields):
                return fields
            if name:
                fields[name] = f"{fields[name]}\n{value}" if name in fields else value

    def until(self, text: str) -> dict[str, str]:
        """Read events until one holds `text`."""
        while text not in (event := self.event()).get("data", ""):
            assert event, f"the stream ended before {text!r}"
        return event
