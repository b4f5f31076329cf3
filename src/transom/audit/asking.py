"""Searches as people and programs write them: words in, a `Query` out. The same for pages, API and commands."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final, TypeVar, get_args

from transom.audit.search import Query
from transom.config.duration import duration
from transom.errors import InvalidRequest
from transom.ledger.fields import MAX_INTEGER
from transom.metering.money import parts
from transom.values import ANONYMOUS, CallerId, DecisionId, Effect, Pseudonym, Status, VerdictName

MOST: Final = 200
"""Decisions on a page."""
FIELDS: Final[Mapping[str, str]] = {
    "caller": "Who asked: a key's name or id, a subject's id (`oidc:…`), or a pseudonym (`p_…`).",
    "action": "What was asked for: `infer`, `embed`, `read_content` and so on.",
    "model": "The model, as `name` or `name@version`.",
    "ruling": "`permit` or `forbid`.",
    "policy": "A policy that decided, by its `@id`.",
    "safeguard": "A safeguard that was asked, by its name.",
    "verdict": "What a safeguard said: `pass`, `flag`, `redact`, `block`, `not run`; with `safeguard`, of that one.",
    "status": "What came of it: `answered`, `blocked`, `refused`, `failed`, `abandoned` or `interrupted`.",
    "upstream": "An upstream that was tried.",
    "code": "A refusal's code: `policy_forbids`, `safeguard_blocked` and so on.",
    "since": "From this moment on: `2026-11-24`, `2026-11-24T18:00Z` (UTC where no zone is named), or `7d` ago.",
    "until": "Before this moment.",
    "cost_from": "What it cost at least, in decimals.",
    "cost_to": "What it cost at most.",
    "currency": "The currency of both.",
}
"""What may be asked for, and what it means."""
_OWN: Final = frozenset((ANONYMOUS, "terminal", "files"))
"""Callers that have no name but their id."""
_T = TypeVar("_T")


class Callers:
    """Finds callers by what they are called."""

    def __init__(self, names: Mapping[Pseudonym, str], pseudonym: Callable[[CallerId], Pseudonym]) -> None:
        """`names`: of every key, under its pseudonym."""
        self.names = names
        self._pseudonym = pseudonym

    def find(self, text: str) -> tuple[Pseudonym, ...]:
        """Return the pseudonyms of whoever is called so: none, one, or as many as share a name."""
        if text.startswith("p_"):
            return (Pseudonym(text),)
        if text.startswith(("key_", "oidc:")) or text in _OWN:
            return (self._pseudonym(CallerId(text)),)
        return tuple(pseudonym for pseudonym, name in self.names.items() if name == text)


def read_query(fields: Mapping[str, str], callers: Callers, *, now_ms: int, flagged: bool = False) -> Query:
    """Read a search: of `FIELDS`, `before` and `limit`, those that are not empty. Raises `InvalidRequest`.

    `flagged`: whoever asks may find those decisions alone that a safeguard flagged, redacted or blocked.
    """
    said = {name: value.strip() for name, value in fields.items() if value.strip()}
    caller = said.get("caller")
    return Query(
        callers=None if caller is None else callers.find(caller),
        action=said.get("action"),
        model=said.get("model"),
        ruling=_one_of(said, "ruling", get_args(Effect)),
        policy=said.get("policy"),
        safeguard=said.get("safeguard"),
        verdict=_one_of(said, "verdict", get_args(VerdictName)),
        flagged=flagged,
        status=_one_of(said, "status", get_args(Status)),
        upstream=said.get("upstream"),
        reason=said.get("code"),
        since=_moment(said, "since", now_ms),
        until=_moment(said, "until", now_ms),
        cost_from=_cost(said, "cost_from"),
        cost_to=_cost(said, "cost_to"),
        currency=said.get("currency"),
        before=DecisionId(said["before"]) if "before" in said else None,
        limit=_limit(said),
    )


def _one_of(said: Mapping[str, str], name: str, words: tuple[_T, ...]) -> _T | None:
    if name not in said:
        return None
    for word in words:
        if said[name] == word:
            return word
    raise InvalidRequest(f"{name} is {said[name][:64]!r}. It is one of {', '.join(map(str, words))}.", param=name)


def _moment(said: Mapping[str, str], name: str, now_ms: int) -> int | None:
    text = said.get(name)
    if text is None:
        return None
    try:
        return now_ms - 1000 * duration(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise InvalidRequest(
            f"{name} is {text[:64]!r}, which is no moment. Write 2026-11-24, 2026-11-24T18:00Z, or 7d for so long ago.",
            param=name,
        ) from None


def _cost(said: Mapping[str, str], name: str) -> int | None:
    text = said.get(name)
    if text is None:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount <= 10**9:
        raise InvalidRequest(f"{name} is {text[:64]!r}. Write an amount in decimals: 0.25.", param=name)
    return parts(text)


def _limit(said: Mapping[str, str]) -> int:
    text = said.get("limit", "50")
    limit = int(text) if text.isascii() and text.isdecimal() and len(text) < len(str(MAX_INTEGER)) else 0
    if not 1 <= limit <= MOST:
        raise InvalidRequest(f"limit is a whole number from 1 to {MOST}. Go on with before={{older}}.", param="limit")
    return limit
