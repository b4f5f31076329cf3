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
    sqlite_autoincrement=True,
)
"""What is durable. The log is sequenced from these rows in the order of their ids; ids may have gaps."""

content = Table(
    "content",
    metadata,
    Column("decision", Text, primary_key=True),
    Column("part", Text, primary_key=True, comment="prompt or answer"),
    Column("key", LargeBinary, nullable=False, comment="the record's key, wrapped by the master key"),
    Column("sealed", LargeBinary, nullable=False, comment="nonce, and AES-256-GCM of salt and content"),
    Column("expires", BigInteger, nullable=False),
    Index("content_expires", "expires"),
)
"""Prompts and answers, apart from the log. Deleting a row erases salt and content for good."""

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False, comment="the tree's size in leaves"),
    Column("last_entry", BigInteger, nullable=False, comment="the entry row that is the last leaf"),
    Column("root", LargeBinary, nullable=False),
    Column("note", Text, nullable=False, comment="the signed note, byte for byte as published"),
    Column("at", BigInteger, nullable=False),
    Index("checkpoint_last_entry", "last_entry"),
)
"""One row a batch. A row is signed and final before its note is published; sizes only grow."""

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
