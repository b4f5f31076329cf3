import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ledger.outsider import verify_note

from transom.errors import LedgerError
from transom.ledger.checkpoint import Checkpoint, parse_checkpoint
from transom.ledger.note import Signer, open_note, parse_private, parse_vkey, split_note

VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SIGNATURE = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
TEXT = "This is an example message.\n"
NOTE = f"{TEXT}\n— example.com/foo {SIGNATURE}\n"

signer = Signer("ledger.example/test", bytes(range(32)))


def test_the_example_of_the_specification() -> None:
    assert open_note(NOTE.encode(), [parse_vkey(VKEY)]) == TEXT
    assert parse_vkey(VKEY).vkey == VKEY


def test_another_implementations_log_key() -> None:
    vkey = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
    assert parse_vkey(vkey).vkey == vkey


def test_a_private_key_reads_back_and_signs_alike() -> None:
    again = parse_private(signer.private_text + "\n")
    assert signer.private_text.startswith("PRIVATE+KEY+ledger.example/test+")
    assert again.verifier.vkey == signer.verifier.vkey
    assert again.sign(TEXT) == signer.sign(TEXT)


@given(st.text(st.characters(exclude_categories=["Cs"], min_codepoint=0x20)))
def test_a_stranger_verifies_what_we_sign(line: str) -> None:
    note = signer.sign(f"{line}\n").encode()
    assert verify_note(note, signer.verifier.vkey) == open_note(note, [signer.verifier]) == f"{line}\n"


def test_unknown_signatures_are_ignored() -> None:
    other = Signer("witness.example/w", b"w" * 32)
    line = other.sign(TEXT).removeprefix(f"{TEXT}\n")
    for note in (signer.sign(TEXT) + line, f"{TEXT}\n{line}{signer.sign(TEXT).removeprefix(TEXT + chr(10))}"):
        assert open_note(note.encode(), [signer.verifier]) == TEXT
    with pytest.raises(LedgerError, match="not signed by"):
        open_note(other.sign(TEXT).encode(), [signer.verifier])


def test_a_known_keys_bad_signature_is_fatal_beside_a_good_one() -> None:
    bad = base64.b64encode(signer.verifier.key_id + bytes(64)).decode()
    note = signer.sign(TEXT) + f"— {signer.name} {bad}\n"
    with pytest.raises(LedgerError, match="was altered"):
        open_note(note.encode(), [signer.verifier])


@given(st.data())
def test_any_flipped_byte_is_refused(data: st.DataObject) -> None:
    note = bytearray(signer.sign("ledger.example/test\n5\nAAAA\n").encode())
    note[data.draw(st.integers(0, len(note) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(LedgerError):
        open_note(bytes(note), [signer.verifier])


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\nno dash\n",
        NOTE.encode()[:-1],
        NOTE.replace("— ", "- ").encode(),
        NOTE.replace("IneyaQM=", "IneyaQN=").encode(),
        NOTE.replace("This is", "This\tis").encode(),
        NOTE.replace("example.com/foo ", "example.com/foo+x ").encode(),
        NOTE.encode() + b"\xff\n",
        NOTE.encode() * 10_000,
        (NOTE + f"— example.com/foo {SIGNATURE}\n" * 100).encode(),
    ],
)
def test_a_malformed_note_is_refused(note: bytes) -> None:
    with pytest.raises(LedgerError):
        open_note(note, [parse_vkey(VKEY)])


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        VKEY.replace("530d903a", "530d903b"),
        VKEY.replace("+Aeky", "+Beky"),
        VKEY[:-4],
        f"a b{VKEY}",
        VKEY[15:],
    ],
)
def test_a_damaged_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(LedgerError):
        parse_vkey(vkey)


def test_a_damaged_private_key_is_refused_and_not_shown() -> None:
    text = signer.private_text
    other_id = text.replace(signer.verifier.key_id.hex(), "00000000")
    for broken in (other_id, text[12:], text[:-4] + "AAA=", text.replace("+AQ", "+Ag"), f"x{text}"):
        with pytest.raises(LedgerError) as caught:
            parse_private(broken)
        assert text[-40:-8] not in str(caught.value)


@pytest.mark.parametrize("text", ["no newline", "a\rb\n", "\x00\n"])
def test_only_plain_text_is_signed(text: str) -> None:
    with pytest.raises(LedgerError, match="cannot be a note"):
        signer.sign(text)


@given(st.integers(0, 2**60), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_reads_back(size: int, root: bytes) -> None:
    checkpoint = Checkpoint("ledger.example/test", size, root)
    assert checkpoint.text.count("\n") == 3
    assert parse_checkpoint(checkpoint.text) == parse_checkpoint(checkpoint.text + "extension\n") == checkpoint
    assert parse_checkpoint(split_note(signer.sign(checkpoint.text).encode())[0]) == checkpoint


@pytest.mark.parametrize(
    "text", ["", "\n0\nAA==\n", "o\n01\n{root}\n", "o\n-1\n{root}\n", "o\n1\nAA==\n", "o\n1\n{root}=\n", "o\n1"]
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    root = base64.b64encode(bytes(32)).decode()
    with pytest.raises(LedgerError, match="no checkpoint"):
        parse_checkpoint(text.format(root=root))
