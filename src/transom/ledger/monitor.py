"""Following somebody's log: each checkpoint must go on from the one before, by what is published alone.

Rules without state: `follow` is given what was kept, and says what is to be kept now, or why that must not be.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from transom.errors import LedgerError
from transom.ledger.checkpoint import Checkpoint, parse_checkpoint
from transom.ledger.cosign import CosignatureVerifier, cosignatures
from transom.ledger.note import Verifier, open_note, split_note
from transom.ledger.proof import TileReader, consistency, verify_consistency
from transom.ledger.rotation import learn
from transom.ledger.tiles import CHECKPOINT

Get = Callable[[str], bytes | None]
"""Gives an object of the log by its path, or None where there is none."""
_REWRITTEN: Final = "Its history was rewritten, or it is shown in two versions."


class Trusted(NamedTuple):
    """Whom the one who follows a log trusts: the log's keys, witnesses, and how many of these must have cosigned."""

    keys: Sequence[Verifier]
    witnesses: Sequence[CosignatureVerifier] = ()
    quorum: int = 0


class Step(NamedTuple):
    """What one look at a log gave."""

    checkpoint: Checkpoint
    note: str
    """The published one: to be kept, unless there is an alarm or `stale`."""
    alarm: str | None = None
    """Why this cannot be the log that was kept; nothing that a log may do by itself leads here."""
    stale: bool = False
    """An older checkpoint than the one that was kept, of the same history: some cache shows it."""
    cosigned: tuple[str, ...] = ()
    """The names of the witnesses whose cosignatures were verified."""
    unwitnessed: bool = False
    """Fewer than the quorum have cosigned it."""
    learned: tuple[Verifier, ...] = ()
    """Keys of the log that a trusted one has endorsed since: to be trusted from now on."""


def follow(get: Get, trusted: Trusted, kept: str | None) -> Step:
    """Look at a log once; `kept` is the note that was kept last, None at the first look.

    Raises `LedgerError` where there is no log to be seen, or not enough of it to tell, and whatever `get` raises: that
    is for later, and no alarm.
    """
    # 1. There is a checkpoint of this log.
    note = get(CHECKPOINT)
    if note is None:
        raise LedgerError("There is no checkpoint. Give what stands before /checkpoint.")
    text, _ = split_note(note)
    found = parse_checkpoint(text)
    step = Step(found, note.decode())
    # 2. Signed by the log's key, of the log's name.
    before = None if kept is None else parse_checkpoint(split_note(kept.encode())[0])
    try:
        learned = _signed(get, note, found, trusted.keys, before)
        cosigned = cosignatures(note, trusted.witnesses)
    except LedgerError as error:
        return step._replace(alarm=str(error))
    if found.origin != trusted.keys[0].name:
        return step._replace(alarm=f"The checkpoint is of the log {found.origin!r}, not of {trusted.keys[0].name!r}.")
    names = tuple(sorted(each.witness for each in cosigned))
    step = step._replace(cosigned=names, unwitnessed=len(names) < trusted.quorum, learned=learned)
    # 3. It goes on from what was kept.
    if before is None:
        return step
    if found.size < before.size:
        try:
            alarm = _compare(get, found, before)
        except LedgerError as error:
            alarm = f"The log had {before.size} entries and shows {found.size}, and no more what it had: {error}"
        return step._replace(alarm=alarm, stale=alarm is None)
    return step._replace(alarm=_compare(get, before, found))


def _signed(
    get: Get, note: bytes, found: Checkpoint, keys: Sequence[Verifier], before: Checkpoint | None
) -> tuple[Verifier, ...]:
    """Verify the log's signature; give the keys that had to be learned from the log for that. Raises `LedgerError`."""
    try:
        open_note(note, keys)
    except LedgerError as error:
        try:
            learned = learn(get, found, keys) if before is None else learn(get, found, keys, before)
        except LedgerError:
            raise error from None
        if not learned:
            raise
        open_note(note, [*keys, *learned])
        return tuple(learned)
    return ()


def _compare(get: Get, old: Checkpoint, new: Checkpoint) -> str | None:
    """Say why two signed checkpoints are not of one history; None where they are."""
    if old.size == new.size:
        same = old.root == new.root
        return None if same else f"There are two signed roots for a log of {old.size} entries. {_REWRITTEN}"
    reader = TileReader(get, new.size)
    # The proof is made of tiles, which anybody may have altered: only the two signed roots can prove it right.
    if verify_consistency(old, new, consistency(reader, old.size)):
        return None
    if reader.range_hash(0, new.size) != new.root:
        return f"The tiles do not give the root that was signed at size {new.size}: they are damaged, or not its own."
    return f"The log of {new.size} entries does not go on from the one of {old.size}. {_REWRITTEN}"
