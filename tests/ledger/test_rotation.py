"""A key takes another's place, and whoever trusts the old one comes to trust the new one, and no other."""

from pathlib import Path

import pytest
from tests.ledger import outsider
from tests.ledger.making import NOW, Home, requests

from transom.errors import LedgerError
from transom.ledger.acts import SignerEntry
from transom.ledger.checkpoint import Checkpoint, parse_checkpoint
from transom.ledger.entry import encode, new_id, timestamp
from transom.ledger.keys import (
    NEXT_KEY,
    LedgerKeys,
    load_or_create,
    next_signer,
    read_retired,
    retire,
    take_up_next,
)
from transom.ledger.monitor import Trusted, follow
from transom.ledger.note import Signer, parse_vkey, split_note
from transom.ledger.rotation import endorse, endorsed, learn
from transom.ledger.verify import verify_all, verify_log
from transom.values import Pseudonym

BY = Pseudonym("p_" + "0" * 20)
OLD, NEW, THIEF = (Signer("log.example/a", bytes([number]) * 32) for number in (1, 2, 3))


def said(vkey: str, endorsement: str | None) -> SignerEntry:
    return SignerEntry(id=new_id(NOW), at=timestamp(NOW), event="rotated", vkey=vkey, endorsement=endorsement, by=BY)


def test_an_endorsement_is_a_signed_note_of_the_old_key() -> None:
    endorsement = endorse(OLD, NEW.verifier.vkey)
    note = f"transom-signer/1\n{NEW.verifier.vkey}\n\n— {OLD.name} {endorsement}\n"
    assert outsider.verify_note(note.encode(), OLD.verifier.vkey).endswith(f"{NEW.verifier.vkey}\n")
    found = endorsed(said(NEW.verifier.vkey, endorsement), [OLD.verifier])
    assert found is not None
    assert found.vkey == NEW.verifier.vkey


@pytest.mark.parametrize(
    ("vkey", "endorsement"),
    [
        (NEW.verifier.vkey, None),
        (NEW.verifier.vkey, endorse(NEW, NEW.verifier.vkey)),
        (THIEF.verifier.vkey, endorse(OLD, NEW.verifier.vkey)),
        (NEW.verifier.vkey, "A" * 91 + "="),
        (NEW.verifier.vkey, "A" * 90 + "B="),
        ("nonsense", endorse(OLD, "nonsense")),
    ],
)
def test_what_endorses_nothing(vkey: str, endorsement: str | None) -> None:
    assert endorsed(said(vkey, endorsement), [OLD.verifier]) is None


def rotate(home: Home) -> LedgerKeys:
    """Rotate the key of a home as `transom ledger rotate-key` does; give the keys before."""
    folder, before = home.folder / "keys", home.keys
    new = next_signer(folder / NEXT_KEY, before.origin)
    retire(folder, before.signer.verifier)
    home.write_rows(
        [
            {
                "type": "signer/1",
                "instance": "one",
                "body": encode(said(new.verifier.vkey, endorse(before.signer, new.verifier.vkey))),
            }
        ]
    )
    take_up_next(folder)
    home.keys = load_or_create(folder)
    return before


def grow(home: Home, count: int = 2) -> None:
    home.write(requests(count))
    home.sequencer().run_once()


def published(home: Home) -> Checkpoint:
    note = home.fetch("checkpoint")
    assert note is not None
    return parse_checkpoint(split_note(note)[0])


def test_a_log_goes_on_under_another_key(any_home: Home) -> None:
    home = any_home
    grow(home, 300)
    old = rotate(home)
    assert [each.vkey for each in home.keys.verifiers] == [home.keys.vkey, old.vkey]
    grow(home)
    newest = rotate(home).vkey
    grow(home, 500)
    assert len({home.keys.vkey, newest, old.vkey}) == 3
    # Signed by the newest key alone; each that was before verifies it, by what the log itself says.
    assert len(outsider.verify_log(home.fetch, home.keys.vkey)) == 804
    for vkey in (home.keys.vkey, newest, old.vkey):
        assert verify_log(home.objects, vkey).problems == []
    assert not verify_log(home.objects, THIEF.verifier.vkey).ok
    report = verify_all(home.database, home.objects, home.keys)
    assert (report.problems, report.checkpoints) == ([], 4)  # the empty log's too
    assert report.entries["signer/1"] == 2


def test_a_restart_right_after_a_rotation_takes_what_the_old_key_signed(home: Home) -> None:
    grow(home)
    rotate(home)
    assert home.sequencer().recover()
    assert home.sequencer().run_once() == 1
    assert len(outsider.verify_log(home.fetch, home.keys.vkey)) == 3


def test_without_the_old_public_keys_the_log_is_refused_with_the_remedy(home: Home) -> None:
    grow(home)
    rotate(home)
    (home.folder / "keys" / "ledger.vkeys").unlink()
    home.keys = load_or_create(home.folder / "keys")
    with pytest.raises(LedgerError, match=r"not signed by ledger\.key"):
        home.sequencer().run_once()


def test_a_monitor_learns_the_new_key_and_keeps_following(home: Home) -> None:
    grow(home, 300)
    trusted = Trusted((home.keys.signer.verifier,))
    kept = follow(home.objects.get, trusted, None)
    rotate(home)
    grow(home, 300)
    for before in (kept.note, None):
        step = follow(home.objects.get, trusted, before)
        assert (step.alarm, [each.vkey for each in step.learned]) == (None, [home.keys.vkey])
    trusted = Trusted((*trusted.keys, *step.learned))
    rotate(home)
    grow(home)
    again = follow(home.objects.get, trusted, step.note)
    assert (again.alarm, [each.vkey for each in again.learned]) == (None, [home.keys.vkey])
    # A key that nobody endorsed signs the very same tree.
    thief = Signer(home.keys.origin, bytes(32))
    home.objects.put("ledger/checkpoint", thief.sign(published(home).text).encode())
    assert "not signed by" in (follow(home.objects.get, trusted, step.note).alarm or "")


def test_entries_that_lead_elsewhere_teach_nothing(home: Home) -> None:
    grow(home)
    start = published(home)
    trusted = home.keys.verifiers
    rotate(home)
    grow(home, 3)
    end = published(home)
    assert [each.vkey for each in learn(home.objects.get, end, trusted, start)] == [home.keys.vkey]
    with pytest.raises(LedgerError, match="do not lead"):
        learn(home.objects.get, end._replace(root=bytes(32)), trusted, start)
    with pytest.raises(LedgerError, match="do not give the root"):
        learn(home.objects.get, end, trusted, start._replace(root=bytes(32)))


def test_keys_that_signed_before_are_kept_in_order(tmp_path: Path) -> None:
    keys = load_or_create(tmp_path / "keys")
    for signer in (OLD, NEW, OLD):
        retire(tmp_path / "keys", signer.verifier)
    assert [each.vkey for each in read_retired(tmp_path / "keys")] == [NEW.verifier.vkey, OLD.verifier.vkey]
    retire(tmp_path / "keys", keys.signer.verifier)
    again = load_or_create(tmp_path / "keys")
    assert [each.vkey for each in again.verifiers] == [keys.vkey, NEW.verifier.vkey, OLD.verifier.vkey]
    assert (tmp_path / "keys" / "ledger.vkeys").stat().st_mode & 0o777 == 0o600
    (tmp_path / "keys" / "ledger.vkeys").write_text("nonsense\n")
    with pytest.raises(LedgerError, match=r"ledger\.vkeys: .*Restore the file"):
        load_or_create(tmp_path / "keys")
    assert parse_vkey(keys.vkey).name == keys.origin
