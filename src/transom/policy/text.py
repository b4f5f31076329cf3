"""Where things stand in a Cedar file. Pure.

Cedar's parser and validator say what is wrong but not where, so the words of a file are read here (by the token rules
of the Cedar grammar, https://docs.cedarpolicy.com/policies/syntax-grammar.html), policies are cut apart at their `;`,
and a message is traced back to the words it quotes.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence

import msgspec

_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n\r]*)
    |(?P<token>"(?:\\.|[^"\\])*"|[_a-zA-Z][_a-zA-Z0-9]*|[0-9]+|\?[_a-zA-Z]+
    |::|==|!=|<=|>=|&&|\|\||[@.,;:(){}\[\]<>+\-*/%!=])""",
    re.VERBOSE,
)
_QUOTED = re.compile(r"`([^`]+)`|'([^']+)'|: (\S+)$")


class Token(msgspec.Struct, frozen=True):
    """One word of a file; `start` and `end` are offsets in characters."""

    text: str
    start: int
    end: int


class Statement(msgspec.Struct, frozen=True):
    """One policy's words, from its first annotation to its `;`. `summary` is the comment right above it."""

    tokens: tuple[Token, ...]
    text: str
    summary: str

    @property
    def start(self) -> int:
        """Offset of its first character in the file."""
        return self.tokens[0].start


class BadText(Exception):
    """A character at `offset` belongs to no word of the language."""

    def __init__(self, message: str, offset: int) -> None:
        self.message = message
        self.offset = offset
        super().__init__(message)


def tokens(text: str) -> list[Token]:
    """Return the words of `text`, comments and white space left out. Raises `BadText`."""
    found, offset = [], 0
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        if match is None:
            if text[offset] == '"':
                raise BadText('the text that begins with this " is never closed', offset)
            raise BadText(f"{text[offset]!r} is not a word of the policy language", offset)
        if match.lastgroup == "token":
            found.append(Token(match.group(), match.start(), match.end()))
        offset = match.end()
    return found


def statements(text: str) -> list[Statement]:
    """Cut `text` into policies; what follows the last `;` is one more, unfinished. Raises `BadText`."""
    found: list[Statement] = []
    current: list[Token] = []
    last_end = 0
    words = tokens(text)
    for index, token in enumerate(words):
        current.append(token)
        if token.text == ";" or index == len(words) - 1:
            start = current[0].start
            found.append(Statement(tuple(current), text[start : token.end], _summary(text[last_end:start])))
            current, last_end = [], token.end
    return found


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Return line and column, both from 1, of the character at `offset`."""
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def offset_of_syntax_error(statement: Statement, message: str, says: Callable[[str], str | None]) -> int:
    """Return the offset in the file of the word at which the parser gave up with `message`.

    `says(text)` is the parser's message, `None` where it accepts. A table-driven parser accepts every beginning of a
    statement up to the offending word. A `;` put after a beginning that it accepts is either right or the first thing
    to be unexpected; so the first beginning after which something else is unexpected ends with the offending word.
    """
    words = statement.tokens
    if message == "unexpected end of input":
        return words[-1].end

    def is_past_it(count: int) -> bool:
        found = says(statement.text[: words[count - 1].end - statement.start] + " ;") or ""
        return found.startswith("unexpected token") and found != "unexpected token `;`"

    return words[bisect_left(range(1, len(words)), True, key=is_past_it)].start


def offset_of_quoted(statement: Statement, message: str) -> int:
    """Return the offset in the file of the first thing that `message` quotes, else of the statement."""
    for match in _QUOTED.finditer(message):
        offset = offset_of(statement, next(group for group in match.groups() if group))
        if offset is not None:
            return offset
    return statement.start


def offset_of(statement: Statement, quoted: str) -> int | None:
    """Return the offset in the file of the words `quoted` in the statement, `None` where they are not in it."""
    try:
        wanted = [token.text for token in tokens(quoted)]
    except BadText:
        wanted = []
    index = _index([token.text for token in statement.tokens], wanted)
    if index is not None:
        return statement.tokens[index].start
    at = statement.text.find(quoted)
    return statement.start + at if at >= 0 else None


def _index(words: Sequence[str], wanted: Sequence[str]) -> int | None:
    if not wanted:
        return None
    for index in range(len(words) - len(wanted) + 1):
        if words[index : index + len(wanted)] == wanted:
            return index
    return None


def _summary(before: str) -> str:
    """Return the comment lines right above a policy as one line; empty where a blank line parts them."""
    lines: list[str] = []
    for line in reversed(before.splitlines()):
        if not line.strip().startswith("//"):
            break
        lines.insert(0, line.strip().removeprefix("//").strip())
    return " ".join(lines)
