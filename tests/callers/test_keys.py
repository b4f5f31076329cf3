import base64
import re
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.callers import issue
from transom.callers.keys import Keyring, hash_of, new_secret
from transom.storage.engine import Database
from transom.values import Caller, CallerId, Pseudonym

NOW = 1_800_000_000_000


class Clock:
    """Seconds since the Unix epoch, standing still."""

    seconds = NOW / 1000

    def __call__(self) -> float:
        return self.seconds


def pseudonym(caller: CallerId) -> Pseudonym:
    return Pseudonym(f"p-{caller}")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(clock: Clock) -> Keyring:
    return Keyring(pseudonym, clock)


def loaded(ring: Keyring, database: Database) -> Keyring:
    with database.begin(write=False) as connection:
        ring.reload(connection)
    return ring


@pytest.mark.parametrize("encode", [False, True])
def test_a_key_says_who_asks(ring: Keyring, database: Database, encode: bool) -> None:
    with database.begin() as connection:
        issued = issue.create(connection, "Ada", ["students", "developers", "students"], now=NOW)
        issue.create(connection, "Bob", [], now=NOW)
    found = loaded(ring, database).identify(issued.key.encode() if encode else issued.key)
    assert found == Caller(issued.id, "Ada", ("developers", "students"), Pseudonym(f"p-{issued.id}"))


def test_an_empty_ring_knows_nobody(ring: Keyring, database: Database) -> None:
    assert ring.revision == -1
    assert loaded(ring, database).identify(new_secret()) is None
    assert ring.revision == 0


def test_a_revoked_key_is_known_and_refused(ring: Keyring, database: Database) -> None:
    with database.begin() as connection:
        issued = issue.create(connection, "Ada", [], expires=NOW + 1, now=NOW)
        issue.revoke(connection, issued.id, now=NOW)
    found = loaded(ring, database).identify(issued.key)
    assert found is not None
    assert found.refusal == "revoked"
    assert ring.refusal(issued.id) == "revoked"


def test_a_key_expires_by_the_clock_without_a_reload(ring: Keyring, database: Database, clock: Clock) -> None:
    with database.begin() as connection:
        issued = issue.create(connection, "Ada", ["a"], expires=NOW + 1_000, now=NOW)
    loaded(ring, database)
    refusals = []
    for seconds in (0.0, 0.999, 1.0, 9.0):
        clock.seconds = NOW / 1000 + seconds
        found = ring.identify(issued.key)
        assert found is not None
        refusals.append((found.refusal, ring.refusal(issued.id)))
    assert refusals == [(None, None), (None, None), ("expired", "expired"), ("expired", "expired")]


def test_a_key_of_nobody_has_no_standing(ring: Keyring, database: Database) -> None:
    assert loaded(ring, database).refusal(CallerId("key_0000000000000000")) == "unknown"


def test_a_key_is_found_by_its_id_as_by_its_secret(ring: Keyring, database: Database, clock: Clock) -> None:
    with database.begin() as connection:
        keys = [issue.create(connection, name, ["a"], expires=NOW + 1_000, now=NOW) for name in ("Ada", "Bob")]
        issue.revoke(connection, keys[1].id, now=NOW)
    loaded(ring, database)
    for seconds in (0, 1):
        clock.seconds = NOW / 1000 + seconds
        for key in keys:
            assert ring.caller(key.id) == ring.identify(key.key) is not None
    assert ring.caller(CallerId("key_0000000000000000")) is None
    assert ring.names() == {pseudonym(keys[0].id): "Ada", pseudonym(keys[1].id): "Bob"}


def test_a_revocation_reaches_every_ring_at_its_next_commit(database: Database, clock: Clock) -> None:
    rings = [Keyring(pseudonym, clock) for _ in range(3)]
    with database.begin() as connection:
        issued = issue.create(connection, "Ada", [], now=NOW)
    for ring in rings:
        assert loaded(ring, database).refusal(issued.id) is None
    with database.begin() as connection:
        issue.revoke(connection, issued.id, now=NOW)
    for ring in rings:
        with database.begin() as connection:
            ring.refresh(connection)
        assert ring.refusal(issued.id) == "revoked"


def test_nothing_is_loaded_again_while_nothing_has_changed(ring: Keyring, database: Database) -> None:
    with database.begin() as connection:
        issued = issue.create(connection, "Ada", [], now=NOW)
    first = loaded(ring, database).identify(issued.key)
    with database.begin() as connection:
        ring.refresh(connection)
    assert ring.identify(issued.key) is first
    loaded(ring, database)
    assert ring.identify(issued.key) is not first


def test_a_key_can_be_recognised_and_holds_256_bits() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    for secret in secrets:
        assert re.fullmatch(r"tr_[A-Za-z0-9_-]{43}", secret)
        assert len(base64.urlsafe_b64decode(secret.removeprefix("tr_") + "=")) == 32
        assert hash_of(secret) == hash_of(secret.encode()) == sha256(secret.encode()).digest()


@given(st.one_of(st.text(max_size=60), st.binary(max_size=60), st.text(min_size=46, max_size=46)))
def test_anything_else_is_nobodys(secret: str | bytes) -> None:
    assert Keyring(pseudonym).identify(secret) is None


def test_a_lone_surrogate_is_nobodys(ring: Keyring) -> None:
    assert ring.identify("tr_" + "\ud800" * 43) is None
