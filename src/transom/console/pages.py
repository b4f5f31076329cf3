"""The pages: the door at a glance, one decision, the policies in force."""

import asyncio

import msgspec
from starlette.responses import Response

from transom.audit.looks import REASONS, Look, Why, looks_at, read_why, record_look
from transom.console import listing, state
from transom.console.rows import flagged
from transom.console.site import Visit
from transom.decisions import explain as stories
from transom.decisions.governance import TERMINAL
from transom.decisions.receipts import rotations
from transom.errors import NotFound
from transom.gateway.reads import ruled
from transom.gateway.request import is_loopback
from transom.gateway.running import NOBODY
from transom.ledger.entry import encode
from transom.ledger.tiles import served_path
from transom.policy.ruling import ERROR, Policy
from transom.policy.text import statements
from transom.values import DOOR, RUNGS, Context, DecisionId

_PAGE = 50


class PolicyText(msgspec.Struct, frozen=True):
    """A policy in force, with its own words."""

    policy: Policy
    text: str


class Decider(msgspec.Struct, frozen=True):
    """A policy that decided. `policy` is `None` where another set is in force now, `failed` where it gave an error."""

    id: str
    policy: Policy | None
    failed: bool


async def home(visit: Visit) -> Response:
    """Show models, the door's state, and the latest decisions to those who may read them."""
    every = visit.request.query_params.get("show") == "all"
    before = visit.asked("before")
    found = await _listing(visit, before, answers=not every) if visit.look() else None
    return visit.page(
        "home.html",
        door=state.door_state(visit.site, await state.ledger_size(visit.site)),
        models=state.models(visit),
        rungs=RUNGS,
        listing=found,
        every=every,
        before=before,
    )


async def _listing(visit: Visit, before: str | None, *, answers: bool) -> listing.Listing:
    """Read the list: an act of its own, ruled and recorded as such."""
    door = visit.site.door
    names = door.keyring.names()
    after = None if before is None else DecisionId(before)
    async with ruled(door, visit.caller, "read_decisions", peer=visit.peer, flagged=visit.only_flagged):
        return await door.database.run(
            lambda connection: listing.read(
                connection, names, limit=_PAGE, before=after, answers=answers, flagged=visit.only_flagged
            )
        )


async def decision(visit: Visit) -> Response:
    """Tell one decision's story, without what was asked and answered."""
    return await _decision_page(visit, await read_story(visit))


async def content(visit: Visit) -> Response:
    """Tell it with prompt and answer, as far as they are kept, to whoever says why they look."""
    return await _decision_page(visit, await read_content(visit, read_why(visit.field("reason"), visit.field("note"))))


async def read_story(visit: Visit) -> stories.Story:
    """Read a decision's story, without what was said. Raises `NotFound`, `LedgerError`, `StorageError`."""
    site, id_ = visit.site, visit.request.path_params["id"]
    return await site.door.database.run(lambda connection: stories.explain(connection, site.objects, site.keys, id_))


async def read_content(visit: Visit, why: Why) -> stories.Story:
    """Put the look on the record, then read the story with what was said. Raises as `read_story` does."""
    site, id_ = visit.site, (await read_story(visit)).id
    assert visit.record is not None, "a ruling permitted it"
    look = Look(
        by=visit.caller.pseudonym,
        decisions=(id_,),
        why=why,
        via=visit.record.id,
        retain_seconds=site.door.decisions.retain_seconds,
    )
    database = site.door.database
    # A crash after this leaves a look on record at which nothing was shown; never the other way round.
    await database.run(lambda connection: record_look(connection, site.vault, look), write=True)
    return await database.run(
        lambda connection: stories.explain(connection, site.objects, site.keys, id_, vault=site.vault)
    )


async def _decision_page(visit: Visit, story: stories.Story) -> Response:
    looks, signers = await visit.site.door.database.run(
        lambda connection: (looks_at(connection, story.id), rotations(connection))
    )
    policies = visit.site.door.running.policies
    ruling = story.decision.ruling
    current = ruling is not None and ruling.digest == policies.digest
    deciders = tuple(
        Decider(
            id_.removeprefix(ERROR),
            policies.policies.get(id_.removeprefix(ERROR)) if current else None,
            id_.startswith(ERROR),
        )
        for id_ in (ruling.policies if ruling else ())
    )
    named = (("decision", story.decision), ("outcome", story.outcome), ("look", story.look))
    entries = [(name, encode(each).decode()) for name, each in named if each is not None]
    return visit.page(
        "decision.html",
        story=story,
        told=tuple(stories.tell(story)),
        deciders=deciders,
        current=current,
        entries=entries,
        looks=looks,
        flagged=flagged(story.decision, story.outcome),
        names=visit.site.door.keyring.names() | {visit.site.keys.pseudonym(TERMINAL): "the terminal"},
        reasons=REASONS,
        vkey=visit.site.keys.vkey,
        signers=signers,
        log="/ledger/" if _log_is_open(visit) else "/ledger-tiles/",
        rungs=RUNGS,
    )


def _log_is_open(visit: Visit) -> bool:
    """Say whether policy lets anyone read the log, as `gateway.reads.open_read` does."""
    context = Context(loopback=is_loopback(visit.peer))
    return visit.site.door.running.policies.rule(NOBODY, "read_ledger", DOOR, context).effect == "permit"


async def tile(visit: Visit) -> Response:
    """Hand over what `/ledger/` serves to keys, to the page that checks an entry and has a session alone."""
    served = served_path(f"/ledger/{visit.request.path_params['path']}")
    data = None if served is None else await asyncio.to_thread(visit.site.objects.get, served.object_path)
    if served is None or data is None:
        raise NotFound("The log has no such tile.")
    headers = {"cache-control": served.private_cache_control}
    return Response(data, headers=headers, media_type=served.content_type)


async def proof(visit: Visit) -> Response:
    """Hand over the tlog-proof file of a decision's opening entry, or of its outcome's."""
    story = await read_story(visit)
    outcome = visit.request.path_params["entry"] == "outcome"
    inclusion = story.outcome_inclusion if outcome else story.inclusion
    if inclusion is None:
        raise NotFound("This entry is not in the log yet. The next checkpoint takes it in, within a second: try again.")
    name = f"{story.id}.{'outcome' if outcome else 'decision'}.tlog-proof"
    return Response(
        inclusion.proof, headers={"content-disposition": f'attachment; filename="{name}"'}, media_type="text/plain"
    )


async def policies(visit: Visit) -> Response:
    """Show every policy in force, each under its anchor."""
    found = visit.site.door.running.policies
    texts = {name: found.texts[digest] for name, digest in found.files.items()}
    starts = {
        (name, text.count("\n", 0, statement.start) + 1): statement.text
        for name, text in texts.items()
        for statement in statements(text)
    }
    shown = tuple(PolicyText(policy, starts[policy.file, policy.line]) for policy in found.policies.values())
    return visit.page("policies.html", policies=shown, digest=found.digest)
