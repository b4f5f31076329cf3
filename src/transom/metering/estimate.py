"""Tokens that nobody counted, estimated: by OpenAI's newest public vocabulary (o200k), whatever the model's own is.

An estimate is called one wherever it is shown. The vocabulary is a part of `bpe-openai` and is loaded when it is first
needed; texts are read from bodies of any dialect by the names that their fields have.
"""

import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from transom.values import Usage

LONG: Final = 20_000
"""Bytes from which on counting takes longer than an event loop should be kept."""
_WORDS = frozenset(
    ("content", "text", "delta", "arguments", "partial_json", "thinking", "reasoning_content", "reasoning", "refusal")
)
"""Fields whose strings a model wrote."""
_NAMES = frozenset(
    ("model", "role", "type", "id", "tool_call_id", "tool_use_id", "user", "detail", "media_type", "url")
)
"""Fields whose strings a model does not read, or not as words."""
_AROUND: Final = 4
"""What templates add to each turn."""
_DATA: Final = 2_000
_BASE64 = re.compile(r"(?:data:[^,]{0,200},)?[A-Za-z0-9+/=_\s-]*")
"""A string so long of nothing else, and without a space, is data and not words."""


def estimate(asked: bytes, answer: bytes | None, *, embedding: bool) -> Usage:
    """Estimate what was used: of the body `asked`, and of what came of the `answer` (plain or a stream; in parts too).

    Nothing is said of output where nothing of an answer was seen.
    """
    said = msgspec.json.decode(asked)
    turns = sum(1 for _ in _strings(said, lambda name: name == "role"))
    input_ = _count(_strings(said, lambda name: name not in _NAMES)) + turns * _AROUND
    output: int | None = 0 if embedding else None
    if answer and not embedding:
        output = _count(written(answer) or [answer.decode("utf-8", "replace")])  # half of a plain answer is no JSON
    return Usage(input_, None, output, None, "estimate")


def holds_data(asked: bytes) -> bool:
    """Whether there is something in a body that `estimate` takes for no words, and counts as nothing."""
    return any(map(_is_data, _strings(msgspec.json.decode(asked), lambda _: True)))


def written(answer: bytes) -> list[str]:
    """Return the words in an answer of any dialect: plain JSON, or server-sent events."""
    found: list[str] = []
    for piece in _pieces(answer):
        try:
            found += _strings(msgspec.json.decode(piece), _WORDS.__contains__)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    return found


def _pieces(answer: bytes) -> Iterator[bytes]:
    if answer.lstrip()[:1] in (b"{", b"["):
        yield answer
        return
    for line in answer.splitlines():
        if line.startswith(b"data:"):
            yield line[5:].strip()


def _strings(value: Any, wanted: Callable[[str], bool]) -> Iterator[str]:  # noqa: ANN401 - JSON of any form
    """Return the strings in fields whose names are wanted, in order."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        name, each = waiting.pop()
        if isinstance(each, str) and wanted(name):
            yield each
        elif isinstance(each, list):
            waiting += [(name, item) for item in reversed(each)]
        elif isinstance(each, dict):
            waiting += reversed(each.items())


def _is_data(text: str) -> bool:
    return len(text) >= _DATA and " " not in text and _BASE64.fullmatch(text) is not None


def _count(texts: Iterable[str]) -> int:
    words = "".join(text for text in texts if not _is_data(text))
    return int(_vocabulary().count(words))


@cache
def _vocabulary() -> Any:  # noqa: ANN401 - what the package calls PyTokenizer, in an untyped extension
    """Load the vocabulary from the package's compiled part alone: its Python part takes seconds and builds tables."""
    package = importlib.util.find_spec("bpe_openai")
    assert package is not None
    assert package.submodule_search_locations is not None
    compiled = next(Path(package.submodule_search_locations[0]).glob("_bindings*.so"))
    spec = importlib.util.spec_from_file_location("_bindings", compiled)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.tokenizer_for_encoding("o200k_base")
