"""What Cedar's validator lets pass and Transom does not: each rule yields problems with the words to point at. Pure.

Above all: a policy that can match nothing is an error, because it reads as a rule and is none.
"""

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Literal

import msgspec
from cedarpy import pst

from transom.config.duration import duration
from transom.policy.vocabulary import ANNOTATIONS, LADDERS, NAMES
from transom.values import DOOR, Obligations, VersionName

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "eq": operator.eq,
    "not_eq": operator.ne,
    "less": operator.lt,
    "less_eq": operator.le,
    "greater": operator.gt,
    "greater_eq": operator.ge,
}


class Problem(msgspec.Struct, frozen=True):
    """What is wrong and what to do; `quoted` are the words of the policy to point at, its beginning where empty."""

    message: str
    quoted: str = ""


class Known(msgspec.Struct, frozen=True):
    """What exists besides the schema: the registry's versions, the safeguards and the regions of upstreams."""

    models: frozenset[VersionName]
    safeguards: frozenset[str]
    regions: frozenset[str] = frozenset()
    """The regions that upstreams declare."""


def check(policy: pst.Template, known: Known) -> list[Problem]:
    """Return every problem of one policy that has parsed."""
    return [
        *_annotations(policy, known),
        *_entities(policy, known),
        *(problem for node in _walk(policy.clauses) for problem in _expression(node, known)),
    ]


def obligations(policy: pst.Template) -> Obligations:
    """Return what a policy that passed `check` obliges to."""
    notes = policy.annotations
    record: Literal["full", "commitment"] = "commitment" if notes.get("record") == "commitment" else "full"
    return Obligations(
        safeguards=tuple(sorted(_names(notes["safeguards"]))) if "safeguards" in notes else (),
        retain_seconds=int(duration(notes["retain"])) if "retain" in notes else None,
        record=record,
    )


def nearest(word: str, words: Iterable[str]) -> str:
    """Return a hint at the likeliest of `words`, else the list of them."""
    ordered = sorted(words)
    close = difflib.get_close_matches(word, ordered, n=1)
    if close:
        return f"Did you mean {close[0]}?"
    return f"It may be {', '.join(ordered)}." if ordered else "There is none."


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _annotations(policy: pst.Template, known: Known) -> Iterator[Problem]:
    if "id" not in policy.annotations:
        yield Problem(
            f"this {policy.effect} has no @id. Decisions name the policies that ruled them: "
            'write @id("what-it-does") before it'
        )
    for name, value in policy.annotations.items():
        if name not in ANNOTATIONS:
            yield Problem(f"@{name} is not an annotation that Transom knows. {nearest(name, ANNOTATIONS)}", f"@{name}")
        elif ANNOTATIONS[name].obliges and policy.effect == "forbid":
            yield Problem(
                f"@{name} says nothing on a forbid: what is forbidden obliges to nothing. Drop it", f"@{name}"
            )
        else:
            yield from (Problem(message, f"@{name}") for message in _value(name, value, known))


def _value(name: str, value: str, known: Known) -> Iterator[str]:
    """Yield what is wrong with the value of an annotation that Transom knows."""
    if name == "id" and not _ID.fullmatch(value):
        yield (
            f"@id({value!r}) must be 1 to 64 letters, digits, dots, dashes or underscores, "
            "beginning with a letter or a digit"
        )
    if name == "safeguards":
        for safeguard in _names(value):
            if safeguard not in known.safeguards:
                hint = nearest(safeguard, known.safeguards)
                yield f"@safeguards names {safeguard!r}, which is no safeguard. {hint}"
    if name == "retain":
        try:
            duration(value)
        except ValueError as error:
            yield f"@retain: {error}"
    if name == "record" and value not in {"full", "commitment"}:
        yield f'@record is {value!r}. Write @record("full") or @record("commitment")'


def _entities(policy: pst.Template, known: Known) -> Iterator[Problem]:
    for uid in sorted(pst.entity_uids(policy), key=str):
        kind = str(uid.type)
        if kind == "Model" and uid.id not in known.models:
            hint = nearest(uid.id, known.models)
            yield Problem(
                f"{uid} names no version of the registry, so it can match nothing. {hint} "
                "For every version of a model write resource.name == …",
                str(uid),
            )
        if kind == "Door" and uid.id != DOOR.id:
            yield Problem(f'{uid} can match nothing: the only door is Door::"{DOOR.id}"', str(uid))


def _walk(value: object) -> Iterator[object]:
    """Yield every node of a policy's expressions."""
    stack = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, tuple):
            stack.extend(reversed(node))
        elif isinstance(node, dict):
            stack.extend(node.values())
        elif is_dataclass(node):
            yield node
            stack.extend(getattr(node, field.name) for field in reversed(fields(node)))


def asks_region(policy: pst.Template) -> bool:
    """Whether a policy looks at `context.region`, or at the context as a whole."""
    nodes = list(_walk(policy.clauses))
    uses = sum(node == pst.Var("context") for node in nodes)
    others = sum(
        isinstance(node, pst.GetAttr) and node.base == pst.Var("context") and node.attr != "region" for node in nodes
    )
    return uses > others


def _expression(node: object, known: Known) -> Iterator[Problem]:
    if isinstance(node, pst.GetAttr) and isinstance(node.base, pst.EntityLit):
        yield Problem(
            f"{node.base.value}.{node.attr} cannot be known: policies see the attributes of what is asked for, "
            f"which is `resource`. Write resource == {node.base.value} and resource.{node.attr}",
            str(node.base.value),
        )
    if isinstance(node, pst.BinaryOp):
        yield from _comparison(node, known)


def _comparison(node: pst.BinaryOp, known: Known) -> Iterator[Problem]:
    attribute, literals = _asked(node.left), _literals(node.right)
    turned = attribute is None
    if turned:
        attribute, literals = _asked(node.right), _literals(node.left)
    if attribute is None or node.op not in {*_COMPARE, "contains"}:
        return
    names = NAMES.get(attribute)
    if attribute in {"context.region", "resource.regions"}:
        names = known.regions | {""} if attribute == "context.region" else known.regions
    if attribute == "resource.name":
        names = frozenset(version.partition("@")[0] for version in known.models)
    for literal in literals:
        if isinstance(literal, pst.StringLit) and names is not None and literal.value not in names:
            yield Problem(
                f'{attribute} is never "{literal.value}". {nearest(literal.value, names - {""})}',
                f'"{literal.value}"',
            )
        if isinstance(literal, pst.LongLit) and attribute in LADDERS and node.op in _COMPARE:
            yield from _always(attribute, node.op, literal.value, turned=turned)


def _always(attribute: str, op: str, value: int, *, turned: bool) -> Iterator[Problem]:
    """Refuse a comparison that comes out the same on every step of the ladder."""
    compare, steps = _COMPARE[op], range(LADDERS[attribute])
    outcomes = {compare(value, step) if turned else compare(step, value) for step in steps}
    if len(outcomes) == 1:
        said = "true" if outcomes.pop() else "false"
        yield Problem(
            f"this comparison of {attribute} with {value} is always {said}: "
            f"{attribute.partition('.')[2]} goes from 0 to {len(steps) - 1}",
            str(value),
        )


def _asked(expression: pst.Expr) -> str | None:
    """Return the attribute that an expression is, as in `resource.rung`, if it is one."""
    if isinstance(expression, pst.GetAttr) and isinstance(expression.base, pst.Var):
        return f"{expression.base.name}.{expression.attr}"
    return None


def _literals(expression: pst.Expr) -> tuple[pst.Expr, ...]:
    return expression.elements if isinstance(expression, pst.Set) else (expression,)
