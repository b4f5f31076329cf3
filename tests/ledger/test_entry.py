import uuid
from collections.abc import Callable
from datetime import datetime
from typing import get_args

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from tests.ledger.making import DIGEST, NOW, decision, outcome

from transom.errors import LedgerError
from transom.ledger.acts import (
    AccessEntry,
    ErasureEntry,
    EvidenceEntry,
    FlawEntry,
    GateEntry,
    GrantEntry,
    KeyEntry,
    LookEntry,
    ModelEntry,
    NotePart,
    PolicyEntry,
    ReleaseEntry,
    RepairEntry,
    SettingsEntry,
    SignerEntry,
    SubjectEntry,
)
from transom.ledger.entry import (
    MAX_BYTES,
    AnswerPart,
    AttemptPart,
    CommitmentPart,
    CostPart,
    Entry,
    ObligationsPart,
    TimesPart,
    UsagePart,
    VerdictPart,
    decode,
    encode,
    new_id,
    timestamp,
    type_of,
)
from transom.ledger.fields import MAX_INTEGER
from transom.values import DecisionId, Pseudonym

COMMITMENT = "A" * 43 + "="
WHEN = timestamp(NOW)
WHO = Pseudonym("p_" + "0" * 20)

texts = st.text(st.characters(exclude_categories=["Cs"]))
counts = st.integers(0, MAX_INTEGER)


def test_every_character_is_written_as_rfc_8785_writes_it() -> None:
    encoder = msgspec.json.Encoder(order="sorted")
    for block in range(0, 0x110000, 0x100):
        text = "".join(chr(code) for code in range(block, block + 0x100) if not 0xD800 <= code < 0xE000)
        assert encoder.encode(text) == rfc8785.dumps(text)


@given(action=texts, build=texts, findings=st.dictionaries(texts, counts), scanned=counts, route=st.lists(texts))
def test_an_entry_is_canonical_whatever_it_holds(
    action: str, build: str, findings: dict[str, int], scanned: int, route: list[str]
) -> None:
    verdict = VerdictPart(
        safeguard="secrets", stage="prompt", verdict="flag", findings=findings, bytes_scanned=scanned, mode="whole"
    )
    entry = decision(action=action, build=build, verdicts=(verdict,), route=tuple(route))
    data = encode(entry)
    assert data == rfc8785.dumps(msgspec.to_builtins(entry))
    assert decode(data) == entry


def test_keys_beyond_the_basic_plane_are_sorted_by_utf_16() -> None:
    entry = PolicyEntry(id=new_id(NOW), at=WHEN, digest=DIGEST, files={"\uffff": DIGEST, "\U00010000": DIGEST})
    data = encode(entry).decode()
    assert data.index("\U00010000") < data.index("\uffff")


def full_outcome() -> Entry:
    return outcome(
        decision(),
        http_status=200,
        reason="none",
        upstream="local",
        model="smol",
        attempts=(AttemptPart(upstream="vendor", result="timeout", milliseconds=5),),
        usage=UsagePart(input=0, output=7, source="upstream"),
        cost=CostPart(amount="0.000012", currency="EUR", prices=DIGEST),
        answer=AnswerPart(commitment=COMMITMENT, size=9, complete=False),
        milliseconds=TimesPart(total=3, upstream=2, durable_wait=0),
    )


def full_decision() -> Entry:
    return decision(
        rung="api",
        openness="open-weights",
        stream=True,
        obligations=ObligationsPart(safeguards=("secrets",), retain_seconds=60, record="commitment"),
        route=("local",),
        prompt=CommitmentPart(commitment=COMMITMENT, size=4),
    )


EVERY: dict[str, Callable[[], Entry]] = {
    "decision/1": full_decision,
    "outcome/1": full_outcome,
    "policy/1": lambda: PolicyEntry(id=new_id(NOW), at=WHEN, digest=DIGEST, files={"own.cedar": DIGEST}),
    "settings/1": lambda: SettingsEntry(id=new_id(NOW), at=WHEN, settings=DIGEST, registry=DIGEST, build="0.1.0"),
    "key/1": lambda: KeyEntry(
        id=new_id(NOW),
        at=WHEN,
        event="issued",
        key=Pseudonym("p_1"),
        groups=("students",),
        service=True,
        models=("small",),
        networks=2,
        by=Pseudonym("p_2"),
    ),
    "subject/1": lambda: SubjectEntry(
        id=new_id(NOW), at=WHEN, event="blocked", subject=Pseudonym("p_1"), by=Pseudonym("p_2")
    ),
    "access/1": lambda: AccessEntry(
        id=new_id(NOW), at=WHEN, unidentified={"no key": 3}, anonymous={"ledger": 2}, start=WHEN, end=WHEN
    ),
    "erasure/1": lambda: ErasureEntry(id=new_id(NOW), at=WHEN, count=3, before=WHEN),
    "model/1": lambda: ModelEntry(
        id=new_id(NOW), at=WHEN, event="added", version="a@1", digest=DIGEST, rung="api", openness="api-only", by=WHO
    ),
    "grant/1": lambda: GrantEntry(
        id=new_id(NOW), at=WHEN, event="issued", grant="g-1", subject=WHO, version="a@1", until=WHEN, by=WHO
    ),
    "evidence/1": lambda: EvidenceEntry(
        id=new_id(NOW), at=WHEN, version="a@1", kind="evaluation", digest=DIGEST, by=WHO
    ),
    "flaw/1": lambda: FlawEntry(
        id=new_id(NOW), at=WHEN, event="reported", flaw="f-1", version="a@1", digest=DIGEST, by=WHO
    ),
    "gate/1": lambda: GateEntry(
        id=new_id(NOW), at=WHEN, version="a@1", rung="gated", gate="scans", result="passed", evidence=(DIGEST,), by=WHO
    ),
    "release/1": lambda: ReleaseEntry(
        id=new_id(NOW), at=WHEN, version="a@1", component="weights", before="api", after="gated", by=WHO
    ),
    "look/1": lambda: LookEntry(
        id=new_id(NOW),
        at=WHEN,
        by=WHO,
        decision=DecisionId(new_id(NOW)),
        reason="audit",
        note=NotePart(commitment=COMMITMENT, size=4),
        via=DecisionId(new_id(NOW)),
    ),
    "signer/1": lambda: SignerEntry(id=new_id(NOW), at=WHEN, event="begun", vkey="a+1+b", by=WHO),
    "repair/1": lambda: RepairEntry(id=new_id(NOW), at=WHEN, what="tile", name="tile/0/000", cause="altered"),
}


def test_every_type_is_tried() -> None:
    assert {each.__struct_config__.tag for each in get_args(Entry)} == set(EVERY)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ModelEntry(id=new_id(NOW), at=WHEN, event="added", version="no version"),
        lambda: LookEntry(id=new_id(NOW), at=WHEN, by=WHO, reason="Because I was asked to."),
        lambda: ErasureEntry(id=new_id(NOW), at=WHEN, count=-1),
        lambda: SignerEntry(id=new_id(NOW), at=WHEN, event="begun", vkey="v", by=Pseudonym("ada@example.org")),
    ],
)
def test_what_could_not_be_read_back_is_never_written(wrong: Callable[[], Entry]) -> None:
    with pytest.raises(LedgerError, match="not as its type's schema says"):
        encode(wrong())


@pytest.mark.parametrize("kind", EVERY)
def test_every_type_says_what_it_is_and_reads_back(kind: str) -> None:
    entry = EVERY[kind]()
    data = encode(entry)
    assert type_of(entry) == kind == msgspec.json.decode(data)["type"]
    assert decode(data) == entry


def test_the_bytes_of_an_access_entry() -> None:
    entry = AccessEntry(
        id="01a20c23-c37b-7000-9e3d-de79adbef7be", at=WHEN, unidentified={"no key": 3}, start=WHEN, end=WHEN
    )
    assert encode(entry) == (
        b'{"at":"2026-11-24T06:00:00.000Z","from":"2026-11-24T06:00:00.000Z","id":"01a20c23-c37b-7000-9e3d-de79adbef7be"'
        b',"to":"2026-11-24T06:00:00.000Z","type":"access/1","unidentified":{"no key":3}}'
    )


def test_missing_usage_is_not_zero_usage() -> None:
    assert b'"input":0' in encode(full_outcome())
    assert b"cached_input" not in encode(full_outcome())


def altered(**changes: object) -> bytes:
    return rfc8785.dumps({**msgspec.to_builtins(decision()), **changes})  # type: ignore[dict-item] # broken on purpose


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        altered(type="decision/2"),
        altered(surprise=1),
        altered(action=1),
        altered(at="2026-11-24T06:00:00Z"),
        altered(id="01J00000000000000000000000"),
        altered(rung="secret"),
        altered(prompt={"commitment": COMMITMENT, "size": -1}),
        altered(prompt={"commitment": COMMITMENT, "size": 1.5}),
        altered(prompt={"commitment": "hello", "size": 1}),
        altered(prompt={"commitment": COMMITMENT + "\n", "size": 1}),
        altered(at=WHEN + "\n"),
        altered(stream=False),  # a default that is spelled out: another form of the same entry
        encode(decision()).replace(b"infer", b"inf\xe9r"),
        b'{"a":' + b"[" * 60_000,
        encode(decision()) + b" ",
        encode(decision()).replace(b'"action":"infer"', b'"action":"infer","action":"infer"'),
    ],
)
def test_what_is_not_an_entry_is_refused(data: bytes) -> None:
    with pytest.raises(LedgerError, match="transom ledger verify"):
        decode(data)


def test_the_longest_entry() -> None:
    spare = MAX_BYTES - len(encode(decision(action="")))
    assert len(encode(decision(action="a" * spare))) == MAX_BYTES
    with pytest.raises(LedgerError, match="65536 bytes; the log takes 65535"):
        encode(decision(action="a" * (spare + 1)))


def test_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(LedgerError, match="not Unicode"):
        encode(decision(action="\ud800"))


@pytest.mark.parametrize("tokens", [-1, MAX_INTEGER + 1])
def test_impossible_usage_never_reaches_the_log(tokens: int) -> None:
    with pytest.raises(LedgerError, match="impossible"):
        UsagePart(output=tokens, source="upstream")


@pytest.mark.parametrize("amount", ["1E-7", "", "1.", "NaN", "1,5", "1\n"])
def test_an_amount_is_plain_decimal_text(amount: str) -> None:
    with pytest.raises(LedgerError, match="plain decimal"):
        CostPart(amount=amount, currency="EUR", prices=DIGEST)


@given(st.integers(0, 2**48 - 1))
def test_an_id_is_a_uuid_7_of_its_moment(ms: int) -> None:
    made = new_id(ms)
    parsed = uuid.UUID(made)
    assert (str(parsed), parsed.version, parsed.variant) == (made, 7, uuid.RFC_4122)
    assert parsed.int >> 80 == ms


def test_ids_differ_and_follow_time() -> None:
    ids = [new_id(NOW + number) for number in range(5000)]
    assert ids == sorted(set(ids))
    assert len({new_id(NOW) for _ in range(5000)}) == 5000


@given(st.integers(0, 4_000_000_000_000))
def test_a_timestamp_reads_back(ms: int) -> None:
    assert round(datetime.fromisoformat(timestamp(ms)).timestamp() * 1000) == ms
