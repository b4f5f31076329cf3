"""A decision can be ruled on again from the record alone; where it cannot, what has changed or is missing is said."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from tests.policy.asking import DOOR, model
from tests.support.doors import MODELS
from tests.support.postgres import fresh_database
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Upstream

from transom.decisions import store
from transom.decisions.declared import keep, load
from transom.decisions.facts import FactsBook
from transom.decisions.redecide import Redecided, redecide
from transom.decisions.store import FactsRow
from transom.errors import LedgerError, StorageError
from transom.ledger.entry import DecisionEntry
from transom.ledger.seal import SealedFacts, Vault
from transom.ledger.verify import verify_all
from transom.policy.reload import load_policies, reread_policies
from transom.policy.ruling import Policies
from transom.policy.vocabulary import SCHEMA
from transom.storage.engine import Database
from transom.storage.objects import open_objects
from transom.values import Caller, Context, KeyContext, Pseudonym, Resource

THEN = """
@id("staff-may") @safeguards("secrets") @retain("30d")
permit (principal in Group::"developers", action, resource);
@id("operators-may")
permit (principal in Group::"operators", action, resource);
@id("overflows")
forbid (principal, action == Action::"infer", resource)
when { resource.name == "renamed" && resource.rung * 9223372036854775807 > 0 };
@id("not-near")
forbid (principal, action == Action::"infer", resource is Model)
when { context.region == "near" && resource.name == "spare" };
@id("no-streams")
forbid (principal, action, resource is Model) when { context.stream };
"""
NOW = """
@id("everything-else")
permit (principal in Group::"operators", action, resource);
"""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def ruled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, vendor: Upstream
) -> Iterator[tuple[Server, dict[str, str]]]:
    """A door that ruled in many ways, whose policies were changed since, and which was stopped."""
    settings = _settings(vendor)
    home = tmp_path_factory.mktemp("redecide") / "home"
    if request.param == "postgresql":
        with fresh_database(request.getfixturevalue("postgres_socket")) as url:
            server = Server(home, settings, database=url, policies=THEN)
            with server:
                yield server, _ruled(server)
    else:
        with Server(home, settings, policies=THEN) as server:
            yield server, _ruled(server)


def _settings(vendor: Upstream) -> str:
    return NO_ENGINE + MODELS.format(url=vendor.url).replace(
        "[upstreams.dead]\n", '[upstreams.dead]\nregion = "near"\n'
    )


def _ruled(server: Server) -> dict[str, str]:
    keys = {group: server.issue(group, group).key for group in ("developers", "operators", "students")}
    server.start()
    asked = {
        "permit": server.chat("closed", keys["developers"]),
        "permit again": server.chat("closed", keys["developers"]),
        "forbid": server.chat("closed", keys["developers"], stream=True),
        "default": server.chat("closed", keys["students"]),
        "error": server.chat("renamed", keys["developers"]),
        "another region": server.chat("spare", keys["developers"]),
        "read": server.get("/ledger/checkpoint", keys["operators"]),
        "unruled": server.chat("no-such-model", keys["developers"]),
    }
    decisions = {name: str(answer.decision) for name, answer in asked.items()}
    for decision in decisions.values():
        server.logged(decision)
    server.write_policies(NOW)
    assert server.ask("POST", "/api/reload", key=keys["operators"]).status == 200
    after = server.chat("closed", keys["operators"])
    decisions["after"] = str(after.decision)
    server.logged(decisions["after"])
    assert server.stop() == 0
    return decisions


def again(server: Server, decision: str) -> Redecided:
    with server.stores() as opened, opened.database.begin(write=False) as connection:
        return redecide(connection, opened.objects, opened.keys, opened.vault, decision)


def entry(server: Server, decision: str) -> DecisionEntry:
    return server.story(decision).decision


def test_every_decision_gives_its_ruling_again(ruled: tuple[Server, dict[str, str]]) -> None:
    server, decisions = ruled
    found = {name: again(server, decision) for name, decision in decisions.items() if name != "unruled"}
    assert {name: each.result for name, each in found.items()} == dict.fromkeys(found, "same")
    assert all(each.again == each.recorded and each.remarks == () for each in found.values())
    said = {name: (each.again.effect, each.again.policies) for name, each in found.items() if each.again}
    assert said == {
        "permit": ("permit", ("staff-may",)),
        "permit again": ("permit", ("staff-may",)),
        "forbid": ("forbid", ("no-streams",)),
        "default": ("forbid", ()),
        "error": ("forbid", ("error:overflows",)),
        "another region": ("permit", ("staff-may",)),
        "read": ("permit", ("operators-may",)),
        "after": ("permit", ("everything-else",)),
    }


def test_every_ruled_decision_of_the_door_can_be_ruled_on_again(ruled: tuple[Server, dict[str, str]]) -> None:
    server, _ = ruled
    entries = [each for each in server.entries("decision/1") if isinstance(each, DecisionEntry) and each.ruling]
    assert len(entries) > 8  # the reload too
    assert {again(server, each.id).result for each in entries} == {"same"}


def test_what_was_never_ruled_on_is_said_to_be(ruled: tuple[Server, dict[str, str]]) -> None:
    server, decisions = ruled
    found = again(server, decisions["unruled"])
    assert (found.result, found.recorded, found.again) == ("unknown", None, None)
    assert "never asked" in found.remarks[0]


def test_facts_are_kept_once_and_nothing_of_them_lies_in_the_clear(ruled: tuple[Server, dict[str, str]]) -> None:
    server, decisions = ruled
    first, second, other = (entry(server, decisions[name]) for name in ("permit", "permit again", "forbid"))
    assert first.facts == second.facts != other.facts
    with server.stores() as opened:
        assert verify_all(opened.database, opened.objects, opened.keys).problems == []
        with opened.database.begin(write=False) as connection:
            rows = connection.execute(text("SELECT id, wrapped, sealed FROM facts")).all()
    assert len({row.id for row in rows}) == len(rows) >= 6
    assert not any(b"developers" in bytes(row.sealed) + bytes(row.wrapped) for row in rows)


def test_the_safeguards_that_ran_are_named_and_kept(ruled: tuple[Server, dict[str, str]]) -> None:
    server, decisions = ruled
    permitted, read = entry(server, decisions["permit"]), entry(server, decisions["read"])
    assert permitted.safeguards is not None
    assert read.safeguards is None
    with server.stores() as opened:
        assert b"secrets" in load(opened.objects, permitted.safeguards, "it")


@pytest.mark.slow
def test_the_command_says_it_for_people_and_for_programs(ruled: tuple[Server, dict[str, str]], tmp_path: Path) -> None:
    server, decisions = ruled
    done = server.run("redecide", decisions["permit"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("The same ruling follows from the record alone.\n")
    folder = tmp_path / "proposed"
    folder.mkdir()
    (folder / "a.cedar").write_text('@id("nobody") forbid (principal, action, resource);')
    done = server.run("redecide", decisions["permit"], "--policies", str(folder), "--json")
    said = json.loads(done.stdout)
    assert (done.returncode, said["result"]) == (0, "same")
    assert (said["proposed"]["effect"], said["proposed"]["policies"]) == ("forbid", ["nobody"])
    assert server.run("redecide", decisions["unruled"]).returncode == 1
    done = server.run("redecide", "01a00000-0000-7000-8000-000000000000")
    assert (done.returncode, "No decision has the id" in done.stderr) == (1, True)


def test_what_is_missing_or_altered_is_said_exactly(ruled: tuple[Server, dict[str, str]]) -> None:
    server, decisions = ruled
    promised = entry(server, decisions["permit"]).ruling
    assert promised is not None
    with server.stores() as opened:
        source = json.loads(load(opened.objects, promised.digest, "it"))
        objects = {"The policy set": promised.digest, "The schema": source["schema"]}
        objects |= {f"The policy file {name}": digest for name, digest in source["files"].items()}
        for what, digest in objects.items():
            path = f"declared/sha256/{digest[7:9]}/{digest[9:]}"
            was = opened.objects.get(path)
            assert was is not None
            opened.objects.put(path, was[:-1] + bytes([was[-1] ^ 1]))
            found = again(server, decisions["permit"])
            assert (found.result, found.again) == ("unknown", None)
            assert f"{what} ({digest}) was altered" in found.remarks[0]
            opened.objects.delete([path])
            assert f"{what} ({digest}) is not kept" in again(server, decisions["permit"]).remarks[0]
            opened.objects.put(path, was)
        assert again(server, decisions["permit"]).result == "same"

        facts = entry(server, decisions["forbid"]).facts
        for column in ("sealed", "wrapped"):
            with opened.database.begin() as connection:
                assert facts is not None
                row = store.facts_of(connection, facts)
                assert row is not None
                was = getattr(row, column)
                set_to = text(f"UPDATE facts SET {column} = :it WHERE id = :id")
                connection.execute(set_to, {"it": was[:-1] + bytes([was[-1] ^ 1]), "id": facts})
            assert "cannot be opened: it was altered" in again(server, decisions["forbid"]).remarks[0]
            with opened.database.begin() as connection:
                connection.execute(set_to, {"it": was, "id": facts})
        # Another decision's facts, whole, in place of its own.
        with opened.database.begin() as connection:
            mine = store.facts_of(connection, facts or "")
            assert mine is not None
            other = store.facts_of(connection, entry(server, decisions["default"]).facts or "")
            assert other is not None
            connection.execute(text("DELETE FROM facts WHERE id = :id"), {"id": facts})
            values = {"id": facts, "wrapped": other.wrapped, "sealed": other.sealed}
            connection.execute(
                text("INSERT INTO facts (id, wrapped, sealed, caller, at) VALUES (:id, :wrapped, :sealed, 'x', 1)"),
                values,
            )
        assert "cannot be opened" in again(server, decisions["forbid"]).remarks[0]
        with opened.database.begin() as connection:
            connection.execute(text("DELETE FROM facts WHERE id = :id"), {"id": facts})
        assert "its time is over" in again(server, decisions["forbid"]).remarks[0]
        with opened.database.begin() as connection:
            store.insert_facts(connection, [mine])
        assert again(server, decisions["forbid"]).result == "same"


def test_who_was_erased_can_be_ruled_on_no_more_and_is_kept_anew_when_they_come_back(
    tmp_path: Path, vendor: Upstream
) -> None:
    with Server(tmp_path / "home", _settings(vendor), policies=THEN) as server:
        issued = server.issue("ada", "developers")
        server.start()
        before = str(server.chat("closed", issued.key).decision)
        server.logged(before)
        assert again(server, before).result == "same"
        assert server.run("erase", "--caller", issued.id, "--yes").returncode == 0
        found = again(server, before)
        assert (found.result, found.again) == ("unknown", None)
        assert f"everything of {entry(server, before).by} was erased at" in found.remarks[0]
        # Until the process has seen it, it takes them for kept; then it keeps them anew.
        while again(server, after := str(server.chat("closed", issued.key).decision)).result != "same":
            time.sleep(0.2)
        assert entry(server, after).facts != entry(server, before).facts
        assert again(server, before).result == "unknown"


POLICIES = """
@id("a") @retain("1d") permit (principal in Group::"staff", action in [Action::"infer", Action::"embed"], resource);
@id("b") @record("commitment") permit (principal, action == Action::"infer", resource) when { resource.open };
@id("c") forbid (principal, action, resource) when { context.stream };
@id("d") permit (principal, action == Action::"issue_key", resource) when { context.groups.contains("staff") };
@id("e") forbid (principal, action == Action::"infer", resource) when { resource.rung * 9223372036854775807 > 0 };
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Policies, Policies]:
    """Policies as they were loaded, and made again from what is kept of them."""
    folder = tmp_path_factory.mktemp("policies")
    (folder / "all.cedar").write_text(POLICIES)
    loaded = load_policies(folder, frozenset(), safeguards=frozenset())
    source = json.loads(loaded.source)
    texts = {name: loaded.texts[digest] for name, digest in source["files"].items()}
    return loaded, reread_policies(texts, loaded.texts[source["schema"]])


callers = st.builds(
    Caller,
    st.sampled_from(["key_1", "oidc:ü", "anonymous"]),
    st.text(max_size=3),
    st.lists(st.sampled_from(["staff", "others"]), unique=True, max_size=2).map(tuple),
    st.just(Pseudonym("p")),
    kind=st.sampled_from(["key", "oidc", "session", "anonymous"]),
    service=st.booleans(),
    models=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    networks=st.sampled_from([(), ("10.0.0.0/8",)]),
)
resources = st.builds(
    model, st.sampled_from(["internal", "hosted", "api"]), st.sampled_from(["open-weights", "api-only"])
)
questions = st.one_of(
    st.tuples(
        callers,
        st.sampled_from(["infer", "embed"]),
        resources,
        st.builds(Context, st.booleans(), st.booleans(), region=st.sampled_from(["", "eu"])),
    ),
    st.tuples(
        callers,
        st.just("issue_key"),
        st.just(DOOR),
        st.builds(KeyContext, loopback=st.booleans(), groups=st.sampled_from([(), ("staff",)]), service=st.booleans()),
    ),
)


@given(question=questions)
def test_whatever_is_asked_is_answered_alike_from_what_is_kept(
    both: tuple[Policies, Policies], question: tuple[Caller, str, Resource, Context]
) -> None:
    loaded, remade = both
    ruling = loaded.rule(*question)
    assert remade.digest == loaded.digest
    assert remade.answer(ruling.asked) == ruling


def test_a_schema_of_then_is_the_one_that_rules(both: tuple[Policies, Policies]) -> None:
    loaded, _ = both
    other = reread_policies(dict(loaded_texts(loaded)), SCHEMA + "\n// another\n")
    assert other.digest != loaded.digest


def loaded_texts(policies: Policies) -> Iterator[tuple[str, str]]:
    for name, digest in policies.files.items():
        yield name, policies.texts[digest]


@given(facts=st.binary(max_size=300), other=st.binary(min_size=44, max_size=44))
def test_sealed_facts_open_as_they_were_and_only_under_their_own_name(facts: bytes, other: bytes) -> None:
    vault = Vault(b"m" * 32)
    sealed, twice = vault.seal_facts(facts), vault.seal_facts(facts)
    assert vault.open_facts(sealed) == facts
    assert sealed.id != twice.id  # a salt each: nobody can guess what was asked, nor tell that it was the same
    for wrong in (
        sealed._replace(id=twice.id),
        sealed._replace(id=other.hex()),
        SealedFacts(sealed.id, twice.wrapped, twice.sealed),
        sealed._replace(sealed=sealed.sealed[:-1] + bytes([sealed.sealed[-1] ^ 1])),
        sealed._replace(wrapped=b""),
    ):
        with pytest.raises(LedgerError):
            vault.open_facts(wrong)


def test_a_book_is_bounded_and_keeps_anew_after_a_day() -> None:
    book = FactsBook(Vault(b"m" * 32))
    one = book.of(b"one", Pseudonym("p"), 1)
    assert book.of(b"one", Pseudonym("p"), 86_400_001) is one
    later = book.of(b"one", Pseudonym("p"), 86_400_002)
    assert later.row.id != one.row.id
    for number in range(3 * 8_192):
        book.of(b"%d" % number, Pseudonym("p"), 86_400_002)
    assert len(book._young) + len(book._old) <= 2 * 8_192
    assert book.of(b"one", Pseudonym("p"), 86_400_002) is not later
    book.forget()
    assert not book._young
    assert not book._old


def test_rows_are_written_once_and_go_when_their_time_is_over(database: Database) -> None:
    rows = [FactsRow(f"id{at}", b"wrapped", b"sealed", "p", at) for at in range(5)]
    with database.begin() as connection:
        store.insert_facts(connection, rows)
        store.insert_facts(connection, rows[:2])
        assert store.facts_revision(connection) == 0
    with database.begin() as connection:
        assert store.forget_old_facts(connection, 3) == 3
        assert store.facts_of(connection, "id2") is None
        assert store.facts_of(connection, "id3") == rows[3]
        store.forget_facts(connection, "p")
        store.forget_facts(connection, "p")
        assert store.facts_of(connection, "id3") is None
        assert store.facts_revision(connection) == 2


def test_what_the_object_store_could_not_take_is_kept_as_soon_as_it_can(tmp_path: Path, vendor: Upstream) -> None:
    with Server(tmp_path / "home", _settings(vendor), policies=THEN) as server:
        in_the_way = server.home.data / "objects" / "declared"
        in_the_way.parent.mkdir(parents=True)
        in_the_way.touch()
        key = server.issue("ada", "developers").key
        server.start()
        decision = str(server.chat("closed", key).decision)
        server.logged(decision)
        with pytest.raises(StorageError):
            again(server, decision)
        assert "not yet kept under its digest" in server.log
        in_the_way.unlink()
        until = time.monotonic() + 20
        while again(server, decision).result != "same":
            assert time.monotonic() < until
            time.sleep(0.2)


def test_a_damaged_text_is_made_whole_when_it_comes_into_force_again(tmp_path: Path) -> None:
    objects = open_objects(tmp_path)
    keep(objects, [b"one", b"two"])
    (path, other) = objects.list("declared")
    was = objects.get(path)
    objects.put(path, b"damaged")
    keep(objects, [b"one", b"two"])
    assert objects.get(path) == was
    assert objects.list("declared") == [path, other]
