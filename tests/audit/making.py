"""Makes records of many different decisions, and says in plain Python which of them a search must find."""

import random
from collections.abc import Iterable, Iterator
from decimal import Decimal

from tests.ledger.making import DIGEST, NOW, decision, outcome

from transom.audit.search import FLAGGED, Query
from transom.ledger.entry import (
    AttemptPart,
    CostPart,
    DecisionEntry,
    Entry,
    OutcomeEntry,
    ResourceRef,
    RulingPart,
    VerdictPart,
    timestamp,
)
from transom.values import Pseudonym

CALLERS = tuple(Pseudonym(f"p_{n:020x}") for n in range(4))
MODELS = ("smol@1", "smol@2", "vendor@1")
POLICIES = ("one", "two", "three")
UPSTREAMS = ("near", "far")
STATUSES = ("answered", "blocked", "refused", "failed")
VERDICTS = ("pass", "flag", "block", "not run")


def verdict(chance: random.Random) -> VerdictPart:
    return VerdictPart(
        safeguard=chance.choice(("secrets", "other")),
        stage="prompt",
        verdict=chance.choice(VERDICTS),  # type: ignore[arg-type] # one of its words
        bytes_scanned=1,
        mode="whole",
    )


def pairs(count: int, seed: int = 1) -> list[tuple[DecisionEntry, OutcomeEntry | None]]:
    """Decisions of many kinds, each with its outcome or none; clocks went back now and then."""
    chance = random.Random(seed)
    made: list[tuple[DecisionEntry, OutcomeEntry | None]] = []
    for n in range(count):
        at = NOW + n * 100 - chance.choice((0, 0, 0, 5_000))
        effect = chance.choice(("permit", "permit", "forbid"))
        ruling = RulingPart(
            effect=effect,  # type: ignore[arg-type] # one of its words
            policies=tuple(sorted(chance.sample(POLICIES, chance.randrange(3)))),
            digest=DIGEST,
        )
        opened = decision(
            at,
            by=chance.choice(CALLERS),
            action=chance.choice(("infer", "infer", "embed")),
            resource=ResourceRef(type="Model", id=chance.choice(MODELS), digest=DIGEST),
            ruling=chance.choice((ruling, ruling, ruling, None)),
            verdicts=tuple(verdict(chance) for _ in range(chance.randrange(3))),
        )
        closed = None
        if chance.random() < 0.9:
            cost = CostPart(
                amount=f"{chance.randrange(100) / 100:.2f}", currency=chance.choice(("USD", "EUR")), prices=DIGEST
            )
            tried = chance.sample(UPSTREAMS, chance.randrange(3))
            closed = outcome(
                opened,
                at + 10,
                status=chance.choice(STATUSES),
                reason=chance.choice((None, "no_such_model")),
                attempts=tuple(AttemptPart(upstream=each, result="200", milliseconds=1) for each in tried),
                cost=chance.choice((None, cost)),
                verdicts=tuple(verdict(chance) for _ in range(chance.randrange(2))),
            )
        made.append((opened, closed))
    return made


def shuffled(made: Iterable[tuple[DecisionEntry, OutcomeEntry | None]], seed: int = 2) -> Iterator[Entry]:
    """Put outcomes some way after their decisions, as they come."""
    chance = random.Random(seed)
    waiting: list[OutcomeEntry] = []
    for opened, closed in made:
        yield opened
        if closed is not None:
            waiting.append(closed)
        while waiting and chance.random() < 0.5:
            yield waiting.pop(chance.randrange(len(waiting)))
    yield from waiting


def is_meant(query: Query, opened: DecisionEntry, closed: OutcomeEntry | None) -> bool:
    """Say whether a search must find a decision."""
    verdicts = [*opened.verdicts, *(closed.verdicts if closed else ())]
    said: list[tuple[str | None, str | None]] = [(each.safeguard, each.verdict) for each in verdicts]
    tried = {each.upstream for each in closed.attempts} if closed else set()
    return all(
        (
            query.callers is None or opened.by in query.callers,
            query.action in (None, opened.action),
            query.model is None or query.model in (opened.resource.id, opened.resource.id.partition("@")[0]),
            query.ruling is None or (opened.ruling is not None and opened.ruling.effect == query.ruling),
            query.policy is None or (opened.ruling is not None and query.policy in opened.ruling.policies),
            any(
                query.safeguard in (None, safeguard) and query.verdict in (None, word)
                for safeguard, word in said or [(None, None)]
            ),
            not query.flagged or any(word in FLAGGED for _, word in said),
            query.status is None or (closed is not None and closed.status == query.status),
            query.reason is None or (closed is not None and closed.reason == query.reason),
            query.upstream is None or query.upstream in tried,
            query.since is None or opened.at >= timestamp(query.since),
            query.until is None or opened.at < timestamp(query.until),
            _costs(query, closed),
        )
    )


def _costs(query: Query, closed: OutcomeEntry | None) -> bool:
    if query.cost_from is None and query.cost_to is None and query.currency is None:
        return True
    if closed is None or closed.cost is None:
        return False
    amount = Decimal(closed.cost.amount) * 10**8
    return (
        (query.cost_from is None or amount >= query.cost_from)
        and (query.cost_to is None or amount <= query.cost_to)
        and query.currency in (None, closed.cost.currency)
    )
