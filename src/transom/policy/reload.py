"""Policies from their files: all or nothing. Whoever reloads keeps the running set where this raises."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import cedarpy
import msgspec
from cedarpy import pst

from transom.errors import ConfigError, ConfigErrors
from transom.policy import text
from transom.policy.checks import Known, Problem, asks_region, check, nearest, obligations
from transom.policy.ruling import Policies, Policy
from transom.policy.vocabulary import ACTIONS, ATTRIBUTES, SCHEMA, TYPES
from transom.values import VersionName

_SCHEMA = cedarpy.Schema.from_str(SCHEMA)
_UNMATCHED = "unable to find an applicable action given the policy scope constraints"


class _File(msgspec.Struct, frozen=True):
    name: str
    text: str

    def problem(self, message: str, offset: int) -> ConfigError:
        line, column = text.line_and_column(self.text, offset)
        message = message if message.endswith((".", "?", "…")) else f"{message}."
        return ConfigError(message, file=self.name, line=line, column=column)


def load_policies(
    folder: Path,
    models: frozenset[VersionName],
    *,
    safeguards: frozenset[str],
    regions: frozenset[str] = frozenset(),
) -> Policies:
    """Read and check every `*.cedar` file of `folder`.

    `models` are the registry's versions, `safeguards` the safeguards there are and `regions` those of the upstreams: a
    policy that names another is refused. Raises `ConfigErrors` with every problem found, each with its file (`folder`'s
    own name and the file's), line and column, counted from 1 in characters.
    """
    known = Known(models, safeguards, regions)
    problems: list[ConfigError] = []
    policies: list[Policy] = []
    texts: dict[str, str] = {}
    for path in sorted(path for path in folder.glob("*.cedar") if not path.name.startswith(".")):
        try:
            file = _File(f"{folder.name}/{path.name}", path.read_bytes().decode())
        except (OSError, UnicodeDecodeError) as error:
            problems.append(ConfigError(f"cannot be read as UTF-8 text: {error}.", file=f"{folder.name}/{path.name}"))
            continue
        texts[file.name] = file.text
        for found in _read(file, known):
            if isinstance(found, Policy):
                policies.append(found)
            else:
                problems.append(found)
    problems += _same_ids(policies)
    if not policies and not problems:
        problems = [
            ConfigError(
                "holds no policy, so nothing would be permitted to anybody. Write a policy into a file ending "
                "in .cedar, or remove the folder and start Transom: it brings the starter set.",
                file=str(folder),
            )
        ]
    if problems:
        raise ConfigErrors(problems)
    return Policies(policies, texts)


def reread_policies(texts: Mapping[str, str], schema: str) -> Policies:
    """Make policies again out of texts that were in force once, by file name, and of the schema of then.

    They are not held to what there is now: models, safeguards and words of today. Raises `ConfigError`.
    """
    policies: list[Policy] = []
    for name, source in texts.items():
        file = _File(name, source)
        try:
            for statement in text.statements(source):
                (node,) = cedarpy.policies_to_pst(statement.text).static_policies.values()
                policies.append(_policy(file, statement, node))
        except (text.BadText, ValueError, KeyError) as error:
            raise ConfigError(f"cannot be read as policies: {error}.", file=name) from error
    return Policies(policies, texts, schema)


def _read(file: _File, known: Known) -> Iterator[Policy | ConfigError]:
    try:
        statements = text.statements(file.text)
    except text.BadText as error:
        yield file.problem(error.message, error.offset)
        return
    for statement in statements:
        yield from _read_one(file, statement, known)


def _read_one(file: _File, statement: text.Statement, known: Known) -> Iterator[Policy | ConfigError]:
    message = _parser_says(statement.text)
    if message is not None:
        yield _syntax_problem(file, statement, message)
        return
    parsed = cedarpy.policies_to_pst(statement.text)
    if parsed.templates:
        yield file.problem(
            "?principal and ?resource make a template, which rules nothing until it is linked. Name who and what.",
            text.offset_of_quoted(statement, "`?principal`, `?resource`"),
        )
        return
    (node,) = parsed.static_policies.values()
    problems = [*_validate(statement), *check(node, known)]
    for problem in problems:
        offset = text.offset_of(statement, problem.quoted) if problem.quoted else None
        yield file.problem(f"{_label(node)}{problem.message}", statement.start if offset is None else offset)
    if not problems:
        yield _policy(file, statement, node)


def _policy(file: _File, statement: text.Statement, node: pst.Template) -> Policy:
    line, column = text.line_and_column(file.text, statement.start)
    return Policy(
        id=node.annotations["id"],
        effect=node.effect,
        file=file.name,
        line=line,
        column=column,
        summary=statement.summary,
        obligations=obligations(node),
        asks_region=asks_region(node),
        node=dataclasses.replace(node, id=node.annotations["id"]),
    )


def _label(node: pst.Template) -> str:
    return f"policy `{node.annotations['id']}`: " if node.annotations.get("id") else ""


def _parser_says(source: str) -> str | None:
    """Return Cedar's message on `source`, `None` where it is well formed."""
    try:
        cedarpy.policies_to_pst(source)
    except ValueError as error:
        return str(error)
    return None


def _syntax_problem(file: _File, statement: text.Statement, message: str) -> ConfigError:
    if not message.startswith("unexpected"):
        return file.problem(message, text.offset_of_quoted(statement, message))
    offset = text.offset_of_syntax_error(statement, message, _parser_says)
    return file.problem(f"{message}. Look at the words right before it; every policy ends with `;`.", offset)


def _validate(statement: text.Statement) -> list[Problem]:
    """Return what Cedar's validator says of one policy, in Transom's words where they help more."""
    messages = [error.error for error in cedarpy.validate_policies(statement.text, _SCHEMA).errors]
    messages = list(dict.fromkeys(message.removeprefix("for policy `policy0`, ") for message in messages))
    if len(messages) > 1:
        messages = [message for message in messages if message != _UNMATCHED]
    return [Problem(f"{message}. {_remedy(message)}".strip(), _first_quoted(message)) for message in messages]


def _first_quoted(message: str) -> str:
    return message.split("`")[1] if message.count("`") >= 2 else ""


def _remedy(message: str) -> str:
    word = _first_quoted(message)
    if message == _UNMATCHED:
        return "No action fits this principal, action and resource together, so it can match nothing."
    if "optional attribute" in message:
        return f"Ask first: resource has {word} && …"
    if message.startswith("attribute"):
        return nearest(word, ATTRIBUTES)
    if message.startswith("unrecognized action"):
        return nearest(word.split('"')[1], ACTIONS)
    if message.startswith("unrecognized entity type"):
        return nearest(word, TYPES)
    return ""


def _same_ids(policies: list[Policy]) -> Iterator[ConfigError]:
    first: dict[str, Policy] = {}
    for policy in policies:
        other = first.setdefault(policy.id, policy)
        if other is not policy:
            yield ConfigError(
                f"@id({policy.id!r}) is taken: {other.file}:{other.line} has it. Give each policy its own.",
                file=policy.file,
                line=policy.line,
                column=policy.column,
            )
