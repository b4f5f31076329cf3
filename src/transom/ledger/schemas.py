"""The entries described for others: a JSON Schema for each type, and a document for people, both from the structs.

`transom ledger schemas FOLDER` writes them; a test holds the ones in docs/ to the structs.
"""

import ast
import inspect
import json
from collections.abc import Iterator, Mapping
from functools import cache
from textwrap import dedent
from typing import Any, Final, get_args

import msgspec

from transom.ledger.entry import Entry
from transom.ledger.fields import EntryPart

Schema = dict[str, Any]
_WORDS: Final[Mapping[str, str]] = {
    "EntryId": "UUIDv7",
    "Time": "time (RFC 3339, UTC, milliseconds)",
    "DigestText": "digest (`sha256:` and 64 hexadecimal digits)",
    "CommitmentText": "commitment (base64 of 32 bytes)",
    "SignatureText": "signature (base64 of 4 bytes of the key's id and 64 of Ed25519)",
    "Amount": "amount (decimal text)",
    "SubjectText": "pseudonym (`p_` and 20 hexadecimal digits)",
    "Word": "word (small letters, digits, dashes)",
    "PlainText": "up to 128 printable characters without spaces",
    "VersionText": "version (`name@version`)",
}
"""What the types of `ledger.fields` are called, by their names there."""
_INTRODUCTION: Final = """# The entries of the log

Made by `transom ledger schemas docs` from the structs that write and read them; a test holds it to them. Each type has
a JSON Schema of its own in [schema/](schema/). Every entry has a `type` besides, which is the heading here.

An entry is canonical JSON (RFC 8785) in UTF-8: keys sorted, no space, no floats. Money is decimal text, times are RFC
3339 in UTC with milliseconds. **A field that is missing means its default, never zero**; none is ever null. What is not
described here does not stand in an entry: that is checked when it is written, and when it is read. The leaf of the log
is the SHA-256 of a zero byte and exactly these bytes: whoever verifies hashes them as served, and writes nothing again.

The number in a type is its version. A type gains fields only if they may be missing, and keeps its number; a field that
must be there, or that means something else than before, makes the next number, and both are read for ever
([0016](decisions/0016-keys-apart.md)). Entries hold no content, no names and no sentence that somebody typed: callers
are [pseudonyms](words.md), contents are commitments, reasons are words.
"""


def types() -> Mapping[str, type[EntryPart]]:
    """Return the struct of every type of entry, by the type as entries say it."""
    found: dict[str, type[EntryPart]] = {}
    for struct in get_args(Entry):
        tag = struct.__struct_config__.tag
        assert isinstance(tag, str)
        found[tag] = struct
    return found


def schema_of(struct: type[EntryPart]) -> Schema:
    """Return the JSON Schema (2020-12) of one type of entry."""
    tag = struct.__struct_config__.tag
    (reference,), components = msgspec.json.schema_components((struct,), ref_template="#/$defs/{name}")
    parts = {name: _readable(schema, name) for name, schema in components.items()}
    whole = parts.pop(reference["$ref"].rpartition("/")[2])
    named = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"Transom ledger entry {tag}"}
    return named | {key: value for key, value in whole.items() if key != "title"} | ({"$defs": parts} if parts else {})


def files() -> Mapping[str, str]:
    """Return every file of the description, by its path: the schemas and the document."""
    described = {
        f"schema/{tag.replace('/', '-')}.json": json.dumps(schema_of(struct), indent=2, ensure_ascii=False) + "\n"
        for tag, struct in types().items()
    }
    return described | {"ledger-entries.md": _document()}


def _readable(schema: Schema, name: str) -> Schema:
    """Make of msgspec's schema one for others: expressions end in `$`, nothing is null, fields say what they mean."""
    said = _meanings(name)
    read: Schema = json.loads(json.dumps(schema).replace("\\\\Z", "$"))
    for field, described in read.get("properties", {}).items():
        never_null = [each for each in described.get("anyOf", ()) if each != {"type": "null"}]
        if len(never_null) == 1:
            del described["anyOf"], described["default"]
            described.update(never_null[0])
        if field in said:
            described["description"] = said[field]
    return read


@cache
def _structs() -> Mapping[str, type[EntryPart]]:
    """Return every struct that entries are made of, by name."""
    known: dict[str, type[EntryPart]] = {}
    waiting: list[type[EntryPart]] = [EntryPart]
    while waiting:
        for struct in waiting.pop().__subclasses__():
            known[struct.__name__] = struct
            waiting.append(struct)
    return known


@cache
def _meanings(name: str) -> Mapping[str, str]:
    """Return what is said below each field of a struct and of those that it is made from, by the field's JSON name."""
    said: dict[str, str] = {}
    struct = _structs()[name]
    for each in reversed(struct.__mro__):
        if issubclass(each, EntryPart):
            encoded = {field.name: field.encode_name for field in msgspec.structs.fields(each)}
            said |= {encoded[field]: text for field, text in _said_in_source(each)}
    return said


def _said_in_source(struct: type) -> Iterator[tuple[str, str]]:
    (body,) = ast.parse(dedent(inspect.getsource(struct))).body
    assert isinstance(body, ast.ClassDef)
    for field, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(after, ast.Expr):
            said = ast.literal_eval(after.value)
            yield field.target.id, " ".join(str(said).split())


def _document() -> str:
    parts: dict[str, str] = {}
    lines = [_INTRODUCTION]
    for tag, struct in sorted(types().items()):
        lines += [f"\n## {tag}\n", f"{_first(struct)} Schema: [{tag}](schema/{tag.replace('/', '-')}.json).\n"]
        lines += _table(struct, parts)
    lines.append("\n## Parts of entries\n")
    told: set[str] = set()
    while waiting := sorted(parts.keys() - told):
        for name in waiting:
            told.add(name)
            lines += [f"\n### {name}\n", f"{_first(_structs()[name])}\n", *_table(_structs()[name], parts)]
    return "\n".join(lines) + "\n"


def _first(struct: type) -> str:
    return " ".join((inspect.getdoc(struct) or "").split())


def _table(struct: type[EntryPart], parts: dict[str, str]) -> Iterator[str]:
    """Give a table of the fields of a struct; the structs that they hold are added to `parts`."""
    yield "| field | is | |"
    yield "| --- | --- | --- |"
    annotations = {name: text for each in reversed(struct.__mro__) for name, text in _annotations(each).items()}
    meanings = _meanings(struct.__name__)
    for field in msgspec.structs.fields(struct):
        needed = "" if field.required else "may be missing; "
        meaning = meanings.get(field.encode_name, "")
        kind = _kind(annotations[field.name], parts)
        yield f"| `{field.encode_name}` | {kind} | {needed}{meaning} |".replace("; |", " |")


def _annotations(struct: type) -> Mapping[str, ast.expr]:
    if not issubclass(struct, EntryPart):
        return {}
    (body,) = ast.parse(dedent(inspect.getsource(struct))).body
    assert isinstance(body, ast.ClassDef)
    return {
        each.target.id: each.annotation
        for each in body.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }


def _kind(annotation: ast.expr, parts: dict[str, str]) -> str:
    """Say in words what an annotation allows."""
    if isinstance(annotation, ast.BinOp):  # `X | None`: missing, never null
        return _kind(annotation.left, parts)
    if isinstance(annotation, ast.Subscript):
        return _kind_of_many(annotation, parts)
    name = ast.unparse(annotation)
    if name in _structs():
        parts[name] = name
        return f"[{name}](#{name.lower()})"
    return _WORDS.get(name) or _PLAIN.get(name, name)


_PLAIN: Final[Mapping[str, str]] = {
    "str": "text",
    "int": "whole number",
    "bool": "true or false",
    "Count": "whole number",
    "DecisionRef": "a decision's id (UUIDv7)",
    "Pseudonym": "pseudonym",
    "Effect": "`permit` or `forbid`",
    "Status": "`answered`, `blocked`, `refused`, `failed`, `abandoned`, `interrupted`",
    "VerdictName": "`pass`, `flag`, `redact`, `block`, `not run`",
    "Rung": "a [rung](words.md)",
    "Openness": "an [openness](words.md)",
}


def _kind_of_many(annotation: ast.Subscript, parts: dict[str, str]) -> str:
    outer, inner = ast.unparse(annotation.value), annotation.slice
    items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if outer == "Literal":
        return ", ".join(f"`{ast.literal_eval(each)}`" for each in items)
    if outer == "tuple":
        return f"list of: {_kind(items[0], parts)}"
    return f"object, for each {_kind(items[0], parts)}: {_kind(items[1], parts)}"
