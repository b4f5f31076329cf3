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


def holder(id_: str) -> Caller:
    return Caller(CallerId(id_), "somebody", (), Pseudonym("p"))


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
    assert ring.refusal(found) == "revoked"


def test_a_key_expires_by_the_clock_without_a_reload(ring: Keyring, database: Database, clock: Clock) -> None:
    with database.begin() as connection:
        issued = issue.create(connection, "Ada", ["a"], expires=NOW + 1_000, now=NOW)
    loaded(ring, database)
    refusals = []
    for seconds in (0.0, 0.999, 1.0, 9.0):
        clock.seconds = NOW / 1000 + seconds
        found = ring.identify(issued.key)
        assert found is not None
        refusals.append((found.refusal, ring.refusal(found)))
    assert refusals == [(None, None), (None, None), ("expired", "expired"), ("expired", "expired")]


def test_a_key_of_nobody_has_no_standing(ring: Keyring, database: Database) -> None:
    assert loaded(ring, database).refusal(holder("key_0000000000000000")) == "unknown"


def test_a_key_is_found_by_its_id_as_by_its_secret(ring: Keyring, database: Database, clock: Clock) -> None:
    with database.begin() as connection:
        keys = [issue.create(connection, name, ["a"], expires=NOW + 1_000, now=NOW) for name in ("Ada", "Bob")]
        issue.revoke(connection, keys[1].id, now=NOW)
    loaded(ring, database)
    for seconds in (0, 1):
        clock.seconds = NOW / 1000 + seconds
        for key in keys:
            assert ring.caller(key.id, 0) == ring.identify(key.key) is not None
    assert ring.caller(CallerId("key_0000000000000000"), 0) is None
    assert ring.names() == {pseudonym(keys[0].id): "Ada", pseudonym(keys[1].id): "Bob"}


def test_a_revocation_reaches_every_ring_at_its_next_commit(database: Database, clock: Clock) -> None:
    rings = [Keyring(pseudonym, clock) for _ in range(3)]
    with database.begin() as connection:
        issued = issue.create(connection, "Ada", [], now=NOW)
    for ring in rings:
        assert loaded(ring, database).refusal(holder(issued.id)) is None
    with database.begin() as connection:
        issue.revoke(connection, issued.id, now=NOW)
    for ring in rings:
        with database.begin() as connection:
            ring.refresh(connection)
        assert ring.refusal(holder(issued.id)) == "revoked"


def test_a_rotated_key_opens_by_both_secrets_until_the_overlap_ends(
    ring: Keyring, database: Database, clock: Clock
) -> None:
    terms = issue.Terms(service=True, models=("m",), networks=("10.0.0.0/8",))
    with database.begin() as connection:
        old = issue.create(connection, "ci", ["a"], expires=NOW + 9_000, terms=terms, now=NOW)
        new = issue.rotate(connection, old.id, overlap=1_000, now=NOW)
    loaded(ring, database)
    found = {}
    for seconds in (0.0, 0.999, 1.0, 9.0):
        clock.seconds = NOW / 1000 + seconds
        callers = [ring.identify(each.key) for each in (old, new)]
        assert callers == [ring.caller(old.id, 0), ring.caller(old.id, 1)]
        assert all(
            each is not None
            and (each.id, each.groups, each.models, each.networks, each.service, each.pseudonym)
            == (old.id, ("a",), ("m",), ("10.0.0.0/8",), True, pseudonym(old.id))
            for each in callers
        )
        found[seconds] = [each.refusal for each in callers if each is not None]
        assert found[seconds] == [ring.refusal(each) for each in callers if each is not None]
    assert found == {
        0.0: [None, None],
        0.999: [None, None],
        1.0: ["replaced", None],
        9.0: ["replaced", "expired"],
    }


def test_of_a_key_that_is_rotated_twice_the_oldest_secret_opens_nothing(ring: Keyring, database: Database) -> None:
    with database.begin() as connection:
        first = issue.create(connection, "ci", [], now=NOW)
    caller = loaded(ring, database).identify(first.key)
    with database.begin() as connection:
        second = issue.rotate(connection, first.id, overlap=60_000, now=NOW)
        third = issue.rotate(connection, first.id, overlap=60_000, now=NOW)
    loaded(ring, database)
    assert caller is not None
    assert ring.refusal(caller) == "replaced"  # whoever was identified by it before is refused too
    assert ring.identify(first.key) is None
    assert [each is not None and each.refusal for each in (ring.identify(second.key), ring.identify(third.key))] == [
        None,
        None,
    ]


def test_revoking_ends_every_secret_of_a_key(ring: Keyring, database: Database) -> None:
    with database.begin() as connection:
        old = issue.create(connection, "ci", [], now=NOW)
        new = issue.rotate(connection, old.id, overlap=60_000, now=NOW)
        issue.revoke(connection, old.id, now=NOW)
    loaded(ring, database)
    for secret in (old.key, new.key):
        found = ring.identify(secret)
        assert found is not None
        assert found.refusal == "revoked"


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
