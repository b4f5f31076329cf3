"""The tables, once, for SQLite and PostgreSQL. Migrations are proven equal to this file by a test.

Imported by `store.py` files only. Times are whole milliseconds since the Unix epoch, UTC.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    false,
    text,
)

metadata = MetaData()

_RowId = BigInteger().with_variant(Integer, "sqlite")

entry = Table(
    "entry",
    metadata,
    Column("id", _RowId, primary_key=True, autoincrement=True),
    Column("decision", Text, nullable=True, comment="the decision it belongs to, where it belongs to one"),
    Column("type", Text, nullable=False, comment='its type and version: "decision/1"'),
    Column("instance", Text, nullable=False, comment="the process that wrote it"),
    Column("body", LargeBinary, nullable=False, comment="the entry's canonical bytes: the leaf of the log"),
    Index("entry_decision", "decision"),
    Index(
        "entry_act",
        "type",
        "id",
        sqlite_where=text("decision IS NULL"),
        postgresql_where=text("decision IS NULL"),
    ),
    sqlite_autoincrement=True,
)
"""What is durable. The log is sequenced from these rows in the order of their ids; ids may have gaps."""

content = Table(
    "content",
    metadata,
    Column("decision", Text, primary_key=True),
    Column("part", Text, primary_key=True, comment="prompt, answer or note"),
    Column("sealed", LargeBinary, nullable=False, comment="nonce, and AES-256-GCM of salt and content"),
    Column("expires", BigInteger, nullable=False),
    Index("content_expires", "expires"),
)
"""Prompts and answers, apart from the log."""

record_key = Table(
    "record_key",
    metadata,
    Column("decision", Text, primary_key=True),
    Column("wrapped", LargeBinary, nullable=True, comment="wrapped by the master key; null once it was erased"),
    Column("erased", BigInteger, nullable=True, comment="when it was"),
    Index(
        "record_key_erased",
        "erased",
        sqlite_where=text("erased IS NOT NULL"),
        postgresql_where=text("erased IS NOT NULL"),
    ),
)
"""What a decision's contents are sealed with, apart from them: without it they are erased, wherever they lie."""

facts = Table(
    "facts",
    metadata,
    Column("id", Text, primary_key=True, comment="the commitment that decisions name"),
    Column("wrapped", LargeBinary, nullable=False, comment="their own key, wrapped by the master key"),
    Column("sealed", LargeBinary, nullable=False, comment="nonce, and AES-256-GCM of salt and facts"),
    Column("caller", Text, nullable=False, comment="a pseudonym"),
    Column("at", BigInteger, nullable=False),
    Index("facts_caller", "caller"),
    Index("facts_at", "at"),
)
"""What policy was told when it ruled: entities and context, sealed, once for all decisions that it is the same for."""

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False, comment="the tree's size in leaves"),
    Column("last_entry", BigInteger, nullable=False, comment="the entry row that is the last leaf"),
    Column("root", LargeBinary, nullable=False),
    Column("note", Text, nullable=False, comment="the note as the log's own key signed it"),
    Column("at", BigInteger, nullable=False),
    Index("checkpoint_last_entry", "last_entry"),
)
"""One row a batch. A row is signed and final before its note is published; sizes only grow."""

cosignature = Table(
    "cosignature",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False, comment="of the checkpoint"),
    Column("witness", Text, primary_key=True, comment="its key's name"),
    Column("line", Text, nullable=False, comment="the signature line, as the witness gave it"),
    Column("at", BigInteger, nullable=False),
)
"""What witnesses said of our checkpoints (C2SP tlog-cosignature)."""

witnessed = Table(
    "witnessed",
    metadata,
    Column("origin", Text, primary_key=True, comment="of a log that this door is a witness for"),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", Text, nullable=False, comment="the newest checkpoint that was cosigned"),
    Column("at", BigInteger, nullable=False),
)
"""What this door has cosigned last of each log: it never cosigns a smaller or another one (C2SP tlog-witness)."""

found = Table(
    "found",
    metadata,
    Column("entry", _RowId, primary_key=True, autoincrement=False, comment="the decision's row"),
    Column("decision", Text, nullable=False),
    Column("leaf", BigInteger, nullable=False, comment="its place in the log, from 0"),
    Column("outcome_leaf", BigInteger, nullable=True),
    Column("at", BigInteger, nullable=False),
    Column("caller", Text, nullable=False, comment="a pseudonym"),
    Column("action", Text, nullable=False),
    Column("model", Text, nullable=False, comment="the resource's id"),
    Column("effect", Text, nullable=True),
    Column("status", Text, nullable=True),
    Column("cost", BigInteger, nullable=True, comment="in 1e-8 of the currency"),
    Column("currency", Text, nullable=True),
    Column("milliseconds", BigInteger, nullable=True),
    Index("found_decision", "decision", unique=True),
    Index("found_at", "at", "entry"),
    Index("found_caller", "caller", "at", "entry"),
    Index("found_action", "action", "at", "entry"),
    Index("found_model", "model", "at", "entry"),
    Index("found_effect", "effect", "at", "entry"),
    Index("found_status", "status", "at", "entry"),
    Index("found_cost", "cost", "at", "entry"),
)
"""Decisions to be searched for: made of the log's entries, and made again from them at any time."""

found_tag = Table(
    "found_tag",
    metadata,
    Column("kind", Text, primary_key=True, comment="policy, safeguard, verdict, upstream, reason or look"),
    Column("value", Text, primary_key=True),
    Column("at", BigInteger, primary_key=True, autoincrement=False, comment="the decision's own"),
    Column("entry", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
"""What a decision has several of, or rarely."""

lease = Table(
    "lease",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("expires", BigInteger, nullable=False),
)

instance = Table(
    "instance",
    metadata,
    Column("id", Text, primary_key=True),
    Column("seen", BigInteger, nullable=False, comment="its last sign of life"),
    Column("settled", BigInteger, nullable=False, comment="its decisions in rows up to here are all closed"),
)
"""Processes that open decisions, so that those of a dead one can be closed by another."""

counter = Table(
    "counter",
    metadata,
    Column("id", Text, primary_key=True, comment="limit/kind/window/who, see metering.accounts"),
    Column("spent", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False, comment="the sum of its holds"),
    Column("told", BigInteger, nullable=False, comment="the highest threshold told of, in millionths of the limit"),
    Column("ends", BigInteger, nullable=True, comment="when its window does, where it does"),
    Index("counter_ends", "ends"),
)
"""What is spent and held against a limit, in 1e-8 of the currency, or in calls."""

hold = Table(
    "hold",
    metadata,
    Column("decision", Text, primary_key=True),
    Column("counter", Text, primary_key=True),
    Column("amount", BigInteger, nullable=False),
)
"""What an open decision may still spend. Written with its decision, deleted with its outcome."""

alert = Table(
    "alert",
    metadata,
    Column("id", _RowId, primary_key=True, autoincrement=True),
    Column("counter", Text, nullable=False),
    Column("threshold", BigInteger, nullable=False, comment="in millionths of the limit"),
    Column("spent", BigInteger, nullable=False),
    Column("ceiling", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("due", BigInteger, nullable=True, comment="when it is sent (again); nothing once it was, or was given up"),
    Index("alert_due", "due"),
    sqlite_autoincrement=True,
)
"""Thresholds that were passed, written with what passed them, and sent afterwards by whichever process comes first."""

revision = Table(
    "revision",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""Counters that grow with each change of what processes hold in memory (`keys`)."""

key = Table(
    "key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True, comment="SHA-256 of the secret"),
    Column("groups", Text, nullable=False, comment="a JSON array of strings"),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=True),
    Column("revoked", BigInteger, nullable=True),
    Column("service", Boolean, nullable=False, server_default=false(), comment="a machine's, not a person's"),
    Column("models", Text, nullable=True, comment="a JSON array of strings; every model where it is null"),
    Column("networks", Text, nullable=True, comment="a JSON array of strings; anywhere where it is null"),
    Column("generation", Integer, nullable=False, server_default="0", comment="how often it was rotated"),
    Column("previous", LargeBinary, nullable=True, comment="SHA-256 of the secret before the last rotation"),
    Column("previous_ends", BigInteger, nullable=True, comment="until when that one opens too"),
)

blocked = Table(
    "blocked",
    metadata,
    Column("caller", Text, primary_key=True, comment="the caller's id, made of issuer and subject"),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)
"""Subjects of identity providers who are let in no more, whatever token they bring."""
