"""Backups while the door serves, and homes made of them again.

A backup is a folder: every table's rows as they were at one moment, the declared files, the objects that are no part
of the log (its tiles are made again from rows), and a manifest with the digest of each, written last. Two things are
apart: `record-keys/` holds what erasing destroys, to be deleted sooner than the rest, and `keys/` the door's own
secrets, which are copied only where that is asked for.
"""

import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec

from transom.app.build import BUILD, Stores, open_stores
from transom.app.declared import declared_files
from transom.app.home import Home
from transom.decisions.erase import Eraser
from transom.decisions.governance import TERMINAL
from transom.decisions.recover import bury
from transom.decisions.store import KeyRow, contents_without_key, insert_keys, instances
from transom.errors import LedgerError, StartError
from transom.ledger.checkpoint import Checkpoint, parse_checkpoint
from transom.ledger.entry import timestamp
from transom.ledger.note import open_note, parse_vkey
from transom.ledger.report import Report
from transom.ledger.sequence import Sequencer
from transom.ledger.store import last_checkpoint
from transom.ledger.tiles import CHECKPOINT, FOLDER
from transom.ledger.verify import verify_all
from transom.storage.copy import TABLES, count, hold_still, read_rows, write_rows
from transom.storage.durable import fsync
from transom.storage.migrate import ensure_schema, head

_SOONER: Final = frozenset(("record_key", "facts"))
"""Tables that hold what erasing destroys."""
_MANIFEST: Final = "manifest.json"
_BLOCK: Final = 1 << 20
_INSTANCE: Final = "restore"

Told = Callable[[str, int, int], None]
"""Is told what is being done, how much of it by now, and of how much."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup holds. `files`: the SHA-256 of each, by its path in the folder. `rows`: how many, by table."""

    at: str
    build: str
    schema: str
    vkey: str
    checkpoint: str | None
    """The newest one in the database: whoever restores this must know of no newer."""
    rows: dict[str, int]
    files: dict[str, str]
    format: Literal["transom-backup/1"] = "transom-backup/1"


class Restored(msgspec.Struct, frozen=True):
    """What a restore did, and what verification found then."""

    manifest: Manifest
    report: Report
    closed: int
    """Decisions that were open at the time of the backup, closed as interrupted."""
    erased: int
    """Decisions whose contents can be read no more, because the backup's `record-keys/` had been deleted."""
    kept_settings: bool
    """The home had settings of its own, which stay."""


def back_up(stores: Stores, folder: Path, *, keys: bool, told: Told) -> Manifest:
    """Write a backup into a folder that is not there yet. The door may go on serving.

    Raises `StartError` where the folder is there or cannot be written, `StorageError`.
    """
    if folder.exists():
        raise StartError(f"{folder} is there already, and no backup is written over. Name another folder.")
    draft = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(draft, ignore_errors=True)  # of a backup that did not finish
        draft.mkdir(mode=0o700, parents=True)
        rows, checkpoint = _write_tables(stores, draft, told)
        _copy_declared(stores.home, draft / "home")
        _copy_objects(stores, draft / "objects", told)
        if keys:
            shutil.copytree(stores.home.data / "keys", draft / "keys")
        manifest = Manifest(
            at=timestamp(time.time_ns() // 1_000_000),
            build=BUILD,
            schema=head(),
            vkey=stores.keys.vkey,
            checkpoint=checkpoint,
            rows=rows,
            files={str(file.relative_to(draft)): _digest(file) for file in sorted(draft.rglob("*")) if file.is_file()},
        )
        (draft / _MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
        _sync(draft)
        draft.rename(folder)  # a folder of this name is a whole backup
    except OSError as error:
        raise StartError(f"{folder} cannot be written: {error.strerror}. Name a folder with room on it.") from error
    return manifest


def restore(home: Home, folder: Path, *, keys: Path | None, published: bytes | None, told: Told) -> Restored:
    """Make a home of a backup: rows, declared files, objects, and the log from the rows; then verify all of it.

    `keys`: the folder with the door's secrets, where the home has none. `published`: the newest checkpoint that anybody
    outside has seen; None where it is known that there is none. Raises `StartError` where something is in the way, or
    where going on from this backup would sign a second history; nothing is written then.
    """
    manifest = read_manifest(folder)
    _check_files(folder, manifest)
    if manifest.schema != head():
        raise StartError(
            f"{folder} was made by Transom {manifest.build}, of schema {manifest.schema}; this one's is {head()}. "
            "Restore it with that version, then run `transom up` of this one."
        )
    kept_settings = home.settings.exists()
    _put_home(home, folder, keys, kept_settings=kept_settings)
    stores = open_stores(home)
    try:
        _check_ours(stores, manifest, published)
        ensure_schema(stores.database)
        closed = _fill(stores, folder, manifest, told)
        erased = _erase_keyless(stores)
        _put_objects(stores, folder, told)
        sequencer = Sequencer(stores.database, stores.objects, stores.keys, instance=_INSTANCE)
        sequencer.run_once()
        sequencer.release()
        report = verify_all(stores.database, stores.objects, stores.keys)
    finally:
        stores.close()
    return Restored(manifest, report, closed, erased, kept_settings)


def read_manifest(folder: Path) -> Manifest:
    """Read a backup's manifest. Raises `StartError` where there is none, or it is of another format."""
    try:
        return msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        raise StartError(f"{folder} is no backup: it has no {_MANIFEST}. Name the folder of one.") from error
    except (OSError, msgspec.DecodeError) as error:
        raise StartError(f"{folder / _MANIFEST} cannot be read: {error}. Use another backup.") from error


def _write_tables(stores: Stores, draft: Path, told: Told) -> tuple[dict[str, int], str | None]:
    for name in ("rows", "record-keys"):
        (draft / name).mkdir()
    rows: dict[str, int] = {}
    with stores.database.begin(write=False) as connection:
        hold_still(connection)
        whole, done = sum(count(connection, table) for table in TABLES), 0

        def seen(some: int) -> None:
            nonlocal done
            done += some
            told("rows", done, whole)

        for table in TABLES:
            with _rows_file(draft, table).open("wb") as file:
                rows[table] = write_rows(connection, table, file, seen)
        newest = last_checkpoint(connection)
    return rows, None if newest is None else newest.note


def _rows_file(folder: Path, table: str) -> Path:
    return folder / ("record-keys" if table in _SOONER else "rows") / f"{table}.rows"


def _copy_declared(home: Home, into: Path) -> None:
    for file in declared_files(home):
        if file.is_file():
            copy = into / file.relative_to(home.path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def _copy_objects(stores: Stores, into: Path, told: Told) -> None:
    paths = [path for path in stores.objects.list("") if not path.startswith(f"{FOLDER}/")]
    for done, path in enumerate(paths, 1):
        data = stores.objects.get(path)
        if data is not None:  # deleted meanwhile
            copy = into / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(data)
        told("objects", done, len(paths))


def _check_files(folder: Path, manifest: Manifest) -> None:
    """Refuse a backup of which anything is altered or missing; `record-keys/` may be gone as a whole."""
    without_keys = not (folder / "record-keys").exists()
    for name, digest in manifest.files.items():
        file = folder / name
        if without_keys and Path(name).parts[0] == "record-keys":
            continue
        if not file.is_file() or _digest(file) != digest:
            what = "is not what the manifest says" if file.exists() else "is missing"
            raise StartError(f"{file} {what}: the backup is damaged. Use another one.")


def _put_home(home: Home, folder: Path, keys: Path | None, *, kept_settings: bool) -> None:
    try:
        home.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not kept_settings:
            shutil.copytree(folder / "home", home.path, dirs_exist_ok=True)
        secrets = home.data / "keys"
        if keys is not None and not secrets.exists():
            secrets.mkdir(mode=0o700)
            for file in sorted(keys.iterdir()):
                shutil.copyfile(file, secrets / file.name)
                (secrets / file.name).chmod(0o600)
    except OSError as error:
        raise StartError(f"{home.path} cannot be written: {error}. Name a folder of yours in TRANSOM_HOME.") from error
    if not kept_settings and not secrets.exists():
        raise StartError(
            f"The door's own keys are neither in {secrets} nor given. Put ledger.key, master.key and pseudonym.key of "
            "the door that was backed up there, or name their folder with --keys."
        )


def _check_ours(stores: Stores, manifest: Manifest, published: bytes | None) -> None:
    """See that keys and backup belong together, and that nobody outside has seen more of this log than it holds."""
    if manifest.vkey not in {each.vkey for each in stores.keys.verifiers}:
        raise StartError(
            f"{stores.home.data / 'keys'} holds the keys of another door ({stores.keys.vkey}); the backup is of "
            f"{manifest.vkey}. Put that door's keys there."
        )
    size = 0 if manifest.checkpoint is None else _checkpoint(manifest, manifest.checkpoint.encode()).size
    known = ((published, "The published checkpoint"), (stores.objects.get(CHECKPOINT), "The object store's checkpoint"))
    for note, where in known:
        if note is not None and (seen := _checkpoint(manifest, note).size) > size:
            raise StartError(
                f"{where} is of {seen} entries, the backup's newest of {size}: to go on from here would sign a second "
                "history of this log. Restore a newer backup; or begin another log, with another ledger.origin and "
                "another ledger.key, in an object store of its own."
            )


def _checkpoint(manifest: Manifest, note: bytes) -> Checkpoint:
    try:
        return parse_checkpoint(open_note(note, [parse_vkey(manifest.vkey)]))
    except LedgerError as error:
        raise StartError(f"The checkpoint is not one of this log: {error}") from error


def _fill(stores: Stores, folder: Path, manifest: Manifest, told: Told) -> int:
    whole, done = sum(manifest.rows.values()), 0

    def seen(some: int) -> None:
        nonlocal done
        done += some
        told("rows", done, whole)

    # One transaction: a crash leaves an empty database, and the restore may be run again.
    with stores.database.begin() as connection:
        full = [table for table in TABLES if count(connection, table)]
        if full:
            raise StartError(
                f"The database ({stores.database.url}) is not empty ({full[0]} has rows). Restore into a new one."
            )
        for table in TABLES:
            file = _rows_file(folder, table)
            if file.exists():
                read_rows(connection, table, file, seen)
        # Whoever served when the backup was made does not live here.
        return sum(bury(connection, row.id, row.settled) for row in instances(connection))


def _erase_keyless(stores: Stores) -> int:
    """Say in the log that contents are erased whose keys were deleted from the backup."""
    with stores.database.begin() as connection:
        lost = contents_without_key(connection)
        insert_keys(connection, [KeyRow(decision, b"") for decision in lost])
    eraser = Eraser(stores.database, instance=_INSTANCE, by=stores.keys.pseudonym(TERMINAL))
    return sum(step.erased.decisions for step in eraser.decisions(lost))


def _put_objects(stores: Stores, folder: Path, told: Told) -> None:
    root = folder / "objects"
    files = [file for file in sorted(root.rglob("*")) if file.is_file()] if root.exists() else []
    for done, file in enumerate(files, 1):
        stores.objects.put(file.relative_to(root).as_posix(), file.read_bytes())
        told("objects", done, len(files))


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    for path in (*sorted(folder.rglob("*")), folder):
        fsync(path)
