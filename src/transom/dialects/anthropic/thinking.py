"""How much may be thought (`thinking`, `output_config.effort`) and, as that counts towards it, said (`max_tokens`)."""

import msgspec

from transom.dialects.anthropic.models import Abilities
from transom.dialects.middle import Effort, Thinking, Unsayable
from transom.dialects.objects import Object, uncarried
from transom.dialects.translate import BUDGETS, effort_of
from transom.errors import InvalidRequest

DEFAULT_MAX_TOKENS = 4096
"""What an answer may take where its caller set no limit, thinking aside: Anthropic takes no request without one."""
_LEAST_BUDGET = 1024
_EFFORTS: dict[str, Effort] = {"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}


class Limits(msgspec.Struct, frozen=True):
    """What a request says of thinking and of its answer's length, in Anthropic's words."""

    max_tokens: int
    thinking: dict[str, object] | None = None
    effort: str | None = None


def read_thinking(body: Object, config: Object | None) -> Thinking | None:
    """Read `thinking` and, of `output_config`, `effort`."""
    effort: Effort | None = _effort(config)
    thinking = body.object("thinking")
    if thinking is None:
        return None if effort is None else Thinking(effort=effort)
    kind = thinking.need("type", thinking.text("type"))
    budget = shown = None
    if kind == "disabled":
        if effort is not None and config is not None:
            # Without thought, it only says how wordy an answer is liked.
            config.hints.append(config.at("effort"))
        effort = "none"
    elif kind in {"enabled", "adaptive"}:
        shown = _shown(thinking)
        if kind == "enabled":
            # It was there before `display` was, and its thoughts are shown where nobody says otherwise.
            shown = shown is not False
            budget = thinking.need("budget_tokens", thinking.integer("budget_tokens"))
    else:
        raise uncarried(thinking.at("type"), f"thinking of the type `{kind[:100]}` is Anthropic's own")
    thinking.done()
    return Thinking(effort=effort, budget=budget, shown=shown)


def limits(thinking: Thinking | None, max_tokens: int | None, able: Abilities) -> Limits:
    """Say how much may be thought and answered. Raises `Unsayable`.

    A budget counts towards `max_tokens`, so it is added to the limit that is set here where the caller set none. Where
    the model takes only the other, budgets and efforts become each other by `translate.BUDGETS`.
    """
    limit = DEFAULT_MAX_TOKENS if max_tokens is None else max_tokens
    if thinking is None:
        return Limits(limit)
    if thinking.effort == "none" or (thinking.effort is None and thinking.budget == 0):
        return Limits(limit, {"type": "disabled"})
    budget = thinking.budget
    effort: Effort | None = thinking.effort
    display = {} if thinking.shown is None else {"display": "summarized" if thinking.shown else "omitted"}
    if budget is None and not able.adaptive:
        budget = BUDGETS[effort or "medium"]
    if budget is None or not able.budgets:
        effort = effort or (None if budget is None else effort_of(budget))
        return Limits(limit, {"type": "adaptive", **display}, _least(effort))
    if budget < _LEAST_BUDGET:
        raise Unsayable("thinking", f"has a budget of {budget} tokens; Anthropic takes 0, or {_LEAST_BUDGET} and more")
    if max_tokens is None:
        limit += budget
    if limit <= budget:
        raise Unsayable("max_tokens", f"is {limit}, of which thinking may take {budget}: allow more than that")
    config = {"type": "enabled", "budget_tokens": budget, **display}
    return Limits(limit, config, _least(effort) if able.adaptive else None)


def _effort(config: Object | None) -> Effort | None:
    said = None if config is None else config.text("effort")
    effort = None if said is None else _EFFORTS.get(said)
    if config is not None and said is not None and effort is None:
        path = config.at("effort")
        raise InvalidRequest(f"`{path}` must be one of {', '.join(_EFFORTS)}.", param=path)
    return effort


def _shown(thinking: Object) -> bool | None:
    display = thinking.text("display")
    if display not in {None, "summarized", "omitted"}:
        path = thinking.at("display")
        raise InvalidRequest(f"`{path}` must be `summarized` or `omitted`.", param=path)
    return None if display is None else display == "summarized"


def _least(effort: Effort | None) -> Effort | None:
    """Anthropic's efforts begin with `low`."""
    return "low" if effort in {"none", "minimal"} else effort
