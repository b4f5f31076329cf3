"""Declared settings: files, read all or nothing, into frozen values with a digest."""
