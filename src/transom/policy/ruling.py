"""Rulings: what the policies say of one request. Pure: no I/O, no clock.

A ruling is remembered under exactly what Cedar saw, so a remembered one is the one that Cedar would give again.
"""

import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import cedarpy
import msgspec
import rfc8785
from cedarpy import pst

from transom.config.digest import digest
from transom.errors import TransomError
from transom.policy.vocabulary import SCHEMA
from transom.values import Caller, Context, Effect, Obligations, Resource, Ruling

ERROR = "error:"
"""In a ruling's `policies`, `error:<id>` stands for a policy that could not be evaluated: the effect is forbid.

An `@id` holds no colon, so none can be taken for an error.
"""

ENGINE = f"cedarpy {importlib.metadata.version('cedarpy')}"
"""What evaluates policies."""

_GENERATION = 8_192
_Key = tuple[Caller, str, str, str, str, Context]


class Policy(msgspec.Struct, frozen=True):
    """One policy as declared: where it stands, what its comment says, what it obliges to where it permits."""

    id: str
    effect: Effect
    file: str
    line: int
    column: int
    summary: str
    obligations: Obligations
    node: pst.Template
    asks_region: bool = False
    """It may rule otherwise for another upstream of the same route."""


class Question(msgspec.Struct, frozen=True):
    """What Cedar is asked, whole: from this and a set of policies follows the ruling. `engine` is what was asked."""

    principal: str
    action: str
    resource: tuple[str, str]
    """Its type and id."""
    context: Mapping[str, object]
    entities: Sequence[Mapping[str, object]]
    engine: str


class Policies:
    """A set of policies that never changes; a reload makes another.

    `files` maps each file's name to its digest, and `texts` each digest (the schema's too) to its text. `source` is
    the set's canonical bytes (RFC 8785 JSON of `files` and the schema's digest), and `digest` is their SHA-256: whoever
    keeps `source` and `texts` under their digests can have an old request ruled again.
    """

    def __init__(self, policies: Iterable[Policy], texts: Mapping[str, str], schema_text: str = SCHEMA) -> None:
        """`texts`: the files' by name. `schema_text`: an older one, for policies that are read again."""
        schema = digest(schema_text.encode())
        self.policies = MappingProxyType({policy.id: policy for policy in policies})
        self.files = MappingProxyType({name: digest(text.encode()) for name, text in sorted(texts.items())})
        self.texts = MappingProxyType({schema: schema_text, **{self.files[name]: text for name, text in texts.items()}})
        self.source = rfc8785.dumps({"files": {**self.files}, "schema": schema})
        self.digest = digest(self.source)
        self.ask_region = any(policy.asks_region for policy in self.policies.values())
        """Whether a ruling may differ between upstreams of one route."""
        self._schema = cedarpy.Schema.from_str(schema_text)
        nodes = {policy.id: policy.node for policy in self.policies.values()}
        self._cedar = cedarpy.PolicySet.from_pst(pst.PolicySet(templates={}, static_policies=nodes, template_links=()))
        self._young: dict[_Key, Ruling] = {}
        self._old: dict[_Key, Ruling] = {}

    def rule(self, caller: Caller, action: str, resource: Resource, context: Context) -> Ruling:
        """Say whether `caller` may do `action` (a word of `vocabulary.ACTIONS`) to `resource`.

        The ruling names the policies that decided: the permits of a permit, the forbids of a forbid, none where
        nothing permitted. Where any policy could not be evaluated, nothing is permitted, and `policies` holds
        `error:<id>` for it. Raises `TransomError` where the request is not one that the schema knows.
        """
        key = (caller, action, resource.type, resource.id, resource.digest, context)
        ruling = self._young.get(key)
        return self._remember(key, caller, resource) if ruling is None else ruling

    def _remember(self, key: _Key, caller: Caller, resource: Resource) -> Ruling:
        """Bounded without bookkeeping on a hit: what has not been asked for in a whole generation is forgotten."""
        ruling = self._old.get(key)
        if ruling is None:
            ruling = self.evaluate(caller, key[1], resource, key[5])
        if len(self._young) >= _GENERATION:
            self._old, self._young = self._young, {}
        self._young[key] = ruling
        return ruling

    @property
    def remembered(self) -> int:
        """How many rulings are remembered: at most twice 8,192."""
        return len(self._young) + len(self._old)

    def evaluate(self, caller: Caller, action: str, resource: Resource, context: Context) -> Ruling:
        """Rule as `rule` does, from nothing remembered."""
        return self.answer(_asked(caller, action, resource, context))

    def answer(self, asked: bytes) -> Ruling:
        """Rule on a question as it was written down: the `asked` of another ruling. Raises `TransomError`."""
        question = msgspec.json.decode(asked, type=Question)
        type_, id_ = question.resource
        try:
            entities = cedarpy.Entities.from_json_str(msgspec.json.encode(question.entities).decode(), self._schema)
        except ValueError as error:
            raise TransomError(f"Policies cannot rule on {type_} {id_}: {error}") from error
        found = cedarpy.is_authorized(
            {
                "principal": {"type": "Caller", "id": question.principal},
                "action": {"type": "Action", "id": question.action},
                "resource": {"type": type_, "id": id_},
                "context": question.context,
            },
            self._cedar,
            entities,
            self._schema,
        )
        if found.decision is cedarpy.Decision.NoDecision:
            raise TransomError(f"Policies cannot rule on {question.action} of {type_}: {found.diagnostics.errors}")
        return self._ruling(found, asked)

    def _ruling(self, found: cedarpy.AuthzResult, asked: bytes) -> Ruling:
        reasons = tuple(sorted(found.diagnostics.reasons))
        if found.diagnostics.errors:
            forbids = () if found.allowed else reasons
            failed = {ERROR + _failed_policy(message) for message in found.diagnostics.errors}
            return Ruling("forbid", tuple(sorted({*forbids, *failed})), Obligations(), self.digest, asked)
        if not found.allowed:
            return Ruling("forbid", reasons, Obligations(), self.digest, asked)
        obligations = combine(self.policies[reason].obligations for reason in reasons)
        return Ruling("permit", reasons, obligations, self.digest, asked)


def combine(obligations: Iterable[Obligations]) -> Obligations:
    """Return what all of `obligations` demand: every safeguard, the shortest retention, the least recorded."""
    every = tuple(obligations)
    retains = [each.retain_seconds for each in every if each.retain_seconds is not None]
    record: Literal["full", "commitment"] = (
        "commitment" if any(each.record == "commitment" for each in every) else "full"
    )
    return Obligations(
        safeguards=tuple(sorted({name for each in every for name in each.safeguards})),
        retain_seconds=min(retains, default=None),
        record=record,
    )


def _asked(caller: Caller, action: str, resource: Resource, context: Context) -> bytes:
    groups = [{"type": "Group", "id": group} for group in caller.groups]
    asking = {
        "kind": caller.kind,
        "service": caller.service,
        "models": caller.models,
        "networks": caller.networks,
    }
    entities = [
        {"uid": {"type": "Caller", "id": caller.id}, "attrs": asking, "parents": groups},
        {"uid": {"type": resource.type, "id": resource.id}, "attrs": dict(resource.attributes), "parents": []},
    ]
    said = msgspec.to_builtins(context)
    return msgspec.json.encode(
        Question(caller.id, action, (resource.type, resource.id), said, entities, ENGINE), order="sorted"
    )


def _failed_policy(message: str) -> str:
    """Return the id in "error while evaluating policy `id`: …", the message that Cedar gives instead of the id."""
    return message.partition("`")[2].partition("`")[0]
