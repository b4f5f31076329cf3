"""The words that policies may use, as shipped: the schema, the starter set."""

from importlib.resources import files
from typing import get_args

import msgspec

from transom.values import OPENNESS, RUNGS, CallerKind

_HERE = files(__package__)

SCHEMA = (_HERE / "schema.cedarschema").read_text(encoding="utf-8")
"""The Cedar schema, as text."""

ACTIONS = (
    "infer",
    "embed",
    "view_model",
    "list_models",
    "download_weights",
    "read_decisions",
    "read_content",
    "read_receipt",
    "export_decisions",
    "erase",
    "read_budgets",
    "read_ledger",
    "witness",
    "read_metrics",
    "view_console",
    "manage_keys",
    "issue_key",
    "reload",
)
"""Everything that can be asked for."""

TYPES = ("Caller", "Group", "Model", "Door", "Action")
"""The types of entities."""

ATTRIBUTES = (
    "name",
    "version",
    "kind",
    "rung",
    "rung_name",
    "openness",
    "openness_name",
    "open",
    "licence",
    "producer",
    "upstreams",
    "regions",
    "stream",
    "loopback",
    "flagged",
    "own",
    "region",
    "groups",
    "service",
    "models",
    "networks",
)
"""What a policy may ask: of a model (the first twelve), of the context, of who asks."""

LADDERS = {"resource.rung": len(RUNGS), "resource.openness": len(OPENNESS)}
"""Attributes of a model that count up a ladder, with the number of its steps."""

NAMES: dict[str, frozenset[str]] = {
    "resource.rung_name": frozenset(RUNGS),
    "resource.openness_name": frozenset(OPENNESS),
    "resource.kind": frozenset({"chat", "embedding"}),
    "principal.kind": frozenset(get_args(CallerKind)),
}
"""Attributes that hold one of a few names."""


class Annotation(msgspec.Struct, frozen=True):
    """An annotation that Transom understands, with an example for error texts."""

    name: str
    example: str
    obliges: bool
    """It obliges Transom where the policy permits, so it says nothing on a forbid."""


ANNOTATIONS = {
    annotation.name: annotation
    for annotation in (
        Annotation("id", '@id("developers-use-models")', obliges=False),
        Annotation("safeguards", '@safeguards("secrets")', obliges=True),
        Annotation("retain", '@retain("30d")', obliges=True),
        Annotation("record", '@record("commitment")', obliges=True),
    )
}


def starter_files() -> dict[str, str]:
    """Return the starter set: file name to text, to be written into an empty `policies/`."""
    return {
        file.name: file.read_text(encoding="utf-8")
        for file in sorted((_HERE / "starter").iterdir(), key=lambda file: file.name)
        if file.name.endswith(".cedar")
    }
