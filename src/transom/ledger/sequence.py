"""The sequencer: makes durable rows into the published log.

One batch, and what a crash just after each step means:
1. Read the stable rows after the last checkpoint's. Nothing was written: the next run reads the same.
2. Write bundles and tiles. No signed checkpoint covers them yet, so nobody asks for them; the next run makes the same
   bytes again (rows never change, nor does their order) and finds them there. One torn by a power cut is replaced.
3. Sign, and insert the checkpoint into the database, if it still extends the newest one. It is final from here on:
   the log has this root at this size for ever. Whether or not we learn that it was written, the next start reads it.
4. Ask witnesses, and keep what they say. Not done, or not kept: they are asked again, and say the same of the same.
5. Publish the note, witnesses' lines included. Not done: the next start does it. Readers see the one before until then.
6. Delete the partial tiles that full ones have replaced. Not done: the next start's inventory does it.
Every start, every takeover and every run after a failure goes the same way: `_load` reads the newest checkpoint of the
database and makes the objects agree with it.

Who may sequence is settled by a lease in the database, so that two do not do the same work. It is not what keeps the
log from forking: that is step 3, in whose transaction the lease and the newest checkpoint are compared.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol

from transom.errors import LedgerError, StorageError, TransomError
from transom.ledger import store
from transom.ledger.append import Appender
from transom.ledger.checkpoint import Checkpoint, parse_checkpoint
from transom.ledger.cosign import Cosignature
from transom.ledger.keys import LedgerKeys
from transom.ledger.note import open_note
from transom.ledger.proof import TileReader, consistency
from transom.ledger.store import CheckpointRow
from transom.ledger.tiles import CHECKPOINT, TILES, Tile, edge, pack, parse_path, partials_of, split_hashes, tiles_of
from transom.ledger.tree import EMPTY_ROOT, HASH, leaf_hash
from transom.storage.engine import Database
from transom.storage.objects import Objects

LEASE_MS: Final = 3_000
_RENEW_SECONDS: Final = 1.0
BATCH: Final = 65_536
"""The most entries under one new checkpoint: bounds what a crash re-does, and what finding a leaf counts."""
_FETCH: Final = 2_048
"""Rows read at once: bounds memory."""
_TOGETHER: Final = 64
_TOGETHER_BYTES: Final = 1 << 23
"""Tiles and bundles written at once, and their bytes: bound memory."""
_PAUSE_SECONDS: Final = 0.0005
"""A rest after each slice of a bundle, in which the event loop of this process gets the interpreter."""
_MAX_WAIT_SECONDS: Final = 5.0
"""Between runs that keep failing."""

_log = logging.getLogger("transom.ledger")


class Witnesses(Protocol):
    """Whoever can ask this log's witnesses."""

    quorum: int
    """How many must have cosigned a checkpoint."""
    hold: bool
    """Whether one that fewer have cosigned is kept from the public."""

    def genuine(self, note: str, line: str) -> bool:
        """Say whether a line is a cosignature of this checkpoint, as far as its witness is known."""
        ...

    def ask(
        self, note: str, size: int, prove: Callable[[int], list[bytes]], without: Collection[str]
    ) -> list[Cosignature]:
        """Have the checkpoint of a size cosigned by all but those in `without`; give what came in time, verified.

        `prove` gives the consistency proof from a smaller size. Raises nothing: a witness may always be away.
        """
        ...


class Sequencer:
    """Sequences the rows of one database into the log in one object store. For one thread at a time.

    `instance` is this process's id, the lease's holder. `clock` gives milliseconds since the Unix epoch: instances
    whose clocks differ by more than the lease may hand it to and fro, but never write different logs.
    """

    def __init__(
        self,
        database: Database,
        objects: Objects,
        keys: LedgerKeys,
        *,
        instance: str,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        witnesses: Witnesses | None = None,
    ) -> None:
        self._database = database
        self._objects = objects
        self._keys = keys
        self._witnesses = witnesses
        self.held: int | None = None
        """The size of the newest checkpoint, where it is not published until more witnesses have cosigned it."""
        self._instance = instance
        self._clock = clock
        self._renew_at = 0.0
        self._lapses_at = 0.0
        self._published_at = 0.0
        self._checked = False
        self._last: CheckpointRow | None = None
        self._appender = Appender(self._write)
        self._unwritten: list[tuple[Tile, bytes]] = []

    @property
    def leads(self) -> bool:
        """Whether this instance holds the lease, as far as it knows."""
        return time.monotonic() < self._lapses_at

    def recover(self) -> bool:
        """Make the published log agree with the newest checkpoint of the database. Sequences nothing new.

        Missing or torn tiles are made again from rows, once it is proven that the rows give the signed root.
        False, and nothing done, where another instance holds the lease. Raises `StorageError`; `LedgerError` where
        rows, keys and checkpoint do not belong together.
        """
        return self._current() is not None

    def run_once(self) -> int:
        """Sequence every row that is stable by now, and publish. Give the number of new entries in the log.

        Zero where another instance holds the lease. Raises like `recover`; after a failure the next run recovers.
        """
        try:
            last = self._current()
            if last is None:
                return 0
            before, end = last.size, self._stable_end(last)
            while last.last_entry < end:
                new = self._batch(last, end)
                if new is None:
                    break
                self._last = last = new
            return last.size - before
        except Exception:
            self._last = None  # what was done is not certain: the next run looks
            raise

    def release(self) -> None:
        """Give up the lease, so that another instance can go on at once."""
        self._last = None
        self._renew_at = self._lapses_at = 0.0
        with self._database.begin() as connection:
            store.release_lease(connection, self._instance)

    def _current(self) -> CheckpointRow | None:
        """Give the newest checkpoint, the objects agreeing with it; None where another instance holds the lease."""
        if not self._hold_lease():
            return None
        if self._last is None:
            self._last = self._load()
            self._published_at = 0.0
        if self._published_at != self._renew_at:
            # Also once every renewal: a former holder stopped in the middle of step 5 may have put its older note here,
            # and a witness that was away may be back.
            self._publish(self._last)
            self._published_at = self._renew_at
        return self._last

    def _hold_lease(self) -> bool:
        """Renew the lease when it is time; say whether we have it."""
        now = time.monotonic()
        if now < self._renew_at:
            return True
        lapsed = now >= self._lapses_at
        clock = self._clock()
        with self._database.begin() as connection:
            held = store.take_lease(connection, self._instance, clock, clock + LEASE_MS)
        self._renew_at, self._lapses_at = (now + _RENEW_SECONDS, now + LEASE_MS / 1000) if held else (0.0, 0.0)
        if lapsed or not held:
            self._last = None  # another may have been at work: look again
        return held

    def _stable_end(self, last: CheckpointRow) -> int:
        with self._database.begin(write=False) as connection:
            if store.newest_entry(connection) <= last.last_entry:
                return last.last_entry
        with self._database.begin(write=False) as connection:
            return store.stable_end(connection)

    def _batch(self, last: CheckpointRow, end: int) -> CheckpointRow | None:
        """Sequence up to `BATCH` rows after `last` and publish. None where another instance was faster."""
        # 1 and 2, slice by slice; the partial tiles once.
        last_entry = self._append_rows(self._appender, last.last_entry, end, BATCH)
        self._appender.finish()
        self._write_out()
        # 3. Final once it is inserted.
        new = self._signed(self._appender.size, last_entry, self._appender.root())
        if not self._insert(last, new):
            _log.info("Another instance sequences the ledger now.")
            self._last = None
            self._renew_at = self._lapses_at = 0.0
            return None
        # 4 and 5. If the next holder was faster, its newer note stays.
        self._publish(new)
        # 6. Readers of older checkpoints fall back from a partial tile to the full one.
        for tile in partials_of(last.size):
            if tile.full.needs <= new.size:
                self._objects.delete(self._objects.list(tile.partials))
        return new

    def _append_rows(self, appender: Appender, after: int, until: int, count: int) -> int:
        """Append at most `count` rows with ids above `after`, up to and with `until`. Give the last one's id."""
        while count > 0:
            with self._database.begin(write=False) as connection:
                rows = store.entries_after(connection, after, until, min(count, _FETCH))
            if not rows.ids:
                break
            place = 0
            while place < len(rows.bodies):
                entries = rows.bodies[place : place + appender.room]
                appender.add(entries)
                place += len(entries)
                time.sleep(_PAUSE_SECONDS)
            after = rows.ids[-1]
            count -= len(rows.ids)
            self._hold_lease()  # where it is lost, step 3 finds out
        return after

    def _signed(self, size: int, last_entry: int, root: bytes) -> CheckpointRow:
        note = self._keys.signer.sign(Checkpoint(self._keys.origin, size, root).text)
        return CheckpointRow(size, last_entry, root, note, self._clock())

    def _insert(self, last: CheckpointRow | None, new: CheckpointRow) -> bool:
        with self._database.begin() as connection:
            return store.append_checkpoint(connection, self._instance, last, new)

    def _publish(self, row: CheckpointRow) -> None:
        """Put a final checkpoint in its public place, with what witnesses say of it; never in place of a newer one."""
        # 4. What they said is kept before it is shown.
        cosigned = self._cosigned(row)
        missing = 0 if self._witnesses is None else self._witnesses.quorum - len(cosigned)
        if self._witnesses is not None and self._witnesses.hold and missing > 0:
            if self.held is None:
                _log.warning("The log's checkpoint of size %d waits for %d more of its witnesses.", row.size, missing)
            self.held = row.size
            return
        self.held = None
        # 5. The same signed text may be there with fewer witnesses' lines.
        note = (row.note + "".join(each.line for each in cosigned)).encode()
        published = self._objects.get(CHECKPOINT)
        if published == note:
            return
        newer = self._genuine(published)
        if newer is None or newer.size < row.size or (newer.size, newer.root) == (row.size, row.root):
            self._objects.put(CHECKPOINT, note)
            return
        with self._database.begin(write=False) as connection:
            same = store.checkpoints_after(connection, newer.size - 1, 1)
        if [(each.size, each.root) for each in same] != [(newer.size, newer.root)]:
            # To go on would be to sign another root for a size that was signed before.
            raise LedgerError(
                f"The published checkpoint (size {newer.size}) is not in the database, whose newest is of {row.size}: "
                "the database was restored from an older backup, or another one writes to this object store "
                f"({self._objects.where}). Restore the newer database; or begin another log, under another origin and "
                "in another object store."
            )

    def _cosigned(self, row: CheckpointRow) -> list[Cosignature]:
        """Give what witnesses say of a checkpoint, having asked those that have not said it yet."""
        with self._database.begin(write=False) as connection:
            known = store.cosignatures_of(connection, row.size)
        if self._witnesses is None:
            return known
        # One that was altered where it is kept would make whoever knows the witness refuse the whole checkpoint.
        known = [each for each in known if self._witnesses.genuine(row.note, each.line)]
        reader = TileReader(self._objects.get, row.size)
        names = {each.witness for each in known}
        new = self._witnesses.ask(row.note, row.size, lambda old: consistency(reader, old), names)
        if new:
            with self._database.begin() as connection:
                store.keep_cosignatures(connection, row.size, new)
        return sorted([*known, *new])

    def _genuine(self, note: bytes | None) -> Checkpoint | None:
        """Read a published note; None where there is none, or it is damaged and may be replaced."""
        try:
            return None if note is None else parse_checkpoint(open_note(note, self._keys.verifiers))
        except LedgerError:
            return None

    def _write(self, tile: Tile, data: bytes) -> None:
        """Write a new tile or bundle, together with the next few."""
        self._unwritten.append((tile, data))
        if len(self._unwritten) == _TOGETHER or sum(len(data) for _, data in self._unwritten) > _TOGETHER_BYTES:
            self._write_out()

    def _write_out(self) -> None:
        """Have every tile and bundle so far durable; one that a signed checkpoint may cover is never written over."""
        written = self._objects.create_all([(tile.path, data) for tile, data in self._unwritten])
        for (tile, data), new in zip(self._unwritten, written, strict=True):
            if not new and self._objects.get(tile.path) != data:
                self._replace(tile, data)
        self._unwritten.clear()

    def _replace(self, tile: Tile, data: bytes) -> None:
        with self._database.begin(write=False) as connection:
            last = store.last_checkpoint(connection)
        if last is not None and tile.needs <= last.size:
            raise LedgerError(
                f"{tile.path} is part of the signed log, but not what the rows of `entry` say. "
                "Run `transom ledger verify` to learn which of the two was altered."
            )
        _log.warning("%s was left by a run that did not finish, and is damaged; it is written again.", tile.path)
        self._objects.put(tile.path, data)

    def _load(self) -> CheckpointRow:
        """Read the newest checkpoint, and what the next batch needs of its tiles; repair them where they are wrong."""
        self._unwritten.clear()
        with self._database.begin(write=False) as connection:
            row = store.last_checkpoint(connection)
        if row is None:
            row = self._signed(0, 0, EMPTY_ROOT)
            if not self._insert(None, row):
                raise StorageError("Another instance has just begun this ledger. The next run reads what it wrote.")
        self._check_ours(row)
        appender = self._read_edge(row)
        if appender is None or not self._inventory(row.size):
            self._rebuild(row)
            appender = self._read_edge(row)
        if appender is None:
            raise LedgerError(
                f"The ledger's tiles, written again, still differ. Check the object store ({self._objects.where})."
            )
        self._appender = appender
        self._checked = True
        return row

    def _check_ours(self, row: CheckpointRow) -> None:
        try:
            signed = parse_checkpoint(open_note(row.note.encode(), self._keys.verifiers))
        except LedgerError as error:
            raise LedgerError(
                f"The newest checkpoint of the database (size {row.size}) is not signed by ledger.key "
                f"({self._keys.vkey}). Restore the key file that belongs to this database. ({error})"
            ) from error
        if signed != Checkpoint(self._keys.origin, row.size, row.root):
            raise LedgerError(
                f"The newest checkpoint of the database (size {row.size}) is not what its signed note says: the row "
                "was altered. Restore the database from a backup."
            )

    def _read_edge(self, row: CheckpointRow) -> Appender | None:
        """Read the right edge from the objects; None where it is missing, or is not what was signed."""
        reader = TileReader(self._objects.get, row.size)
        tiles = edge(row.size)
        try:
            edges = [
                split_hashes(reader.hashes(level, tile.index)) if tile.width else [] for level, tile in enumerate(tiles)
            ]
            entries = reader.entries(tiles[0].index) if tiles and tiles[0].width else []
        except LedgerError:
            return None
        appender = Appender(self._write, edges, pack(entries))
        whole = [leaf_hash(entry) for entry in entries] == (edges[0] if edges else [])
        return appender if whole and appender.root() == row.root else None

    def _inventory(self, size: int) -> bool:
        """Once in this process, say whether every tile and bundle is there; delete partial tiles of no use."""
        if self._checked:
            return True
        found = self._objects.sizes(TILES)
        partials = [tile for path in found if (tile := parse_path(path)) and tile.path != tile.full.path]
        if all(_is_whole(tile, found) for tile in tiles_of(size)):
            # Those beyond belong to no checkpoint: a power cut may have torn them, and the log may grow past them. If
            # the published one is newer, the database is an older backup: what that was made from is left alone.
            newer = self._genuine(self._objects.get(CHECKPOINT))
            end = size if newer is None else max(size, newer.size)
            self._objects.delete([tile.path for tile in partials if tile.full.needs <= size or tile.needs > end])
            return True
        return False

    def _rebuild(self, row: CheckpointRow) -> None:
        """Make every tile and bundle again from rows, and write those that are missing or wrong."""
        _log.warning("Tiles of the ledger are missing or damaged; they are written again from the database.")
        # First prove that the rows are what was signed: nothing may be overwritten on the word of altered rows.
        proof = Appender(lambda _tile, _data: None)
        last_entry = self._append_rows(proof, 0, row.last_entry, row.size)
        if (proof.size, last_entry, proof.root()) != (row.size, row.last_entry, row.root):
            raise LedgerError(
                f"The rows of `entry` do not give the root that was signed at size {row.size}: a row was changed, "
                "added or deleted. Restore the database, or the tiles, from a backup."
            )
        repaired = Appender(self._repair)
        self._append_rows(repaired, 0, row.last_entry, row.size)
        repaired.finish()

    def _repair(self, tile: Tile, data: bytes) -> None:
        if self._objects.get(tile.path) != data:
            self._objects.put(tile.path, data)


def _is_whole(tile: Tile, found: Mapping[str, int]) -> bool:
    """Say whether a tile is there and has its length; a bundle's length says only that much."""
    whole = tile if tile.path in found else tile.full
    length = found.get(whole.path, 0)
    return length == whole.width * HASH if tile.level is not None else length > 2 * whole.width


class SequencerThread:
    """Runs a sequencer every `interval` seconds in a thread, whatever fails; failures are logged (`transom.ledger`)."""

    def __init__(self, sequencer: Sequencer, interval: float = 0.25) -> None:
        self._sequencer = sequencer
        self._interval = interval
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
        self.last_error: str | None = None
        """Why the last run failed, `None` where it did not."""

    @property
    def problem(self) -> str | None:
        """What is in the way of the log, in words for anybody; `None` where nothing is."""
        if self.last_error is not None:
            return "the log cannot be sequenced"
        return None if self._sequencer.held is None else "the log waits for its witnesses"

    @property
    def leads(self) -> bool:
        """Whether this process is the one that sequences."""
        return self._sequencer.leads

    def start(self) -> None:
        """Do a first run, so that what a dead process left half done is whole from here on, and begin."""
        self._run()
        self._thread.start()

    def stop(self) -> None:
        """Finish the run in hand, sequence what is left, and give up the lease."""
        self._stopping.set()
        self._thread.join()
        if self._run():
            try:
                self._sequencer.release()
            except StorageError as error:
                _log.warning("The sequencer's lease could not be given up; it runs out in seconds. %s", error)

    def _work(self) -> None:
        wait = self._interval
        while not self._stopping.wait(wait):
            wait = self._interval if self._run() else min(wait * 2, _MAX_WAIT_SECONDS)

    def _run(self) -> bool:
        try:
            self._sequencer.run_once()
        except TransomError as error:
            _log.error("The ledger could not be sequenced; it is tried again. %s", error)
            self.last_error = str(error)
            return False
        except Exception:  # noqa: BLE001 - whatever it was, the log must go on when it has passed
            _log.exception("The ledger could not be sequenced; it is tried again.")
            self.last_error = "it failed within; see the log"
            return False
        self.last_error = None
        return True
