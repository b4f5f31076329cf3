"""Settings files: TOML in, frozen structs out, every problem with its place.

A file is read piece by piece (section, entry, field), so that one reading finds as many problems as it can.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from transom.config.duration import Duration, duration
from transom.config.position import Path as KeyPath
from transom.config.position import Place, locate
from transom.config.secrets import SecretRef
from transom.errors import ConfigError, ConfigErrors

_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_AT = re.compile(r" - at `[^`]*`$")
_EXPECTED = re.compile(r"Expected `([^`]+)`(.*), got `([^`]+)`")
_LISTS = frozenset((list, tuple, set, frozenset))
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list [ … ]",
    "object": "a table",
    "datetime": "a date and time",
    "date": "a date",
    "time": "a time of day",
}


class Source(msgspec.Struct, frozen=True):
    """A settings file as it was read: the name that errors show, and its bytes."""

    file: str
    data: bytes

    @contextmanager
    def placing(self) -> Iterator[None]:
        """Give every `ConfigError` of the block that names a key path in `file` the place of it; see `relocate`.

        For what only proves wrong later, when a value is used. Raises `ConfigErrors`.
        """
        try:
            yield
        except ConfigError as error:
            problems = error if isinstance(error, ConfigErrors) else ConfigErrors([error])
            # `from None`: it says the same, and what was raised while a secret was read stays out of every traceback.
            raise relocate(problems, self.data, self.file) from None


def read(path: Path) -> Source:
    """Read the settings file `path`. Raises `ConfigErrors` where it cannot be read."""
    try:
        return Source(str(path), path.read_bytes())
    except OSError as error:
        problem = ConfigError(f"cannot be read: {error.strerror}. Make it readable.", file=str(path))
        raise ConfigErrors([problem]) from error


def parse(data: bytes, file: str, sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return each section of a settings file as its type says, the defaults where a section is absent.

    `sections` maps each top-level table's name to a msgspec struct, or to `dict[str, Struct]`. `file` is the name
    shown in errors. Raises `ConfigErrors` with every problem found, in the order of the file, each with line and
    column counted from 1: broken TOML, fields that do not exist, are missing or hold the wrong thing, and secrets
    written in the clear, whose text is never shown.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigErrors([ConfigError("is not UTF-8 text. Save it as UTF-8.", file=file, line=line)]) from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigErrors([_syntax_problem(str(error), text, file)]) from error
    reading = _Reading(file, locate(text))
    reading.names(document, list(sections), ())
    values = {
        name: reading.value(document.get(name, _absent(wanted)), wanted, (name,)) for name, wanted in sections.items()
    }
    if reading.problems:
        raise ConfigErrors(sorted(reading.problems, key=lambda problem: (problem.line or 0, problem.column or 0)))
    return values


def relocate(problems: ConfigErrors, data: bytes, file: str) -> ConfigErrors:
    """Return `problems` of values read from `data`, each at the place of the key path that its `file` names.

    For checks that come after reading, which know a value's path (`models.NAME.route.0`) but not where it stands.
    `data` must be the TOML that `parse` accepted; a problem whose `file` is no path of it is kept as it is.
    """
    places = {".".join(map(str, path)): (path, place) for path, place in locate(data.decode()).items()}
    placed = []
    for problem in problems.problems:
        found = places.get(problem.file or "")
        if found is not None:
            path, place = found
            what = f"{dotted(path)}: {problem.what}"
            placed.append(ConfigError(what, file=file, line=place.value_line, column=place.value_column))
        else:
            placed.append(problem)
    return ConfigErrors(placed)


def _absent(wanted: Any) -> object:  # noqa: ANN401  a type, of whatever form
    """Return what a section that is not there is read as."""
    return [] if get_origin(wanted) in _LISTS else {}


class _Reading:
    """One reading of one file, and the problems found so far."""

    def __init__(self, file: str, places: Mapping[KeyPath, Place]) -> None:
        self.file = file
        self.places = places
        self.problems: list[ConfigError] = []

    def value(self, value: object, wanted: Any, path: KeyPath) -> Any:  # noqa: ANN401  a settings value is of any type
        """Return `value` as `wanted`, or note every problem and return `None`."""
        before = len(self.problems)
        self._parts(value, _alternative(wanted, value), path)
        if len(self.problems) > before:
            return None
        try:
            return msgspec.convert(value, wanted, strict=True, dec_hook=_decode)
        except msgspec.ValidationError as error:
            self._note(path, f"{dotted(path)} {_wrong(_AT.sub('', str(error)), wanted, value)}", at_value=True)
            return None

    def names(self, table: Mapping[str, object], known: list[str], path: KeyPath) -> None:
        """Note every key of `table` that is not `known`."""
        for name in table:
            if name not in known:
                self._note((*path, name), f"{dotted((*path, name))} is not a setting. {_nearest(name, known)}")

    def _parts(self, value: object, wanted: Any, path: KeyPath) -> None:  # noqa: ANN401  a type, of whatever form
        """Read what is inside a table or a list, each part for itself."""
        arguments = get_args(wanted)
        if isinstance(value, dict) and isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
            self._fields(value, wanted, path)
        elif isinstance(value, dict) and get_origin(wanted) in {dict, Mapping} and len(arguments) == 2:
            for name, entry in value.items():
                self.value(entry, arguments[1], (*path, name))
        elif isinstance(value, list) and get_origin(wanted) in _LISTS:
            for index, item in enumerate(value):
                self.value(item, arguments[0], (*path, index))

    def _fields(self, table: Mapping[str, object], struct: type[msgspec.Struct], path: KeyPath) -> None:
        fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
        self.names(table, list(fields), path)
        for name, field in fields.items():
            if name in table:
                self.value(table[name], field.type, (*path, name))
            elif field.required:
                self._note(path, f"{dotted(path)} needs {name}, which is missing. Add {name} = …")

    def _note(self, path: KeyPath, message: str, *, at_value: bool = False) -> None:
        while path and path not in self.places:
            path = path[:-1]
        place = self.places.get(path)
        if place is None:
            self.problems.append(ConfigError(message, file=self.file))
            return
        line, column = (place.value_line, place.value_column) if at_value else (place.line, place.column)
        self.problems.append(ConfigError(message, file=self.file, line=line, column=column))


def dotted(path: KeyPath) -> str:
    """Return a path as one would write it in TOML, elements of lists in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = re.fullmatch(r"[A-Za-z0-9_-]+", part, re.ASCII)
            text += ("." if text else "") + (part if bare else f'"{part}"')
    return text


def _alternative(wanted: Any, value: object) -> Any:  # noqa: ANN401  types, of whatever form
    """Return the alternative of a union that a table or a list can be; any other type as it is."""
    if get_origin(wanted) is Annotated:
        return _alternative(get_args(wanted)[0], value)
    if get_origin(wanted) not in {Union, UnionType}:
        return wanted
    for member in get_args(wanted):
        is_table = get_origin(member) in {dict, Mapping} or (
            isinstance(member, type) and issubclass(member, msgspec.Struct)
        )
        is_list = get_origin(member) in {list, tuple, set, frozenset}
        if (is_table and isinstance(value, dict)) or (is_list and isinstance(value, list)):
            return member
    return wanted


def _members(wanted: Any) -> tuple[Any, ...]:  # noqa: ANN401  types, of whatever form
    return get_args(wanted) if get_origin(wanted) in {Union, UnionType} else (wanted,)


def _decode(wanted: type, value: object) -> object:
    if wanted is not Duration:
        raise NotImplementedError(f"settings cannot hold {wanted}")
    if not isinstance(value, str):
        raise TypeError('must be a length of time in quotes, such as "30d" or "90s"')
    return duration(value)


def _wrong(message: str, wanted: Any, value: object) -> str:  # noqa: ANN401  a type, of whatever form
    """Return msgspec's message in words, with the remedy. Never shows a value that may be a secret."""
    members = _members(wanted)
    if SecretRef in members and not isinstance(value, dict):
        return (
            "holds a secret in the clear, or something else that is no reference. Replace the secret at its source, "
            'since files get copied; then name where the new one is: { env = "NAME" } or { file = "/path" }.'
        )
    choices = [choice for member in members if get_origin(member) is Literal for choice in get_args(member)]
    if choices:
        return f"is not one of its choices. {_nearest(str(value), [str(choice) for choice in choices])}"
    match = _EXPECTED.fullmatch(message)
    if match is None:
        return _with_words(message)
    expected = " or ".join(_WORDS.get(name, name) for name in match[1].split(" | ") if name != "null")
    return f"must be {expected}{match[2]}, not {_WORDS.get(match[3], match[3])}.{_quotes(match[1], value)}"


def _with_words(message: str) -> str:
    message = re.sub(r"^Expected `([^`]+)`", lambda match: f"must be {_WORDS.get(match[1], match[1])}", message)
    message = message if message.startswith("must be") else f"is wrong: {message}"
    return message if message.endswith((".", "?")) else f"{message}."


def _quotes(expected: str, value: object) -> str:
    if isinstance(value, str) and not {"array", "object"} & set(expected.split(" | ")):
        return " Write it without quotes."
    if "str" in expected.split(" | ") and isinstance(value, bool | int | float):
        return " Put it in quotes."
    return ""


def _nearest(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    if close:
        return f"Did you mean {close[0]}?"
    return f"It may be {', '.join(known)}." if known else "Remove it."


def _syntax_problem(message: str, text: str, file: str) -> ConfigError:
    match = _TOML_PLACE.search(message)
    what = f"{_TOML_PLACE.sub('', message)}: this is not TOML. Correct it here or right before."
    if match is None or match[1] is None:
        return ConfigError(what, file=file, line=text.count("\n") + 1)
    return ConfigError(what, file=file, line=int(match[1]), column=int(match[2]))
