"""The schema's history (Alembic). A test proves that all of it together equals `storage.tables`."""
