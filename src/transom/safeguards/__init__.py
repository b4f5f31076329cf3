"""Checks of prompts: what was found, where, and what follows. *Not run* is a verdict and never shown as passed."""
