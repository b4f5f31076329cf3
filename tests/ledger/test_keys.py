import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.ledger.outsider import verify_note

from transom.errors import LedgerError
from transom.ledger.keys import load_or_create
from transom.values import CallerId

FILES = ("ledger.key", "master.key", "pseudonym.key")


def test_keys_are_made_once(tmp_path: Path) -> None:
    made = load_or_create(tmp_path / "a" / "keys", "ledger.example/test")
    again = load_or_create(tmp_path / "a" / "keys", "ledger.example/test")
    assert (made.vkey, made.master_key) == (again.vkey, again.master_key)
    assert made.origin == "ledger.example/test"
    assert made.pseudonym(CallerId("key_1")) == again.pseudonym(CallerId("key_1"))
    assert (
        len({base64.b64encode(made.master_key).decode()} | {(tmp_path / "a/keys" / f).read_text() for f in FILES}) == 4
    )
    assert verify_note(made.signer.sign("x\n").encode(), again.vkey) == "x\n"


def test_only_the_owner_may_read_them(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    load_or_create(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("name", FILES)
def test_wide_permissions_are_refused_with_the_remedy(tmp_path: Path, name: str) -> None:
    load_or_create(tmp_path / "keys")
    (tmp_path / "keys" / name).chmod(0o640)
    with pytest.raises(LedgerError, match=f"chmod 600 .*{name}"):
        load_or_create(tmp_path / "keys")


def test_a_wide_folder_is_refused(tmp_path: Path) -> None:
    load_or_create(tmp_path / "keys")
    (tmp_path / "keys").chmod(0o755)
    with pytest.raises(LedgerError, match="chmod 700"):
        load_or_create(tmp_path / "keys")


def test_derived_keys_are_of_their_purpose(tmp_path: Path) -> None:
    keys, others = load_or_create(tmp_path / "a"), load_or_create(tmp_path / "b")
    assert keys.derive(b"sessions") == load_or_create(tmp_path / "a").derive(b"sessions")
    assert len({keys.derive(b"sessions"), keys.derive(b"other"), others.derive(b"sessions"), keys.master_key}) == 4


def test_another_origin_is_refused(tmp_path: Path) -> None:
    load_or_create(tmp_path / "keys", "ledger.example/one")
    with pytest.raises(LedgerError, match=r"'ledger\.example/one', but the settings name it 'ledger\.example/two'"):
        load_or_create(tmp_path / "keys", "ledger.example/two")


def test_an_origin_that_cannot_name_a_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot name a key"):
        load_or_create(tmp_path / "keys", "my ledger")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["", "garbage", "AAAA"])
def test_a_damaged_file_is_named_and_not_shown(tmp_path: Path, name: str, damage: str) -> None:
    load_or_create(tmp_path / "keys")
    file = tmp_path / "keys" / name
    secret = file.read_text().strip()
    file.write_text(secret[:-10] + damage)
    with pytest.raises(LedgerError, match=name) as caught:
        load_or_create(tmp_path / "keys")
    assert secret[-30:-10] not in str(caught.value)


def test_a_start_that_was_cut_off_is_finished_by_the_next(tmp_path: Path) -> None:
    made = load_or_create(tmp_path / "keys")
    (tmp_path / "keys" / "pseudonym.key").unlink()
    (tmp_path / "keys" / ".pseudonym.key.draft").write_text("half")
    assert load_or_create(tmp_path / "keys").vkey == made.vkey
    assert (tmp_path / "keys" / "pseudonym.key").exists()


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: load_or_create(tmp_path / "keys"), range(16)))
    assert len({(each.vkey, each.master_key, each.pseudonym(CallerId("x"))) for each in made}) == 1


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="cannot be read or made"):
        load_or_create(tmp_path / "file" / "keys")


def test_pseudonyms_tell_callers_apart_and_say_nothing(tmp_path: Path) -> None:
    keys, others = load_or_create(tmp_path / "a"), load_or_create(tmp_path / "b")
    names = {keys.pseudonym(CallerId(f"key_{number}")) for number in range(1000)}
    assert len(names) == 1000
    assert all(name.startswith("p_") and len(name) == 22 for name in names)
    assert others.pseudonym(CallerId("key_1")) not in names
