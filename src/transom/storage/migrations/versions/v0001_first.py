"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "entry",
        sa.Column("id", _ROW_ID, primary_key=True, autoincrement=True),
        sa.Column("decision", sa.Text, nullable=True, comment="the decision it belongs to, where it belongs to one"),
        sa.Column("type", sa.Text, nullable=False, comment='its type and version: "decision/1"'),
        sa.Column("instance", sa.Text, nullable=False, comment="the process that wrote it"),
        sa.Column("body", sa.LargeBinary, nullable=False, comment="the entry's canonical bytes: the leaf of the log"),
        sqlite_autoincrement=True,
    )
    op.create_index("entry_decision", "entry", ["decision"])
    op.create_table(
        "content",
        sa.Column("decision", sa.Text, primary_key=True),
        sa.Column("part", sa.Text, primary_key=True, comment="prompt or answer"),
        sa.Column("key", sa.LargeBinary, nullable=False, comment="the record's key, wrapped by the master key"),
        sa.Column("sealed", sa.LargeBinary, nullable=False, comment="nonce, and AES-256-GCM of salt and content"),
        sa.Column("expires", sa.BigInteger, nullable=False),
    )
    op.create_index("content_expires", "content", ["expires"])
    op.create_table(
        "checkpoint",
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False, comment="the tree's size in leaves"),
        sa.Column("last_entry", sa.BigInteger, nullable=False, comment="the entry row that is the last leaf"),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("note", sa.Text, nullable=False, comment="the signed note, byte for byte as published"),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("checkpoint_last_entry", "checkpoint", ["last_entry"])
    op.create_table(
        "lease",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "instance",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("seen", sa.BigInteger, nullable=False, comment="its last sign of life"),
        sa.Column("settled", sa.BigInteger, nullable=False, comment="its decisions in rows up to here are all closed"),
    )
    op.create_table(
        "revision",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "key",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False, unique=True, comment="SHA-256 of the secret"),
        sa.Column("groups", sa.Text, nullable=False, comment="a JSON array of strings"),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=True),
        sa.Column("revoked", sa.BigInteger, nullable=True),
    )


def downgrade() -> None:
    """Drop every table."""
    for table in ("key", "revision", "instance", "lease", "checkpoint", "content", "entry"):
        op.drop_table(table)
