"""How budgets stand: a page, and the same in JSON."""

import msgspec
from starlette.responses import Response

from transom.console.site import Visit
from transom.metering import overview
from transom.metering.overview import Budget


class Budgets(msgspec.Struct, frozen=True):
    """What is spent and held of every limit that the database counts, the fullest first."""

    budgets: tuple[Budget, ...]


async def page(visit: Visit) -> Response:
    """Show what is spent and held of every limit."""
    return visit.page("budgets.html", budgets=await _read(visit), declared=visit.site.door.running.limits.rules)


async def listing(visit: Visit) -> Response:
    """List what is spent and held of every limit."""
    return Response(msgspec.json.encode(Budgets(await _read(visit))), media_type="application/json")


async def _read(visit: Visit) -> tuple[Budget, ...]:
    door = visit.site.door
    rules = door.running.limits.rules
    return await door.database.run(lambda connection: overview.read(connection, rules, door.keyring.caller))
