"""Alembic's entry: runs the steps on the connection that `storage.migrate` gives."""

from alembic import context

from transom.storage.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
