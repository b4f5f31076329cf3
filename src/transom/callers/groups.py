"""What a group may be called."""

import re

_GROUP = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)


def is_group(text: str) -> bool:
    """Say whether it can be a group's name: 1 to 64 lower-case letters, digits and dashes."""
    return _GROUP.fullmatch(text) is not None
