"""Safeguards that need nothing but this package."""
