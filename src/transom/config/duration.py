"""Lengths of time as a person writes them: `30d`, `12h`, `90s`."""

import re

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_FORM = re.compile(r"([0-9]{1,9})([smhdw])", re.ASCII)


class Duration(int):
    """A length of time in whole seconds; in a settings file it is text such as `"30d"`."""


def overlap_seconds(text: str) -> int:
    """Return how long two things hold side by side: `none` is 0, anything else as `duration` reads it."""
    return 0 if text == "none" else duration(text)


def duration(text: str) -> Duration:
    """Return `text` in seconds: a whole number above zero and one of s, m, h, d, w. Raises `ValueError`."""
    match = _FORM.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise ValueError(
            f"{text!r} is not a length of time. "
            'Write a whole number above zero and a unit: "90s", "15m", "12h", "30d" or "8w"'
        )
    return Duration(int(match[1]) * _SECONDS[match[2]])
