"""What a model can be told, by its version as its name has it. Of a model without one, all that is said is believed.

Source: Anthropic's documentation, "Extended thinking", "Adaptive thinking", and the notes on Claude 4.6 and 4.7.
"""

import re

from msgspec import Struct

_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")


class Abilities(Struct, frozen=True):
    """Which settings a model takes."""

    budgets: bool = True
    """`thinking.budget_tokens`: all models before 4.7."""
    adaptive: bool = True
    """Thinking as the model sees fit, by `output_config.effort`: from 4.6."""
    sampling: bool = True
    """`temperature`, `top_p` and `top_k`: all models before 4.7."""


def abilities(model: str) -> Abilities:
    """Return what the model of this name takes."""
    found = _VERSION.search(model)
    if found is None:
        return Abilities()
    version = (int(found[1]), int(found[2] or 0))
    return Abilities(budgets=version < (4, 7), adaptive=version >= (4, 6), sampling=version < (4, 7))
