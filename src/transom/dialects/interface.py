"""What a dialect is: a module with these functions, one per wire format."""

from typing import Literal, Protocol

from transom.dialects.openai_json import Answer
from transom.values import Call, UpstreamModel


class Dialect(Protocol):
    """A wire format. Modules of this package satisfy it."""

    PATH: bytes
    """Where an upstream answers it, after its base URL."""
    ACTION: Literal["infer", "embed"]
    KIND: Literal["chat", "embedding"]

    def read(self, body: bytes) -> Call:
        """Read a request. Raises `InvalidRequest`."""
        ...

    def write(self, call: Call, model: UpstreamModel) -> bytes:
        """Return the request for an upstream."""
        ...

    def read_answer(self, body: bytes) -> Answer:
        """Read a plain answer for the record."""
        ...

    def read_stream(self, received: bytes) -> Answer:
        """Read a streamed answer for the record."""
        ...
