"""The description of the entries is the one of the structs, and says of real entries what they are."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.making import DIGEST, decision, outcome

from transom.ledger import schemas
from transom.ledger.entry import (
    AnswerPart,
    AttemptPart,
    CommitmentPart,
    CostPart,
    Entry,
    TimesPart,
    UsagePart,
    VerdictPart,
    encode,
    type_of,
)

DOCS = Path(__file__).resolve().parents[2] / "docs"
COMMITMENT = "A" * 43 + "="
DESCRIBED = schemas.files()


@pytest.mark.parametrize("name", DESCRIBED)
def test_the_documents_are_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == DESCRIBED[name], "run: transom ledger schemas docs"


def test_nothing_is_described_that_is_not() -> None:
    assert {f"schema/{path.name}" for path in (DOCS / "schema").iterdir()} == DESCRIBED.keys() - {"ledger-entries.md"}


def test_every_type_and_every_field_stands_in_the_document() -> None:
    document = DESCRIBED["ledger-entries.md"]
    for tag, struct in schemas.types().items():
        section = document.partition(f"\n## {tag}\n")[2].partition("\n## ")[0]
        for field in struct.__struct_encode_fields__:
            assert f"| `{field}` |" in section, (tag, field)


def allows(schema: Any, whole: Any, value: Any) -> bool:
    """As much of JSON Schema as the schemas use."""
    if "$ref" in schema:
        return allows(whole["$defs"][schema["$ref"].removeprefix("#/$defs/")], whole, value)
    if "enum" in schema:
        return value in schema["enum"]
    return _KINDS[schema["type"]](schema, whole, value)


def text(schema: Any, _whole: Any, value: Any) -> bool:
    return isinstance(value, str) and re.search(schema.get("pattern", ""), value) is not None


def number(schema: Any, _whole: Any, value: Any) -> bool:
    return type(value) is int and bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))


def items(schema: Any, whole: Any, value: Any) -> bool:
    return isinstance(value, list) and all(allows(schema["items"], whole, each) for each in value)


def fields(schema: Any, whole: Any, value: Any) -> bool:
    properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    return set(schema.get("required", ())) <= value.keys() and all(
        allows(properties[name], whole, each) if name in properties else more is not False and allows(more, whole, each)
        for name, each in value.items()
    )


_KINDS: dict[str, Callable[[Any, Any, Any], bool]] = {
    "string": text,
    "integer": number,
    "boolean": lambda _schema, _whole, value: isinstance(value, bool),
    "array": items,
    "object": fields,
}


SCANNED = VerdictPart(
    safeguard="secrets", stage="prompt", verdict="flag", findings={"email": 2}, bytes_scanned=5, mode="whole"
)
WHOLE = decision(verdicts=(SCANNED,), route=("near",), prompt=CommitmentPart(commitment=COMMITMENT, size=5))
ENDED = outcome(
    WHOLE,
    http_status=200,
    attempts=(AttemptPart(upstream="near", result="200", milliseconds=4),),
    usage=UsagePart(input=1, source="upstream"),
    cost=CostPart(amount="0.25", currency="USD", prices=DIGEST),
    answer=AnswerPart(commitment=COMMITMENT, size=1, complete=True),
    milliseconds=TimesPart(total=5),
)


@pytest.mark.parametrize("entry", [decision(), WHOLE, outcome(decision()), ENDED], ids=type_of)
def test_real_entries_are_as_described_and_altered_ones_are_not(entry: Entry) -> None:
    schema = schemas.schema_of(schemas.types()[type_of(entry)])
    value = json.loads(encode(entry))
    assert allows(schema, schema, value)
    for wrong in (
        value | {"type": "other/1"},
        value | {"more": 1},
        value | {"id": "no id"},
        value | {"at": value["at"] + " "},
        {name: each for name, each in value.items() if name != "id"},
    ):
        assert not allows(schema, schema, wrong)
