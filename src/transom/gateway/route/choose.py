"""In which order the targets of a route are asked. Pure: chance is handed in."""

import hashlib
import math
from collections.abc import Callable, Sequence
from itertools import groupby
from random import Random
from typing import Protocol

from transom.registry.routing import Choose, Routing, Step

_EXPLORE = 0.05
"""How often `fastest` asks any other target first, so that what it knows of them stays fresh."""


class Load(Protocol):
    """What is known of an upstream now."""

    @property
    def in_flight(self) -> int:
        """Requests that are under way there."""
        ...

    @property
    def pace(self) -> float | None:
        """Seconds until an answer begins there, smoothed; `None` where nothing was measured yet."""
        ...


LoadOf = Callable[[str], Load | None]


def order(routing: Routing, load_of: LoadOf, who: str | None, random: Random) -> Sequence[Step]:
    """Return every step of a route in the order in which it is to be asked: a lower priority number first.

    `who`: whose requests shall stay together, where the route is sticky. `load_of` knows an upstream by its name.
    """
    if routing.fixed:
        return routing.steps
    ordered: list[Step] = []
    for _, group in groupby(routing.steps, key=lambda step: step.priority):
        steps = list(group)
        if who is not None:
            ordered += sorted(steps, key=lambda step: rendezvous(step, who))
        else:
            ordered += _RULES[routing.choose](steps, load_of, random)
    return ordered


def rendezvous(step: Step, who: str) -> float:
    """Return a step's place for `who`, smallest first: weighted rendezvous hashing (Thaler and Ravishankar, 1998).

    Whoever's first choice goes away moves to their second, and nobody else moves.
    """
    said = f"{step.target.upstream}\0{step.target.model}\0{who}".encode()
    drawn = (int.from_bytes(hashlib.blake2b(said, digest_size=8).digest()) + 1) / (2**64 + 1)
    return -math.log(drawn) / step.weight


def _declared(steps: list[Step], load_of: LoadOf, random: Random) -> list[Step]:  # noqa: ARG001 - one shape for all
    return steps


def _weighted(steps: list[Step], load_of: LoadOf, random: Random) -> list[Step]:  # noqa: ARG001 - one shape for all
    """Draw without putting back, each with its weight's share (Efraimidis and Spirakis, 2006)."""
    return sorted(steps, key=lambda step: -math.log(1.0 - random.random()) / step.weight)


def _least_loaded(steps: list[Step], load_of: LoadOf, random: Random) -> list[Step]:
    def key(step: Step) -> tuple[float, float]:
        load = load_of(step.target.upstream)
        return (0 if load is None else load.in_flight) / step.weight, random.random()

    return sorted(steps, key=key)


def _fastest(steps: list[Step], load_of: LoadOf, random: Random) -> list[Step]:
    def key(step: Step) -> float:
        load = load_of(step.target.upstream)
        return 0.0 if load is None or load.pace is None else load.pace

    ordered = sorted(steps, key=key)
    if random.random() < _EXPLORE:
        ordered.insert(0, ordered.pop(random.randrange(len(ordered))))
    return ordered


_RULES: dict[Choose, Callable[[list[Step], LoadOf, Random], list[Step]]] = {
    "order": _declared,
    "weighted": _weighted,
    "least-loaded": _least_loaded,
    "fastest": _fastest,
}
