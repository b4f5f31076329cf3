"""The words that packages share: frozen structs and distinct types for strings that look alike.

Nothing here does anything. A struct that only one package needs lives in that package.
"""

from collections.abc import Mapping
from typing import Literal, NewType, TypeAlias

import msgspec

DecisionId = NewType("DecisionId", str)
"""A UUIDv7 (RFC 9562 section 5.7) as 36 characters of text, made before anything is reserved or written."""
CallerId = NewType("CallerId", str)
"""Who asks: the id of a key (`key_…`), of a provider's subject (`oidc:…`) or `anonymous`. Personal data: never in the
ledger in the clear."""
Pseudonym = NewType("Pseudonym", str)
"""HMAC of a caller's id under the ledger's pseudonym key: what the ledger holds in the caller's place."""
RequestedModel = NewType("RequestedModel", str)
"""A model's name as the client wrote it: `name` or `name@version`."""
VersionName = NewType("VersionName", str)
"""A resolved model version: always `name@version`."""
UpstreamModel = NewType("UpstreamModel", str)
"""The name by which an upstream knows the model."""
Digest = NewType("Digest", str)
"""`sha256:` and 64 lower-case hexadecimal digits, over a declared set's canonical bytes."""

Rung: TypeAlias = Literal["internal", "hosted", "api", "gated", "downloadable", "fully-open"]
RUNGS: tuple[Rung, ...] = ("internal", "hosted", "api", "gated", "downloadable", "fully-open")
"""How far a version is released, most closed first."""

Openness: TypeAlias = Literal["unknown", "api-only", "restricted-weights", "open-weights", "open-source"]
OPENNESS: tuple[Openness, ...] = ("unknown", "api-only", "restricted-weights", "open-weights", "open-source")
"""The plain words for how open a version is. `unknown` is neither closed nor open."""

Effect: TypeAlias = Literal["permit", "forbid"]
VerdictName: TypeAlias = Literal["pass", "flag", "redact", "block", "not run"]
Status: TypeAlias = Literal["answered", "blocked", "refused", "failed", "abandoned", "interrupted"]
"""What came of a request; see `decisions.life` for the transitions."""

AttributeValue: TypeAlias = str | int | bool | tuple[str, ...]
"""What Cedar may see of a resource or of the context."""

CallerKind: TypeAlias = Literal["key", "oidc", "session", "anonymous"]
"""How a caller was identified: by a key, by a provider's token, by a session of the console, not at all."""

ANONYMOUS = CallerId("anonymous")


class Caller(msgspec.Struct, frozen=True):
    """Who asks.

    `refusal` is set where the key is known but no longer valid ("expired", "revoked", "replaced"): such a caller is
    refused on the record, unlike one who is not known at all.
    """

    id: CallerId
    name: str
    groups: tuple[str, ...]
    pseudonym: Pseudonym
    refusal: str | None = None
    kind: CallerKind = "key"
    service: bool = False
    """A machine's key, not a person's."""
    models: tuple[str, ...] = ()
    """The models that the key is for, as `name` or `name@version`; every one where it names none."""
    networks: tuple[str, ...] = ()
    """The networks that the key opens from, in CIDR notation; anywhere where it names none."""
    generation: int = 0
    """Which of the key's secrets was shown: each rotation counts up."""


class Resource(msgspec.Struct, frozen=True):
    """What is asked for, as policy sees it: a Cedar entity type, its id and its attributes.

    `digest` stands for the attributes: two resources with equal type, id and digest are the same to policy.
    """

    type: str
    id: str
    attributes: Mapping[str, AttributeValue]
    digest: Digest


class Context(msgspec.Struct, frozen=True):
    """What policy may know of the request besides who, what and which. Coarse on purpose: rulings are memoised."""

    stream: bool = False
    loopback: bool = False
    """The request came from this machine."""
    flagged: bool = False
    """What is asked for is a decision that a safeguard flagged, redacted or blocked."""
    own: bool = False
    """What is asked for is of the caller's own decision."""
    region: str = ""
    """The region of the very upstream that is to be asked; empty where none is, or its settings name none."""


class KeyContext(Context, frozen=True):
    """What policy may know besides of a key that somebody wants to issue, rotate or revoke."""

    groups: tuple[str, ...] = ()
    service: bool = False


class Obligations(msgspec.Struct, frozen=True):
    """What the deciding policies' annotations oblige Transom to do besides permitting."""

    safeguards: tuple[str, ...] = ()
    retain_seconds: int | None = None
    record: Literal["full", "commitment"] = "full"


class Ruling(msgspec.Struct, frozen=True):
    """The answer policies give for one request, with the policies that decided it.

    `policies` are `@id` values; empty where nothing permitted (deny by default). `digest` is the policy set's.
    """

    effect: Effect
    policies: tuple[str, ...]
    obligations: Obligations
    digest: Digest
    asked: bytes = b""
    """Exactly what Cedar was asked, as `policy.ruling` writes it. Personal data: in the ledger only as a commitment."""


class Target(msgspec.Struct, frozen=True):
    """One upstream of a route and the model's name there."""

    upstream: str
    model: UpstreamModel


class Tier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all of a call's tokens cost where its input, cached or not, has more than `above` tokens."""

    above: int
    input: str
    output: str
    cached_input: str | None = None
    cache_write: str | None = None
    reasoning: str | None = None


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a call costs: decimal text, in `currency`.

    Per million tokens of each class (a class that is not priced costs what its side costs: cached and written input as
    input, reasoning as output), per request, and per second of an upstream's work: `per_second`, or `gpu_hour` of
    `gpus` cards that have `utilisation` calls under way on average (0.5: idle half of the time; 8: eight at once).
    `effective_at`: the day (UTC) from which it counts.
    """

    currency: str
    input: str | None = None
    output: str | None = None
    cached_input: str | None = None
    effective_at: str | None = None
    cache_write: str | None = None
    reasoning: str | None = None
    tiers: tuple[Tier, ...] = ()
    """By `above`, smallest first."""
    per_request: str | None = None
    per_second: str | None = None
    gpu_hour: str | None = None
    gpus: int = 1
    utilisation: str = "1"


class Version(msgspec.Struct, frozen=True):
    """One model version of the registry, with everything a request needs of it."""

    name: VersionName
    model: str
    version: str
    kind: Literal["chat", "embedding"]
    rung: Rung
    openness: Openness
    licence: str | None
    producer: str | None
    description: str | None
    route: tuple[Target, ...]
    prices: tuple[Price, ...]
    """Its declared prices, whichever upstream answers, by the day from which each counts."""
    max_input_tokens: int | None
    max_output_tokens: int | None
    """What it takes and gives at most, where that is declared."""
    digest: Digest
    resource: Resource
    hidden_reasoning: bool = True
    """It may be billed for output that nobody sees."""
    declared: bytes = b""
    """What `digest` is of."""


class Call(msgspec.Struct, frozen=True):
    """One request for an answer, as a dialect read it. `body` is what the client sent, untouched."""

    action: Literal["infer", "embed"]
    model: RequestedModel
    stream: bool
    body: bytes
    texts: tuple[str, ...]
    """Every text a safeguard must see: whatever in the body is a string, known field or not."""
    opaque: bool = False
    """It also holds what no safeguard can read: token arrays, or what is stored at the vendor."""
    free: bool = False
    """No vendor bills it: a question about tokens, not one to a model."""
    longest: tuple[object, ...] = ()
    """What its dialect's own fields say of how many tokens an answer has at most, as they say it."""
    answers: tuple[object, ...] = ()
    """What they say of how many answers are wanted, as they say it."""
    stored: bool = False
    """It takes up what is stored at the vendor and not in the body."""


class Finding(msgspec.Struct, frozen=True):
    """Something a safeguard found: of what kind, and where (`span` in characters of `texts[text]`)."""

    safeguard: str
    kind: str
    text: int
    start: int
    end: int


class Verdict(msgspec.Struct, frozen=True):
    """What one safeguard says of one prompt or answer, with what it scanned (`not run` is a verdict)."""

    safeguard: str
    stage: Literal["prompt", "answer"]
    verdict: VerdictName
    findings: tuple[Finding, ...]
    bytes_scanned: int
    mode: str
    """How it was scanned: `whole`, or why it was not."""


class Usage(msgspec.Struct, frozen=True):
    """Tokens consumed, in disjoint classes. `None` is missing, zero is zero; `source` says who counted."""

    input: int | None
    """Input tokens that no cache served."""
    cached_input: int | None
    output: int | None
    """Output tokens, reasoning tokens excluded."""
    reasoning: int | None
    source: Literal["upstream", "estimate", "cache", "absent"]
    cache_write: int | None = None
    """Input tokens that were written into a cache, billed apart by some; in none of the other classes."""


class Attempt(msgspec.Struct, frozen=True):
    """One try at one upstream: what came of it, and how long it took in milliseconds."""

    upstream: str
    result: str
    milliseconds: int
    model: VersionName | None = None
    """The version that it was asked for, where that is a fallback and not the one that the caller asked for."""
    waited: int | None = None
    """Milliseconds of waiting before it, where it was tried before."""
    request: str | None = None
    """What the upstream calls it, where its answer says so: the name under which it may stand on a bill."""


DOOR = Resource(
    "Door", "transom", {}, Digest("sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")
)
"""Everything that is not a model version; its attributes are the empty object, whose digest this is."""
