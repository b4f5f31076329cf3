"""Cosignatures, and a sequencer whose log is witnessed."""

import base64
from collections.abc import Callable, Collection

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from tests.ledger import outsider
from tests.ledger.faults import Fault, FaultyDatabase, FaultyObjects
from tests.ledger.making import Home, requests

from transom.errors import LedgerError, StorageError
from transom.ledger import sequence
from transom.ledger.cosign import (
    Cosignature,
    Cosigner,
    cosignatures,
    parse_witness_private,
    parse_witness_vkey,
)
from transom.ledger.note import Signer, open_note, parse_vkey
from transom.ledger.sequence import Sequencer
from transom.ledger.verify import verify_all

SEED = bytes(range(1, 33))
BODY = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
TIME = 1_679_315_147
W1 = Cosigner("witness.example/w1", SEED)


def test_a_cosignature_is_what_the_specification_says() -> None:
    line = W1.line(BODY, TIME)
    assert outsider.verify_cosignature(f"{BODY}\n{line}".encode(), W1.verifier.vkey) == TIME
    signature = outsider.unbase64(line.split(" ")[2].strip())
    message = f"cosignature/v1\ntime {TIME}\n{BODY}".encode()
    assert signature[12:] == Ed25519PrivateKey.from_private_bytes(SEED).sign(message)
    assert cosignatures(f"{BODY}\n{line}".encode(), [W1.verifier]) == [Cosignature("witness.example/w1", TIME, line)]


def test_keys_have_text_forms_of_their_own_type() -> None:
    assert parse_witness_vkey(W1.verifier.vkey + "\n").key_id == W1.verifier.key_id
    assert parse_witness_private(W1.private_text + "\n").line(BODY, 1) == W1.line(BODY, 1)
    log = Signer("witness.example/w1", SEED)
    assert log.verifier.key_id != W1.verifier.key_id
    for wrong in (log.verifier.vkey, W1.verifier.vkey.replace("+", "+0", 1), "nonsense", ""):
        with pytest.raises(LedgerError, match="witness"):
            parse_witness_vkey(wrong)
    with pytest.raises(LedgerError, match="Ed25519 verifier key of type 1"):
        parse_vkey(W1.verifier.vkey)
    for wrong in (log.private_text, W1.verifier.vkey, W1.private_text.replace("w1+", "w2+")):
        with pytest.raises(LedgerError) as raised:
            parse_witness_private(wrong)
        assert wrong[-44:] not in str(raised.value)
    other = parse_witness_vkey(W1.verifier.vkey)
    with pytest.raises(LedgerError, match="damaged"):
        parse_witness_vkey(other.vkey.replace(other.key_id.hex(), "00000000"))


@given(st.data())
def test_a_line_that_was_altered_is_refused_or_unknown(data: st.DataObject) -> None:
    line = W1.line(BODY, TIME)
    raw = bytearray(outsider.unbase64(line.split(" ")[2].strip()))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    altered = f"{BODY}\n— witness.example/w1 {base64.b64encode(raw).decode()}\n".encode()
    if place < 4:  # another key's, for all we know
        assert cosignatures(altered, [W1.verifier]) == []
    else:
        with pytest.raises(LedgerError, match=r"cosignature of witness\.example/w1"):
            cosignatures(altered, [W1.verifier])


def test_times_beyond_the_specification_are_refused() -> None:
    note = f"{BODY}\n{W1.line(BODY, 2**63 - 1)}".encode()
    assert cosignatures(note, [W1.verifier])[0].time == 2**63 - 1
    with pytest.raises(LedgerError, match="wrong"):
        cosignatures(f"{BODY}\n{W1.line(BODY, 2**63)}".encode(), [W1.verifier])


class Asked:
    """Witnesses who cosign while they are `here`, without any network."""

    def __init__(self, *names: str, quorum: int = 0, hold: bool = False) -> None:
        self.cosigners = [Cosigner(name, bytes([number]) * 32) for number, name in enumerate(names, 1)]
        self.here = set(names)
        self.quorum = quorum
        self.hold = hold
        self.asked: list[tuple[int, frozenset[str]]] = []

    def genuine(self, note: str, line: str) -> bool:
        try:
            return bool(cosignatures((note + line).encode(), [each.verifier for each in self.cosigners]))
        except LedgerError:
            return False

    def ask(
        self, note: str, size: int, prove: Callable[[int], list[bytes]], without: Collection[str]
    ) -> list[Cosignature]:
        self.asked.append((size, frozenset(without)))
        assert prove(size) == []
        body = note.rpartition("\n\n")[0] + "\n"
        return [
            Cosignature(each.name, TIME, each.line(body, TIME))
            for each in self.cosigners
            if each.name in self.here and each.name not in without
        ]


def witnessed(home: Home, asked: Asked, instance: str = "one") -> Sequencer:
    return Sequencer(home.database, home.objects, home.keys, instance=instance, witnesses=asked)


def note_of(home: Home) -> bytes:
    note = home.fetch("checkpoint")
    assert note is not None
    return note


def size_of(home: Home) -> int:
    return int(note_of(home).split(b"\n")[1])


def names_on(home: Home, asked: Asked) -> set[str]:
    """Whose cosignatures are on what is published, as a stranger verifies them."""
    note = note_of(home)
    return {each.name for each in asked.cosigners if outsider.verify_cosignature(note, each.verifier.vkey) == TIME}


def test_what_is_published_carries_what_witnesses_said(any_home: Home) -> None:
    asked = Asked("w1", "w2")
    sequencer = witnessed(any_home, asked)
    for count in (0, 3, 300):
        if count:
            any_home.write(requests(count))
        assert sequencer.run_once() == count
        assert names_on(any_home, asked) == {"w1", "w2"}
        outsider.verify_log(any_home.fetch, any_home.keys.vkey)
        open_note(note_of(any_home), any_home.keys.verifiers)
    report = verify_all(any_home.database, any_home.objects, any_home.keys)
    assert (report.problems, report.checkpoints) == ([], 3)
    before = note_of(any_home)
    # Another process, a restart, and one that no longer has witnesses: all publish the same.
    sequencer.release()
    assert witnessed(any_home, asked, "two").recover()
    assert note_of(any_home) == before
    any_home.objects.delete(["ledger/checkpoint"])
    assert witnessed(any_home, asked, "two").recover()
    assert note_of(any_home) == before


def test_a_witness_that_comes_late_is_added(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "_RENEW_SECONDS", 0.0)
    asked = Asked("w1", "w2")
    asked.here = {"w2"}
    sequencer = witnessed(home, asked)
    home.write(requests(3))
    sequencer.run_once()
    assert names_on(home, asked) == {"w2"}
    asked.here = {"w1"}
    sequencer.run_once()
    assert names_on(home, asked) == {"w1", "w2"}
    assert asked.asked[-1] == (3, frozenset({"w2"}))
    assert verify_all(home.database, home.objects, home.keys).ok


@pytest.mark.parametrize("harm", ["line = replace(line, 'A', 'B')", "line = 'nonsense'", "witness = 'w3'"])
def test_a_cosignature_that_was_altered_where_it_is_kept_is_asked_for_again(home: Home, harm: str) -> None:
    asked = Asked("w1", "w2")
    home.write(requests(3))
    witnessed(home, asked).run_once()
    with home.database.begin() as connection:
        connection.execute(text(f"UPDATE cosignature SET {harm} WHERE witness = 'w1'"))
    assert witnessed(home, asked).recover()
    assert names_on(home, asked) == {"w1", "w2"}


def test_too_few_witnesses_hold_a_checkpoint_back_and_lose_nothing(
    any_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequence, "_RENEW_SECONDS", 0.0)
    home, asked = any_home, Asked("w1", "w2", "w3", quorum=2, hold=True)
    sequencer = witnessed(home, asked)
    sequencer.run_once()
    asked.here = {"w3"}
    home.write(requests(3))
    assert sequencer.run_once() == 3
    assert (size_of(home), sequencer.held) == (0, 3)
    home.write(requests(400))
    assert sequencer.run_once() == 400
    assert (size_of(home), sequencer.held) == (0, 403)
    # A restart holds it back too, and what is published is whole.
    restarted = witnessed(home, asked)
    assert restarted.recover()
    assert (size_of(home), restarted.held) == (0, 403)
    assert outsider.verify_log(home.fetch, home.keys.vkey) == []
    asked.here = {"w1"}
    sequencer.run_once()
    assert (size_of(home), sequencer.held) == (403, None)
    assert names_on(home, asked) == {"w1", "w3"}
    assert verify_all(home.database, home.objects, home.keys).ok


def test_without_hold_too_few_witnesses_keep_nothing_back(home: Home) -> None:
    asked = Asked("w1", quorum=1)
    asked.here = set()
    sequencer = witnessed(home, asked)
    home.write(requests(3))
    sequencer.run_once()
    assert (size_of(home), sequencer.held) == (3, None)


@pytest.mark.parametrize("done", [True, False])
def test_every_fault_around_cosignatures_loses_and_forks_nothing(home: Home, *, done: bool) -> None:
    asked = Asked("w1", "w2", quorum=1, hold=True)
    for at in range(100):
        home.write(requests(130))
        fault = Fault(at, done=done)
        database, objects = FaultyDatabase.over(home, fault), FaultyObjects.over(home, fault)
        try:
            Sequencer(database, objects, home.keys, instance="one", witnesses=asked).run_once()
        except StorageError as error:
            assert "injected" in str(error)  # noqa: PT017 - the last round raises nothing
        witnessed(home, asked).run_once()
        assert names_on(home, asked) == {"w1", "w2"}
        database._threads.shutdown()
        if not fault.tripped:
            break
    else:
        pytest.fail("a run has fewer durable writes than this")
    assert len(outsider.verify_log(home.fetch, home.keys.vkey)) == 130 * (at + 1)
    assert verify_all(home.database, home.objects, home.keys).problems == []


def test_a_cosigned_checkpoint_that_the_database_does_not_have_is_still_refused(home: Home) -> None:
    asked = Asked("w1")
    for _ in range(2):
        home.write(requests(2))
        witnessed(home, asked).run_once()
    before = note_of(home)
    with home.database.begin() as connection:
        for harm in ("DELETE FROM checkpoint WHERE size = 4", "DELETE FROM entry WHERE id > 2"):
            connection.execute(text(harm))
    home.write(requests(2))
    with pytest.raises(LedgerError, match="restored from an older backup"):
        witnessed(home, asked).run_once()
    assert note_of(home) == before
