"""Money and calls under way, counted against limits."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables of counters, holds and alerts."""
    op.create_table(
        "counter",
        sa.Column("id", sa.Text, primary_key=True, comment="limit/kind/window/who, see metering.accounts"),
        sa.Column("spent", sa.BigInteger, nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False, comment="the sum of its holds"),
        sa.Column(
            "told", sa.BigInteger, nullable=False, comment="the highest threshold told of, in millionths of the limit"
        ),
        sa.Column("ends", sa.BigInteger, nullable=True, comment="when its window does, where it does"),
    )
    op.create_index("counter_ends", "counter", ["ends"])
    op.create_table(
        "hold",
        sa.Column("decision", sa.Text, primary_key=True),
        sa.Column("counter", sa.Text, primary_key=True),
        sa.Column("amount", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "alert",
        sa.Column("id", _ROW_ID, primary_key=True, autoincrement=True),
        sa.Column("counter", sa.Text, nullable=False),
        sa.Column("threshold", sa.BigInteger, nullable=False, comment="in millionths of the limit"),
        sa.Column("spent", sa.BigInteger, nullable=False),
        sa.Column("ceiling", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column(
            "due",
            sa.BigInteger,
            nullable=True,
            comment="when it is sent (again); nothing once it was, or was given up",
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("alert_due", "alert", ["due"])


def downgrade() -> None:
    """Drop them. What was spent is forgotten."""
    for table in ("alert", "hold", "counter"):
        op.drop_table(table)
