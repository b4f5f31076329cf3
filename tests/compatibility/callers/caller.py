"""What every caller is: a vendor's own client, which is told an `Ask` and gives what it made of the answer."""

import json
from typing import Any, ClassVar, Literal, NoReturn

import httpx2
from tests.support.formats.talk import Ask, Said

Kind = Literal["invalid", "forbidden", "missing", "too many", "failed"]


class NotInThisApi(Exception):
    """The caller's API has no words for what should be asked."""


class Refused(Exception):
    """The client raised its own exception for an error of this `kind`."""

    def __init__(self, kind: Kind, words: str) -> None:
        super().__init__(f"{kind}: {words}")
        self.kind = kind
        self.words = words


class Wire:
    """The connection below a client, which keeps what went last over it."""

    def __init__(self) -> None:
        self.sent: Any = None
        """The body of the last request."""
        self.headers: httpx2.Headers = httpx2.Headers()
        """Of the last answer."""
        self.http = httpx2.Client(event_hooks={"request": [self._asked], "response": [self._answered]}, timeout=20)

    def _asked(self, request: httpx2.Request) -> None:
        self.sent = json.loads(request.read())

    def _answered(self, response: httpx2.Response) -> None:
        self.headers = response.headers


class Caller:
    """A vendor's client, before a door at `url`."""

    NAME: ClassVar[str]
    """The API's name, as its vendor writes it."""
    DIALECT: ClassVar[str]
    NATIVE: ClassVar[str]
    """What this API alone has, which `Ask.native` asks for."""
    HINT: ClassVar[str]
    """What changes no answer, which `Ask.hint` asks for."""

    def __init__(self, url: str, key: str) -> None:
        self.wire = Wire()
        self.url = url
        self.key = key

    def ask(self, ask: Ask, model: str, *, stream: bool) -> Said:
        """Ask. Raises `NotInThisApi`, and `Refused` for what the client raises."""
        raise NotImplementedError

    def close(self) -> None:
        """Close its connections."""
        self.wire.http.close()


def lacks(**said: object) -> None:
    """Raise `NotInThisApi` where any of these is said."""
    for name, value in said.items():
        if value:
            raise NotInThisApi(name)


def known(**fields: object) -> dict[str, Any]:
    """The fields that say something."""
    return {name: value for name, value in fields.items() if value not in (None, "", (), [], 0, False)}


def raise_refused(error: Exception, kinds: dict[type[Exception], Kind], words: str) -> NoReturn:
    """Raise what an exception of the client says."""
    for raised, kind in kinds.items():
        if isinstance(error, raised):
            raise Refused(kind, words) from error
    raise error
