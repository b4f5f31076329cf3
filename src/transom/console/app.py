"""The pages and the admin API: a Starlette application beside the gateway."""

from starlette.applications import Starlette

from transom.gateway.http import AsgiApp
from transom.gateway.running import Door
from transom.ledger.keys import LedgerKeys
from transom.ledger.seal import Vault
from transom.storage.objects import Objects


def build_console(door: Door, objects: Objects, keys: LedgerKeys, vault: Vault, build: str) -> AsgiApp:
    """Return the pages and the admin API of `door`."""
    return Starlette(routes=[])
