"""The words that policies may use, as shipped: the schema, the starter set."""

from importlib.resources import files

import msgspec

from transom.values import OPENNESS, RUNGS

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
    "read_budgets",
    "read_ledger",
    "read_metrics",
    "view_console",
    "manage_keys",
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
    "region",
)
"""What a policy may ask of a model, and (the last three) of the context."""

LADDERS = {"rung": len(RUNGS), "openness": len(OPENNESS)}
"""Attributes of a model that count up a ladder, with the number of its steps."""

NAMES: dict[str, frozenset[str]] = {
    "rung_name": frozenset(RUNGS),
    "openness_name": frozenset(OPENNESS),
    "kind": frozenset({"chat", "embedding"}),
}
"""Attributes of a model that hold one of a few names."""


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
