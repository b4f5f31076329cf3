"""Keys apart from contents, what policy was told, cosignatures, and decisions to be searched for."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_FOUND = {
    "found_at": ("at", "entry"),
    "found_caller": ("caller", "at", "entry"),
    "found_action": ("action", "at", "entry"),
    "found_model": ("model", "at", "entry"),
    "found_effect": ("effect", "at", "entry"),
    "found_status": ("status", "at", "entry"),
    "found_cost": ("cost", "at", "entry"),
}
_COMMENTS = {
    ("content", "part"): "prompt, answer or note",
    ("checkpoint", "note"): "the note as the log's own key signed it",
}
_COMMENTS_BEFORE = {
    ("content", "part"): "prompt or answer",
    ("checkpoint", "note"): "the signed note, byte for byte as published",
}


def upgrade() -> None:
    """Make the tables, and move every decision's key out of its contents."""
    _make_record_key()
    _make_facts()
    _make_witnesses()
    _make_found()
    _comment(_COMMENTS)
    of_no_decision = sa.text("decision IS NULL")
    op.create_index("entry_act", "entry", ["type", "id"], sqlite_where=of_no_decision, postgresql_where=of_no_decision)


def _comment(comments: dict[tuple[str, str], str]) -> None:
    if op.get_context().dialect.name == "postgresql":  # SQLite keeps no comments
        for (table, column), comment in comments.items():
            op.alter_column(table, column, comment=comment)


def _make_record_key() -> None:
    op.create_table(
        "record_key",
        sa.Column("decision", sa.Text, primary_key=True),
        sa.Column(
            "wrapped", sa.LargeBinary, nullable=True, comment="wrapped by the master key; null once it was erased"
        ),
        sa.Column("erased", sa.BigInteger, nullable=True, comment="when it was"),
    )
    erased = sa.text("erased IS NOT NULL")
    op.create_index("record_key_erased", "record_key", ["erased"], sqlite_where=erased, postgresql_where=erased)
    op.execute("INSERT INTO record_key (decision, wrapped) SELECT DISTINCT decision, key FROM content")
    op.drop_column("content", "key")


def _make_facts() -> None:
    op.create_table(
        "facts",
        sa.Column("id", sa.Text, primary_key=True, comment="the commitment that decisions name"),
        sa.Column("wrapped", sa.LargeBinary, nullable=False, comment="their own key, wrapped by the master key"),
        sa.Column("sealed", sa.LargeBinary, nullable=False, comment="nonce, and AES-256-GCM of salt and facts"),
        sa.Column("caller", sa.Text, nullable=False, comment="a pseudonym"),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("facts_caller", "facts", ["caller"])
    op.create_index("facts_at", "facts", ["at"])


def _make_witnesses() -> None:
    op.create_table(
        "cosignature",
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False, comment="of the checkpoint"),
        sa.Column("witness", sa.Text, primary_key=True, comment="its key's name"),
        sa.Column("line", sa.Text, nullable=False, comment="the signature line, as the witness gave it"),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "witnessed",
        sa.Column("origin", sa.Text, primary_key=True, comment="of a log that this door is a witness for"),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("note", sa.Text, nullable=False, comment="the newest checkpoint that was cosigned"),
        sa.Column("at", sa.BigInteger, nullable=False),
    )


def _make_found() -> None:
    op.create_table(
        "found",
        sa.Column(
            "entry",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=False,
            comment="the decision's row",
        ),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("leaf", sa.BigInteger, nullable=False, comment="its place in the log, from 0"),
        sa.Column("outcome_leaf", sa.BigInteger, nullable=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("caller", sa.Text, nullable=False, comment="a pseudonym"),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False, comment="the resource's id"),
        sa.Column("effect", sa.Text, nullable=True),
        sa.Column("status", sa.Text, nullable=True),
        sa.Column("cost", sa.BigInteger, nullable=True, comment="in 1e-8 of the currency"),
        sa.Column("currency", sa.Text, nullable=True),
        sa.Column("milliseconds", sa.BigInteger, nullable=True),
    )
    op.create_index("found_decision", "found", ["decision"], unique=True)
    for name, columns in _FOUND.items():
        op.create_index(name, "found", list(columns))
    op.create_table(
        "found_tag",
        sa.Column("kind", sa.Text, primary_key=True, comment="policy, safeguard, verdict, upstream, reason or look"),
        sa.Column("value", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False, comment="the decision's own"),
        sa.Column("entry", sa.BigInteger, primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Put the keys back to the contents that are left, and drop the rest. What was erased stays so."""
    op.drop_index("entry_act", "entry")
    _comment(_COMMENTS_BEFORE)
    for table in ("found_tag", "found", "witnessed", "cosignature", "facts"):
        op.drop_table(table)
    op.execute("DELETE FROM content WHERE decision NOT IN (SELECT decision FROM record_key WHERE wrapped IS NOT NULL)")
    op.add_column(
        "content",
        sa.Column("key", sa.LargeBinary, nullable=True, comment="the record's key, wrapped by the master key"),
    )
    op.execute("UPDATE content SET key = (SELECT wrapped FROM record_key WHERE record_key.decision = content.decision)")
    with op.batch_alter_table("content") as content:
        content.alter_column("key", nullable=False)
    op.drop_table("record_key")
