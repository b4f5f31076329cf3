"""Verification of what is kept apart from the log: that it is what was committed to, and that nothing is gone unsaid.

May run beside a door at work: whatever looks wrong is looked at once more, in a later transaction.
"""

from typing import Final

from transom.errors import LedgerError
from transom.ledger import store
from transom.ledger.acts import ErasureEntry, LookEntry
from transom.ledger.entry import DecisionEntry, Entry, OutcomeEntry, decode
from transom.ledger.report import Report
from transom.ledger.seal import Vault, commitment
from transom.ledger.store import ContentRow, KeyRow
from transom.storage.engine import Database
from transom.values import DecisionId

_CONTENTS: Final = 64
"""Contents opened at once: each may be megabytes."""
_KEYS: Final = 500


def verify_contents(database: Database, vault: Vault, report: Report) -> None:
    """Open every content that is kept, and account for every one that is not. Raises `StorageError`."""
    _verify_kept(database, vault, report)
    erased = _verify_keys(database, report)
    named, everything = _erasures(database)
    for decision in sorted(erased - named):
        report.add("Its key was destroyed, but no erasure of it is on record.", f"content of decision {decision}")
    if everything:
        _verify_keyless(database, named, report)


def _verify_kept(database: Database, vault: Vault, report: Report) -> None:
    decision = part = ""
    while True:
        with database.begin(write=False) as connection:
            rows = store.contents_after(connection, decision, part, _CONTENTS)
        if not rows:
            return
        for row in rows:
            report.contents += 1
            what = content_problem(row, vault)
            if what:
                report.add(what, f"content of decision {row.decision}, {row.part}")
        decision, part = rows[-1].decision, rows[-1].part


def content_problem(row: ContentRow, vault: Vault) -> str | None:
    """Open a content, and say what is wrong with it; `None` where it is what its entry commits to."""
    if row.entry is None:
        return "No entry commits to this content."
    try:
        entry = decode(row.entry)
        opened = vault.open(row.key, row.sealed, row.decision, row.part)
    except LedgerError as error:
        return str(error)
    promised = getattr(entry, row.part, None)
    if promised is None:
        return "Its entry commits to no content."
    if opened.content is None:
        return None  # the salt alone was kept
    if (promised.commitment, promised.size) != (commitment(opened.salt, opened.content), len(opened.content)):
        return "The content is not the one that its entry commits to."
    return None


def _verify_keys(database: Database, report: Report) -> set[DecisionId]:
    """Compare what is kept with what the entries commit to; return the decisions whose key is erased."""
    erased: set[DecisionId] = set()
    last = ""
    while True:
        with database.begin(write=False) as connection:
            decisions = store.keys_after(connection, last, _KEYS)
            rows = store.keys_of(connection, decisions)
        if not decisions:
            return erased
        doubtful = [row.decision for row in rows if row.erased is None and _missing(row)]
        with database.begin(write=False) as connection:
            again = store.keys_of(connection, doubtful) if doubtful else []
        erased.update(row.decision for row in (*rows, *again) if row.erased is not None)
        for row in again:
            for part in sorted(_missing(row)) if row.erased is None else ():
                where = f"content of decision {row.decision}, {part}"
                report.add(f"The {part} is gone, but no erasure of it is on record.", where)
        last = decisions[-1]


def _missing(row: KeyRow) -> set[str]:
    """Name the parts that a decision's entries commit to and that are not kept. A damaged entry is found elsewhere."""
    promised = set()
    for body in row.entries:
        entry = _read(body)
        if isinstance(entry, DecisionEntry) and entry.prompt is not None:
            promised.add("prompt")
        elif isinstance(entry, OutcomeEntry) and entry.answer is not None:
            promised.add("answer")
        elif isinstance(entry, LookEntry) and entry.note is not None:
            promised.add("note")
    return promised - row.parts


def _erasures(database: Database) -> tuple[set[DecisionId], bool]:
    """Return the decisions whose erasure is on record, and whether every erasure names its own.

    Those of versions that kept keys beside contents do not.
    """
    with database.begin(write=False) as connection:
        bodies = store.acts(connection, "erasure/1")
    named: set[DecisionId] = set()
    everything = True
    for body in bodies:
        entry = _read(body)
        if isinstance(entry, ErasureEntry):
            named.update(entry.decisions)
            everything = everything and (bool(entry.decisions) or not entry.count)
    return named, everything


def _verify_keyless(database: Database, named: set[DecisionId], report: Report) -> None:
    """Find decisions that commit to a prompt and have no key, not even an erased one, and are not `named` as erased."""
    after = 0
    while True:
        with database.begin(write=False) as connection:
            rows = store.keyless(connection, after, _KEYS)
        if not rows:
            return
        for id_, body in rows:
            entry = _read(body)
            if isinstance(entry, DecisionEntry) and entry.prompt is not None and entry.id not in named:
                report.add(
                    f"The key of decision {entry.id} is gone, but no erasure of it is on record.",
                    f"row {id_} of `entry`",
                )
        after = rows[-1][0]


def _read(body: bytes) -> Entry | None:
    try:
        return decode(body)
    except LedgerError:
        return None  # reported where the log itself is verified
