import base64
import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from transom.errors import LedgerError
from transom.ledger.entry import new_id
from transom.ledger.seal import Part, Vault, commitment
from transom.values import DecisionId

vault = Vault(b"m" * 32)
NOW = 1_795_500_000_000
ID = new_id(NOW)
OTHER = new_id(1_795_500_000_001)
parts: st.SearchStrategy[Part] = st.sampled_from(["prompt", "answer"])


@given(st.binary(), parts)
def test_what_is_sealed_opens_and_fits_its_commitment(content: bytes, part: Part) -> None:
    key = vault.record_key(ID)
    sealed = vault.seal(key, ID, part, content)
    salt, opened = vault.open(key.wrapped, sealed.sealed, ID, part)
    assert opened == content
    expected = hmac.new(salt, b"ledger-commit/1\n" + content, hashlib.sha256).digest()
    assert base64.b64decode(sealed.commitment) == expected
    assert sealed.commitment == commitment(salt, content)


@given(st.binary(min_size=1), parts)
def test_the_salt_alone_can_be_kept(content: bytes, part: Part) -> None:
    key = vault.record_key(ID)
    sealed = vault.seal(key, ID, part, content, keep=False)
    opened = vault.open(key.wrapped, sealed.sealed, ID, part)
    assert opened.content is None
    assert commitment(opened.salt, content) == sealed.commitment
    assert len(sealed.sealed) == len(vault.seal(key, ID, part, b"", keep=False).sealed)


def test_equal_contents_do_not_look_alike() -> None:
    seals = [vault.seal(vault.record_key(ID), ID, "prompt", b"yes") for _ in range(100)]
    assert len({each.commitment for each in seals}) == len({each.sealed for each in seals}) == 100
    assert len({vault.record_key(ID).raw for _ in range(100)}) == 100


@given(st.data())
def test_any_altered_byte_is_noticed(data: st.DataObject) -> None:
    key = vault.record_key(ID)
    blobs = {"wrapped": bytearray(key.wrapped), "sealed": bytearray(vault.seal(key, ID, "prompt", b"hello").sealed)}
    blob = blobs[data.draw(st.sampled_from(sorted(blobs)))]
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(LedgerError, match="cannot be opened"):
        vault.open(bytes(blobs["wrapped"]), bytes(blobs["sealed"]), ID, "prompt")


def test_a_blob_passes_for_no_other() -> None:
    key, other = vault.record_key(ID), vault.record_key(OTHER)
    sealed = vault.seal(key, ID, "prompt", b"hello").sealed
    for wrapped, decision, part in (
        (key.wrapped, ID, "answer"),
        (key.wrapped, OTHER, "prompt"),
        (other.wrapped, OTHER, "prompt"),
        (other.wrapped, ID, "prompt"),
        (b"", ID, "prompt"),
    ):
        with pytest.raises(LedgerError, match="cannot be opened"):
            vault.open(wrapped, sealed, decision, part)  # type: ignore[arg-type] # a tuple of literals loses them
    with pytest.raises(LedgerError, match="master key"):
        Vault(b"n" * 32).open(key.wrapped, sealed, ID, "prompt")


def test_a_short_master_key_is_refused() -> None:
    with pytest.raises(LedgerError, match="must have 32"):
        Vault(b"short")


def test_a_key_that_was_wrapped_for_its_id_alone_still_opens() -> None:
    """As the first versions did it: HMAC-SHA-256(master, "transom/wrap/1" ‖ newline ‖ id), nothing authenticated."""
    key = vault.record_key(ID)
    sealed = vault.seal(key, ID, "prompt", b"hello").sealed
    then = AESGCM(hmac.digest(b"m" * 32, b"transom/wrap/1\n" + ID.encode(), "sha256"))
    wrapped = b"n" * 12 + then.encrypt(b"n" * 12, key.raw, None)
    assert vault.open(wrapped, sealed, ID, "prompt").content == b"hello"


def test_keys_of_other_times_are_wrapped_by_others() -> None:
    ids = [DecisionId(new_id(ms)) for ms in (NOW, NOW + 70_000, NOW)]
    keys = [vault.record_key(id_) for id_ in ids]
    for id_, key in zip(ids, keys, strict=True):
        sealed = vault.seal(key, id_, "prompt", b"hello").sealed
        assert vault.open(key.wrapped, sealed, id_, "prompt").content == b"hello"
