"""Keys for machines, for some models, from some networks, rotated; subjects that are blocked."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_COLUMNS = ("service", "models", "networks", "generation", "previous", "previous_ends")


def upgrade() -> None:
    """Add what keys may say, and make the table of blocked subjects."""
    for column in (
        sa.Column(
            "service", sa.Boolean, nullable=False, server_default=sa.false(), comment="a machine's, not a person's"
        ),
        sa.Column("models", sa.Text, nullable=True, comment="a JSON array of strings; every model where it is null"),
        sa.Column("networks", sa.Text, nullable=True, comment="a JSON array of strings; anywhere where it is null"),
        sa.Column("generation", sa.Integer, nullable=False, server_default="0", comment="how often it was rotated"),
        sa.Column("previous", sa.LargeBinary, nullable=True, comment="SHA-256 of the secret before the last rotation"),
        sa.Column("previous_ends", sa.BigInteger, nullable=True, comment="until when that one opens too"),
    ):
        op.add_column("key", column)
    op.create_table(
        "blocked",
        sa.Column("caller", sa.Text, primary_key=True, comment="the caller's id, made of issuer and subject"),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Drop them. Whoever was blocked is no more; a key's bounds are forgotten, so revoke bounded keys first."""
    op.drop_table("blocked")
    for name in _COLUMNS:
        op.drop_column("key", name)
