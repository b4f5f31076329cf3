"""Admission and cost: rates before the call, usage and price after it. Money is decimal, rounded once."""
