"""What is said between a client and a model, whatever the API: for tests that hold one API against another.

The modules of APIs beside this one read a request that arrived into an `Ask` (`hear`), and put a `Said` into words
(`say`, `say_streamed`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Stop = Literal["end", "length", "tools", "filter"]

TOOL = "weather"
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Use:
    """A tool that the model wants used."""

    id: str
    arguments: Mapping[str, Any]
    name: str = TOOL


@dataclass(frozen=True)
class Result:
    """What it gave."""

    id: str
    text: str
    image: bytes = b""
    failed: bool = False


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One turn. What it holds stands in the order of its fields; results of one turn are one `tools`."""

    role: Literal["user", "model", "tools"]
    thought: str = ""
    signature: str = ""
    text: str = ""
    image: bytes = b""
    image_url: str = ""
    document: bytes = b""
    audio: bytes = b""
    uses: tuple[Use, ...] = ()
    results: tuple[Result, ...] = ()
    raw: Any = field(default=None, compare=False)
    """The turn as a client got it, which sends it back as it is."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What is asked. `native`: something that one API alone has; `hint`: something that changes no answer."""

    turns: tuple[Turn, ...]
    system: str = ""
    tools: bool = False
    choice: Literal["required", "named"] | None = None
    one_tool: bool = False
    schema: bool = False
    json: bool = False
    """Any JSON object."""
    effort: Literal["high"] | None = None
    logprobs: int = 0
    max_tokens: int = 100
    temperature: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    penalty: float | None = None
    choices: int = 1
    user: str = ""
    native: bool = False
    hint: bool = False


@dataclass(frozen=True)
class Token:
    """A token's probability, and its rivals'."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Counts:
    """Tokens: `input` with those that were `cached`, `output` with those of `thought`."""

    input: int = 14
    cached: int = 4
    output: int = 7
    thought: int = 3


@dataclass(frozen=True, kw_only=True)
class Said:
    """An answer. `other` is the text of a second choice. `signature` proves the thought to who had it."""

    text: str = ""
    thought: str = ""
    signature: str = field(default="", compare=False)
    uses: tuple[Use, ...] = ()
    stop: Stop = "end"
    counts: Counts | None = Counts()
    logprobs: tuple[Token, ...] = ()
    other: str = ""
    raw: Any = field(default=None, compare=False)


def usual(*, tools: bool) -> Said:
    """What a model that is well says; where there are `tools`, that it wants one."""
    if tools:
        return Said(uses=(Use("call_1", {"city": "Paris"}),), stop="tools")
    return Said(text="A fine answer.")


class Fields:
    """An object whose every field must be taken: what nobody takes is nothing that the API knows."""

    def __init__(self, value: Mapping[str, Any]) -> None:
        self._left = dict(value)

    def take(self, name: str, default: Any = None) -> Any:
        return self._left.pop(name, default)

    def one_of(self, name: str, *known: object) -> Any:
        """Take a field that can have these values alone."""
        value = self.take(name)
        assert value in known, f"{name} is {value!r}, not one of {known}"
        return value

    def done(self) -> None:
        assert not self._left, f"this API knows no {sorted(self._left)}"


def whole(value: Mapping[str, Any], read: Callable[[Fields], Any]) -> Any:
    """Read an object to its last field."""
    fields = Fields(value)
    read_ = read(fields)
    fields.done()
    return read_


def joined(turns: list[Turn]) -> tuple[Turn, ...]:
    """Put results that follow each other into one turn, as some APIs have them and some have not."""
    found: list[Turn] = []
    for turn in turns:
        if found and turn.role == found[-1].role == "tools":
            found[-1] = Turn(role="tools", results=found[-1].results + turn.results)
        else:
            found.append(turn)
    return tuple(found)


def halves(text: str) -> tuple[str, ...]:
    """Cut a text in two, as a stream may."""
    middle = len(text) // 2
    return tuple(half for half in (text[:middle], text[middle:]) if half)
