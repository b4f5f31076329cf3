import sys
from pathlib import Path

import msgspec
import pytest

from transom.config.digest import digest
from transom.config.secrets import SecretRef
from transom.errors import ConfigError

SECRET = "sk-do-not-show"


def test_a_secret_comes_from_the_environment_trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_KEY", f"  {SECRET}\n")
    assert SecretRef(env="VENDOR_KEY").resolve("upstreams.x.key") == SECRET


def test_a_secret_comes_from_a_file_trimmed(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    assert SecretRef(file=str(tmp_path / "key")).resolve("upstreams.x.key") == SECRET


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_a_missing_or_empty_variable_is_named(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is None:
        monkeypatch.delenv("VENDOR_KEY", raising=False)
    else:
        monkeypatch.setenv("VENDOR_KEY", value)
    with pytest.raises(ConfigError, match=r"upstreams\.x\.key: The environment variable VENDOR_KEY is"):
        SecretRef(env="VENDOR_KEY").resolve("upstreams.x.key")


@pytest.mark.parametrize(
    ("content", "says"), [(None, "No such file"), (b" \n", "is empty"), (b"\xff\xfe", "not UTF-8")]
)
def test_a_file_that_holds_no_secret_is_named(content: bytes | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=says) as caught:
        SecretRef(file=str(path)).resolve("upstreams.x.key")
    assert str(path) in str(caught.value)
    assert caught.value.file == "upstreams.x.key"


def test_the_bytes_of_an_unreadable_secret_are_in_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(SECRET.encode() + b"\xff")
    with pytest.raises(ConfigError) as caught:
        SecretRef(file=str(tmp_path / "key")).resolve("x")
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("given", [{}, {"env": "A", "file": "b"}, {"env": ""}, {"env": "A", "value": SECRET}, SECRET])
def test_a_reference_is_exactly_one_of_two(given: object) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(given, SecretRef)
    assert SECRET not in str(caught.value)


def test_a_digest_is_the_sha_256() -> None:
    # FIPS 180-4's own example of one block.
    assert digest(b"abc") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_secret_comes_from_a_command_trimmed_and_without_a_shell() -> None:
    ref = SecretRef(command=(sys.executable, "-c", f"print('  {SECRET} ')", "; exit 1"))
    assert ref.resolve("ledger.key") == SECRET


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (f"import sys; print('{SECRET}'); print('{SECRET}', file=sys.stderr); sys.exit(3)", "exit status 3"),
        ("print()", "printed nothing"),
        ("import sys; sys.stdout.buffer.write(b'\\xff')", "UnicodeDecodeError"),
    ],
)
def test_a_command_that_gives_no_secret_is_named_and_shows_nothing(program: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        SecretRef(command=(sys.executable, "-c", program)).resolve("ledger.key")
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(ConfigError, match=r"/nowhere/vault gives no secret \(No such file"):
        SecretRef(command=("/nowhere/vault",)).resolve("ledger.key")


def test_a_secret_is_named_once() -> None:
    wrong: list[dict[str, object]] = [{}, {"env": "A", "file": "b"}, {"file": "b", "command": ["c"]}, {"command": []}]
    for fields in wrong:
        with pytest.raises(msgspec.ValidationError, match="exactly one of"):
            msgspec.convert(fields, SecretRef)
