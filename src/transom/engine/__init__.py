"""The embedded open-weight model: its weights, and the supervised process that answers with it."""
