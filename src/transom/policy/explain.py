"""Rulings in words. Pure."""

from transom.policy.ruling import ERROR, Policies
from transom.values import Caller, Obligations, Resource, Ruling

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def explain(ruling: Ruling, policies: Policies | None = None) -> str:
    """Return what was ruled and by which policies, for those who may read decisions.

    Places and comments of policies are given where `policies` is the very set that ruled.
    """
    if ruling.effect == "permit":
        by = "; ".join(_named(id_, ruling, policies, summary=True) for id_ in ruling.policies)
        return f"Permitted by {by}.{_obliged(ruling.obligations)}"
    if not ruling.policies:
        return "Refused: no policy permits it."
    return f"Refused: {'; '.join(_why(id_, ruling, policies, 'it', summary=True) for id_ in ruling.policies)}."


def refusal(ruling: Ruling, policies: Policies, caller: Caller, action: str, resource: Resource) -> str:
    """Return what a caller is told of a ruling that forbids: the policies and where they stand, not their comments."""
    what = f"{action} on {resource.id}" if resource.type == "Model" else action
    if ruling.policies:
        return f"{'; '.join(_why(id_, ruling, policies, what, summary=False) for id_ in ruling.policies)}."
    groups = f"groups {', '.join(caller.groups)}" if caller.groups else "a caller in no group"
    return f"no policy permits {what} for {groups}."


def _why(id_: str, ruling: Ruling, policies: Policies | None, what: str, *, summary: bool) -> str:
    if id_.startswith(ERROR):
        named = _named(id_.removeprefix(ERROR), ruling, policies, summary=False)
        return f"{named} could not be evaluated, so {what} is not permitted"
    return f"{_named(id_, ruling, policies, summary=summary)} forbids {what}"


def _named(id_: str, ruling: Ruling, policies: Policies | None, *, summary: bool) -> str:
    if policies is None or policies.digest != ruling.digest or id_ not in policies.policies:
        return f"policy `{id_}`"
    policy = policies.policies[id_]
    said = f" “{policy.summary.rstrip('.')}”" if summary and policy.summary else ""
    return f"policy `{id_}` ({policy.file}:{policy.line}){said}"


def _obliged(obligations: Obligations) -> str:
    said = []
    if obligations.safeguards:
        said.append(f"safeguards {', '.join(obligations.safeguards)}")
    if obligations.retain_seconds is not None:
        said.append(f"content kept for {_length(obligations.retain_seconds)}")
    if obligations.record == "commitment":
        said.append("content not kept, only committed to")
    return f" It obliges: {'; '.join(said)}." if said else ""


def _length(seconds: int) -> str:
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    count = seconds // size
    return f"{count} {unit}{'' if count == 1 else 's'}"
