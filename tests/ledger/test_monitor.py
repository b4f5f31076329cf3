"""A monitor accepts a log that grows, and nothing that a log may not do."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.making import Home, requests
from tests.support.webhook import Webhook
from typer.testing import CliRunner, Result

from transom.cli.ledger import app
from transom.errors import LedgerError
from transom.ledger.checkpoint import Checkpoint
from transom.ledger.cosign import Cosigner
from transom.ledger.monitor import Step, Trusted, follow
from transom.ledger.note import Signer, parse_vkey
from transom.ledger.tree import EMPTY_ROOT

Log = dict[str, bytes]
SIZES = (0, 1, 2, 255, 256, 300, 600)


def objects_of(home: Home) -> Log:
    return {path: home.objects.get(path) or b"" for path in home.objects.list("ledger")}


def note_of(log: Log) -> str:
    return log["ledger/checkpoint"].decode()


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Log], list[Log], Trusted]:
    """One log at some sizes, and another history of it under the same key at the same sizes, the same up to 2."""
    folder = tmp_path_factory.mktemp("logs")
    entries = requests(SIZES[-1])
    found: list[list[Log]] = []
    for name in ("one", "other"):
        home = Home(folder, f"sqlite:///{folder}/{name}.db")
        versions: list[Log] = []
        for before, size in zip((0, *SIZES), SIZES, strict=False):
            grown = entries[before:size]
            if name == "other" and before == 2:
                home.objects.delete(home.objects.list("ledger"))
                grown = requests(size - before)
            if grown:
                home.write(grown)
            home.sequencer().run_once()
            versions.append(objects_of(home))
        found.append(versions)
        home.objects.delete(home.objects.list("ledger"))
        home.close()
    return found[0], found[1], Trusted((home.keys.signer.verifier,))


def look(log: Log, trusted: Trusted, kept: Log | None = None) -> Step:
    return follow(log.get, trusted, None if kept is None else note_of(kept))


def test_a_log_that_grows_is_followed(logs: tuple[list[Log], list[Log], Trusted]) -> None:
    versions, _, trusted = logs
    for number, log in enumerate(versions):
        for kept in (None, *versions[: number + 1]):
            step = look(log, trusted, kept)
            assert (step.alarm, step.stale, step.checkpoint.size) == (None, False, SIZES[number])
            assert step.note == note_of(log)


def test_an_older_checkpoint_of_the_same_log_is_stale_and_no_alarm(logs: tuple[list[Log], list[Log], Trusted]) -> None:
    versions, _, trusted = logs
    cached = versions[-1] | {"ledger/checkpoint": versions[3]["ledger/checkpoint"]}
    step = look(cached, trusted, versions[-1])
    assert (step.alarm, step.stale) == (None, True)


def test_a_second_history_is_an_alarm_whatever_its_size(logs: tuple[list[Log], list[Log], Trusted]) -> None:
    versions, others, trusted = logs
    assert note_of(versions[2]) == note_of(others[2])
    for number, log in enumerate(versions[3:], 3):
        for size, other in zip(SIZES[3:], others[3:], strict=True):
            alarm = look(other, trusted, log).alarm
            assert alarm is not None
            if size == SIZES[number]:
                assert "two signed roots" in alarm
            elif size > SIZES[number]:
                assert "does not go on from" in alarm
            else:  # the tiles are of the smaller, other log: what they give is not what was kept
                assert "and no more what it had" in alarm or "do not give the root" in alarm


def test_tiles_that_are_not_the_logs_are_told_from_a_second_history(
    logs: tuple[list[Log], list[Log], Trusted],
) -> None:
    versions, others, trusted = logs
    mixed = others[-1] | {"ledger/checkpoint": versions[-1]["ledger/checkpoint"]}
    alarm = look(mixed, trusted, versions[3]).alarm
    assert alarm is not None
    assert "do not give the root that was signed" in alarm


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_no_flipped_byte_of_a_checkpoint_is_followed(
    logs: tuple[list[Log], list[Log], Trusted], data: st.DataObject
) -> None:
    versions, _, trusted = logs
    note = bytearray(versions[-1]["ledger/checkpoint"])
    note[data.draw(st.integers(0, len(note) - 1))] ^= data.draw(st.integers(1, 255))
    altered = versions[-1] | {"ledger/checkpoint": bytes(note)}
    with contextlib.suppress(LedgerError):  # it may be no checkpoint at all any more
        assert look(altered, trusted, versions[3]).alarm is not None


def test_what_cannot_be_seen_is_no_alarm(logs: tuple[list[Log], list[Log], Trusted]) -> None:
    versions, _, trusted = logs
    with pytest.raises(LedgerError, match="no checkpoint"):
        look({}, trusted)
    with pytest.raises(LedgerError, match="no signed note"):
        look({"ledger/checkpoint": b"<html>down for maintenance</html>"}, trusted)
    with pytest.raises(LedgerError, match="missing"):
        look({"ledger/checkpoint": versions[-1]["ledger/checkpoint"]}, trusted, versions[3])


def test_other_keys_and_names_are_an_alarm() -> None:
    ours, other = Signer("log.example/a", bytes([1]) * 32), Signer("log.example/a", bytes([2]) * 32)
    trusted = Trusted((ours.verifier,))

    def published(signer: Signer, origin: str) -> Callable[[str], bytes]:
        return lambda _path: signer.sign(Checkpoint(origin, 0, EMPTY_ROOT).text).encode()

    assert follow(published(ours, "log.example/a"), trusted, None).alarm is None
    assert "not signed by" in (follow(published(other, "log.example/a"), trusted, None).alarm or "")
    assert "of the log 'log.example/b'" in (follow(published(ours, "log.example/b"), trusted, None).alarm or "")


def test_witnesses_are_counted_and_verified() -> None:
    ours = Signer("log.example/a", bytes([1]) * 32)
    witnesses = [Cosigner(f"w{number}", bytes([number]) * 32) for number in (2, 3, 4)]
    text = Checkpoint("log.example/a", 0, EMPTY_ROOT).text
    note = ours.sign(text) + witnesses[0].line(text, 1) + witnesses[1].line(text, 2)
    trusted = Trusted((ours.verifier,), [each.verifier for each in witnesses], quorum=2)
    step = follow(lambda _: note.encode(), trusted, None)
    assert (step.cosigned, step.unwitnessed, step.alarm) == (("w2", "w3"), False, None)
    assert follow(lambda _: note.encode(), trusted._replace(quorum=3), None).unwitnessed
    forged = ours.sign(text) + witnesses[0].line(Checkpoint("log.example/a", 1, bytes(32)).text, 1)
    assert "cosignature of w2" in (follow(lambda _: forged.encode(), trusted, None).alarm or "")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["monitor", *arguments])


def write(log: Log, folder: Path) -> Path:
    for path, data in log.items():
        file = folder / path.removeprefix("ledger/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return folder


def test_the_command_keeps_what_it_saw_and_the_evidence_of_an_alarm(
    logs: tuple[list[Log], list[Log], Trusted], tmp_path: Path, webhook: Webhook
) -> None:
    versions, others, trusted = logs
    state, vkey = tmp_path / "kept" / "state", trusted.keys[0].vkey
    common = ("--vkey", vkey, "--state", str(state), "--evidence", str(tmp_path / "alarms"), "--once")
    for log in (versions[3], versions[4], versions[4]):
        done = run(str(write(log, tmp_path / "log")), *common)
        assert (done.exit_code, state.read_text()) == (0, note_of(log)), done.output
    done = run(str(write(others[-1], tmp_path / "other")), *common, "--webhook", webhook.url)
    assert done.exit_code == 2
    assert "ALARM" in done.output
    (file,) = (tmp_path / "alarms").iterdir()
    evidence = json.loads(file.read_text())
    assert (evidence["kept"], evidence["found"]) == (note_of(versions[4]), note_of(others[-1]))
    assert "does not go on" in evidence["what"]
    assert state.read_text() == note_of(versions[4])
    assert [taken for _, taken in webhook.taken] == [evidence]
    # The log that it knew is still the one that it follows.
    assert run(str(write(versions[5], tmp_path / "log")), *common).exit_code == 0


def test_the_command_alarms_without_a_place_for_the_evidence(
    logs: tuple[list[Log], list[Log], Trusted], tmp_path: Path
) -> None:
    versions, others, trusted = logs
    state = tmp_path / "state"
    state.write_text(note_of(versions[4]))
    (tmp_path / "file").write_text("in the way")
    folder = str(write(others[-1], tmp_path / "other"))
    common = ("--vkey", trusted.keys[0].vkey, "--state", str(state), "--evidence", str(tmp_path / "file" / "alarms"))
    # Without --once too: an alarm ends it.
    done = run(folder, *common, "--webhook", "http://127.0.0.1:1/nobody", "--every", "1s")
    assert done.exit_code == 2
    assert "This is the evidence" in done.output
    assert "The webhook did not take it" in done.output


def test_the_command_says_what_it_needs(logs: tuple[list[Log], list[Log], Trusted], tmp_path: Path) -> None:
    versions, _, trusted = logs
    folder, vkey = str(write(versions[3], tmp_path / "log")), ("--vkey", trusted.keys[0].vkey)
    assert "Say which key you trust" in str(run(folder, "--once").exception)
    assert "name each with --witness" in str(run(folder, *vkey, "--quorum", "1").exception)
    assert run(folder, *vkey, "--every", "soon").exit_code == 2
    assert run(folder, *vkey, "--webhook", "file:///etc/passwd").exit_code == 2
    witness = Cosigner("w", bytes(32)).verifier.vkey
    state = ("--state", str(tmp_path / "state"))
    done = run(folder, *vkey, *state, "--witness", witness, "--quorum", "1", "--once")
    assert done.exit_code == 1
    assert "Only 0 of 1 witnesses" in done.output
    assert isinstance(run(str(tmp_path / "nothing"), *vkey, *state, "--once").exception, Exception)
    parse_vkey(vkey[1])
