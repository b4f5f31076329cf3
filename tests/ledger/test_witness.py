"""A witness never cosigns two trees of one log that do not follow from each other, whoever asks, and in what order."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import text
from tests.ledger import outsider
from tests.ledger.making import Home

from transom.errors import LedgerError
from transom.gateway.witnessing import Witness
from transom.ledger import store
from transom.ledger.checkpoint import Checkpoint
from transom.ledger.cosign import Cosigner
from transom.ledger.note import Signer
from transom.ledger.tree import EMPTY_ROOT
from transom.ledger.witness import AddCheckpoint, Seen, Verdict, judge, log_id, parse_request

LOG = Signer("log.example/one", bytes([1]) * 32)
OTHER = Signer("log.example/other", bytes([2]) * 32)
W = Cosigner("witness.example/w", bytes([3]) * 32)
KEYS = {LOG.name: (LOG.verifier,)}
NOW = 1_795_500_000_000


def leaves(count: int, branch: str = "a", fork: int = 0) -> list[bytes]:
    """Leaf hashes of a log; those of another branch are the same up to `fork`."""
    return [outsider.leaf_hash(f"{'a' if number < fork else branch}{number}".encode()) for number in range(count)]


def note(tree: list[bytes], signer: Signer = LOG) -> bytes:
    return signer.sign(Checkpoint(signer.name, len(tree), outsider.mth(tree)).text).encode()


def asking(old: int, tree: list[bytes], signer: Signer = LOG) -> AddCheckpoint:
    return AddCheckpoint(old, outsider.proof(old, tree) if old else [], note(tree, signer))


def seen(tree: list[bytes], at: int = NOW) -> Seen:
    return Seen(len(tree), outsider.mth(tree), "", at)


def judged(request: AddCheckpoint, known: Seen | None = None, now: int = NOW) -> Verdict:
    return judge(parse_request(request.body), KEYS, known, W, now)


def test_a_log_is_followed_from_its_beginning() -> None:
    known: Seen | None = None
    for size in (0, 1, 2, 70, 70, 300):
        verdict = judged(asking(0 if known is None else known.size, leaves(size)), known)
        assert (verdict.status, verdict.genuine) == (200, True)
        known = verdict.keep
        assert known is not None
        assert (known.size, known.root) == (size, outsider.mth(leaves(size)))
        assert outsider.verify_cosignature(known.note.encode(), W.verifier.vkey) == NOW // 1000
        assert outsider.verify_note(known.note.encode(), LOG.verifier.vkey).startswith(LOG.name)
        assert known.note.endswith(verdict.body)


@pytest.mark.parametrize(
    ("request_", "known", "status"),
    [
        (asking(0, leaves(3), OTHER), None, 404),
        (asking(0, leaves(3), Signer(LOG.name, bytes(32))), None, 403),
        (AddCheckpoint(0, [], note(leaves(3)).replace(b"\n3\n", b"\n4\n")), None, 403),
        (asking(0, leaves(3)), seen(leaves(2)), 409),
        (asking(2, leaves(3)), None, 409),
        (asking(2, leaves(3)), seen(leaves(5)), 409),
        (AddCheckpoint(5, [], note(leaves(3))), seen(leaves(5)), 400),
        (asking(3, leaves(3, "b")), seen(leaves(3)), 422),
        (asking(3, leaves(9, "b", 2)), seen(leaves(3)), 422),
        (AddCheckpoint(2, outsider.proof(1, leaves(3)), note(leaves(3))), seen(leaves(2)), 422),
        (AddCheckpoint(0, [bytes(32)], note(leaves(3))), None, 422),
        (AddCheckpoint(3, [bytes(32)], note(leaves(3))), seen(leaves(3)), 422),
        (AddCheckpoint(0, [], LOG.sign(Checkpoint(LOG.name, 0, bytes(32)).text).encode()), None, 422),
        (AddCheckpoint(0, [], LOG.sign(Checkpoint(LOG.name, 2**63, bytes(32)).text).encode()), None, 400),
        (AddCheckpoint(0, [], LOG.sign("no checkpoint\n").encode()), None, 400),
    ],
)
def test_what_is_not_cosigned_and_how_that_is_said(request_: AddCheckpoint, known: Seen | None, status: int) -> None:
    verdict = judged(request_, known)
    assert (verdict.status, verdict.keep) == (status, None)
    if status == 409:
        assert verdict.body == f"{known.size if known else 0}\n"
        assert verdict.content_type == "text/x.tlog.size"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        b"old 01\n\n" + note(leaves(1)),
        b"old -1\n\n" + note(leaves(1)),
        b"new 0\n\n" + note(leaves(1)),
        b"old 0\nAAAA\n\n" + note(leaves(1)),
        b"old 0\n!\n\n" + note(leaves(1)),
        b"old 1\n" + b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n" * 64 + b"\n" + note(leaves(1)),
        b"old 0\n\n" + bytes(1_048_577),
    ],
)
def test_what_is_no_request(body: bytes) -> None:
    with pytest.raises(LedgerError, match="no request to a witness"):
        parse_request(body)


@given(st.integers(0, 2**60), st.lists(st.binary(min_size=32, max_size=32), max_size=63), st.binary())
def test_a_request_reads_back(old: int, proof: list[bytes], rest: bytes) -> None:
    request = AddCheckpoint(old, proof, rest)
    assert parse_request(request.body) == request


@given(st.binary(max_size=300))
def test_any_bytes_are_judged_or_refused(data: bytes) -> None:
    for body in (data, b"old 0\n\n" + data):
        try:
            request = parse_request(body)
        except LedgerError:
            continue
        assert judge(request, KEYS, None, W, NOW).status == 400


def test_a_clock_that_goes_back_takes_no_cosignature_back() -> None:
    verdict = judged(asking(2, leaves(3)), seen(leaves(2), at=NOW), now=NOW - 86_400_000)
    assert verdict.keep is not None
    assert outsider.verify_cosignature(verdict.keep.note.encode(), W.verifier.vkey) == NOW // 1000


class Witnessing(RuleBasedStateMachine):
    """Anybody asks for anything of two branches of one log; whatever was cosigned lies on one branch."""

    def __init__(self) -> None:
        super().__init__()
        self.known: Seen | None = None
        self.cosigned: list[list[bytes]] = []

    @rule(old=st.integers(0, 12), size=st.integers(0, 12), branch=st.sampled_from("ab"), fork=st.integers(0, 6))
    def ask(self, old: int, size: int, branch: str, fork: int) -> None:
        tree = leaves(size, branch, fork)
        verdict = judged(
            AddCheckpoint(old, outsider.proof(old, tree) if 0 < old <= size else [], note(tree)), self.known
        )
        last = self.cosigned[-1] if self.cosigned else []
        extends = old == len(last) <= size and tree[:old] == last
        assert (verdict.status == 200) == extends
        if extends:
            assert verdict.keep is not None
            self.known = verdict.keep
            self.cosigned.append(tree)

    @invariant()
    def one_history(self) -> None:
        for before, after in zip(self.cosigned, self.cosigned[1:], strict=False):
            assert after[: len(before)] == before


TestWitnessing = Witnessing.TestCase
TestWitnessing.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


def test_what_was_cosigned_is_kept(any_home: Home) -> None:
    witness = Witness(W, KEYS)
    for old, size in ((0, 0), (0, 3), (3, 300), (300, 300)):
        with any_home.database.begin() as connection:
            assert witness.add(connection, asking(old, leaves(size))).status == 200
    with any_home.database.begin() as connection:
        assert witness.add(connection, asking(0, leaves(3))).status == 409
        assert witness.add(connection, asking(300, leaves(400, "b", 299))).status == 422
        assert witness.add(connection, asking(0, leaves(3), OTHER)).status == 404
        kept = store.last_seen(connection, LOG.name)
        assert store.last_seen(connection, OTHER.name) is None
    assert kept is not None
    assert (kept.size, kept.root) == (300, outsider.mth(leaves(300)))
    assert witness.origin(f"{log_id(LOG.name)}/checkpoint") == LOG.name
    assert witness.origin(log_id(LOG.name)) is None
    assert witness.origin(f"{log_id(OTHER.name)}/checkpoint") is None


def test_of_two_that_ask_at_once_for_two_histories_one_is_cosigned(any_home: Home) -> None:
    """The race of the specification: both are judged by what was known before either was kept."""
    witness = Witness(W, KEYS)

    def ask(tree: list[bytes]) -> int:
        with any_home.database.begin() as connection:
            return witness.add(connection, asking(old, tree)).status

    with ThreadPoolExecutor(8) as pool:
        old = 0
        for size in (3, 10, 60):
            branches = [leaves(size, branch, old) for branch in "abcdefgh"]
            statuses = list(pool.map(ask, branches))
            # Late ones are told which size is known, whether or not they wait for the winner's commit.
            assert sorted(statuses) == [200] + [409] * 7
            with any_home.database.begin() as connection:
                kept = store.last_seen(connection, LOG.name)
                assert kept is not None
                assert kept.root == outsider.mth(branches[statuses.index(200)])
                connection.execute(text("UPDATE witnessed SET root = :root"), {"root": outsider.mth(leaves(size))})
            old = size


def test_a_row_that_another_kept_meanwhile_is_not_overwritten(any_home: Home) -> None:
    first, second = seen(leaves(3)), seen(leaves(5))
    with any_home.database.begin() as connection:
        assert store.swap_seen(connection, LOG.name, None, first)
        assert not store.swap_seen(connection, LOG.name, None, second)
        assert not store.swap_seen(connection, LOG.name, Seen(0, EMPTY_ROOT, "", 0), second)
        assert store.swap_seen(connection, LOG.name, first, second)
        assert store.last_seen(connection, LOG.name) == second
