"""Which targets policy lets a request reach: each is ruled on where policy looks at regions; so is every fallback."""

import msgspec

from transom.decisions.record import Record
from transom.errors import Refusal
from transom.gateway.bounds import allows_model
from transom.gateway.running import Running
from transom.registry.routing import Step
from transom.values import Call, Caller, Context, Obligations, Ruling, Version


def rule_on(running: Running, caller: Caller, action: str, version: Version, context: Context) -> Ruling:
    """Rule on a request for a version: permitted where it is for at least one region of the route, the first's ruling.

    Which targets that ruling covers is asked once more before each is tried: see `obstacle`.
    """
    policies = running.policies
    if not policies.ask_region:
        return policies.rule(caller, action, version.resource, context)
    rulings = [
        policies.rule(caller, action, version.resource, msgspec.structs.replace(context, region=region))
        for region in dict.fromkeys(step.region for step in running.registry.routings[version.name].steps)
    ]
    return next((ruling for ruling in rulings if ruling.effect == "permit"), rulings[0])


def obstacle(running: Running, record: Record, version: Version, step: Step, context: Context) -> str | None:
    """Say why a target must not be asked, in the words of the record; `None` where it may be.

    `not permitted`: the caller's key is not for that version, or policy forbids them that version, or it there.
    `not covered`: policy permits it and obliges to more than was done: a safeguard that did not run, content kept for
    less time, or not kept. Of a stand-in, see `is_held` too.
    """
    policies = running.policies
    if version is not record.version and not allows_model(record.caller, version.resource):
        return "not permitted"
    if policies.ask_region:
        context = msgspec.structs.replace(context, region=step.region)
    elif version is record.version:
        return None
    ruling = policies.rule(record.caller, record.action, version.resource, context)
    if ruling.effect == "forbid":
        return "not permitted"
    assert record.ruling is not None
    kept_seconds = (record.expires - record.at_ms) // 1000
    return None if _covers(record.ruling.obligations, kept_seconds, ruling.obligations) else "not covered"


def is_held(running: Running, record: Record, call: Call, version: Version) -> bool:
    """Say whether what a call to a version may use up of limits is held for it already. Reads the whole body."""
    try:
        wanted = running.limits.holds(record.caller, version, call, record.at_ms)
    except Refusal:
        return False
    held = {hold.counter: hold.amount for hold in record.holds}
    return all(hold.amount <= held.get(hold.counter, 0) for hold in wanted)


def _covers(done: Obligations, kept_seconds: int, wanted: Obligations) -> bool:
    return (
        set(wanted.safeguards) <= set(done.safeguards)
        and (wanted.retain_seconds is None or kept_seconds <= wanted.retain_seconds)
        and (wanted.record == "full" or done.record == "commitment")
    )
