"""One process's parts, put together: database, keys, decisions, ledger, door, pages."""

import importlib.metadata

import msgspec

from transom.app.declared import Settings, read_running, read_settings
from transom.app.home import Home
from transom.app.kept import KeptDeclared
from transom.app.witnesses import AskedWitnesses
from transom.callers.keys import Keyring
from transom.console.app import build_console
from transom.decisions.receipts import Receipts
from transom.decisions.record import Decisions
from transom.decisions.recover import instance_name
from transom.decisions.writer import GroupCommit
from transom.gateway.http import Gateway
from transom.gateway.running import Door
from transom.gateway.telemetry import Telemetry
from transom.gateway.witnessing import Witness
from transom.ledger.keys import LedgerKeys, load_or_create, load_or_create_witness
from transom.ledger.seal import Vault
from transom.ledger.sequence import Sequencer, SequencerThread
from transom.ledger.tiles import headers_of
from transom.storage.engine import Database, open_database
from transom.storage.objects import Objects, open_objects

BUILD = importlib.metadata.version("transom")
"""What every decision says it was made by."""


class Stores(msgspec.Struct, frozen=True, eq=False):
    """Everything lived: what commands on the terminal need, whether or not a server runs."""

    home: Home
    settings: Settings
    database: Database
    objects: Objects
    keys: LedgerKeys
    vault: Vault

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()


class Parts(msgspec.Struct, frozen=True, eq=False):
    """One serving process."""

    stores: Stores
    door: Door
    writer: GroupCommit
    sequencer: SequencerThread
    gateway: Gateway
    instance: str
    witnesses: AskedWitnesses | None
    declared: KeptDeclared


def open_declared_database(home: Home, settings: Settings) -> Database:
    """Open the database that the settings name; it is connected to when it is first used. Raises `ConfigErrors`."""
    url = settings.storage.database
    with settings.source.placing():
        if url is None:
            return open_database(f"sqlite:///{home.data / 'transom.db'}")
        return open_database(url if isinstance(url, str) else url.resolve("storage.database"))


def open_stores(home: Home, workers: int | None = None) -> Stores:
    """Open what the settings name, for `workers` serving processes (`None`: as many as the settings say).

    The schema is not touched: see `storage.migrate`. Raises `ConfigErrors`, `StartError`, `LedgerError`.
    """
    settings = read_settings(home, workers)
    database = open_declared_database(home, settings)
    with settings.source.placing():
        keys = load_or_create(home.data / "keys", settings.ledger.origin, settings.ledger.sources)
    return Stores(
        home=home,
        settings=settings,
        database=database,
        objects=open_objects(settings.storage.objects or home.data / "objects", headers_of),
        keys=keys,
        vault=Vault(keys.master_key),
    )


def build(stores: Stores) -> Parts:
    """Put a serving process together, for the running event loop. Nothing runs yet.

    Raises `ConfigErrors`, `ConfigError`, `StorageError`, `LedgerError`.
    """
    settings = stores.settings
    running = read_running(stores.home, settings)
    keyring = Keyring(stores.keys.pseudonym)
    with stores.database.begin(write=False) as connection:
        keyring.reload(connection)
    instance = instance_name()
    telemetry = Telemetry()
    writer = GroupCommit(stores.database, keyring, patience=settings.server.durable_seconds)
    writer.observe_commit = telemetry.committed
    decisions = Decisions(
        writer,
        stores.vault,
        telemetry,
        instance=instance,
        build=BUILD,
        retain_seconds=settings.retention.default,
        facts_seconds=settings.retention.facts,
    )
    receipts = Receipts(stores.keys, stores.vault, stores.objects, settings.ledger)
    door = Door(running, settings.server, keyring, decisions, telemetry, stores.database, receipts)
    telemetry.upstreams = lambda: door.running.upstreams
    witnesses = AskedWitnesses(settings.ledger) if settings.ledger.witnesses else None
    sequencer = SequencerThread(
        Sequencer(stores.database, stores.objects, stores.keys, instance=instance, witnesses=witnesses),
        interval=settings.ledger.interval_seconds,
    )
    console = build_console(door, stores.objects, stores.keys, stores.vault, BUILD)
    gateway = Gateway(door, stores.objects, console, _witness(stores))
    return Parts(stores, door, writer, sequencer, gateway, instance, witnesses, KeptDeclared(stores.objects))


def _witness(stores: Stores) -> Witness | None:
    """Make the witness that the settings ask for. Raises `LedgerError`."""
    wanted = stores.settings.witness
    if not wanted.logs:
        return None
    return Witness(load_or_create_witness(stores.home.data / "keys", wanted.name), wanted.keys)
