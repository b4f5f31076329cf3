"""The vectors of the specifications that are no other test's: keys, paths, empty trees, a committed leaf."""

import hmac
from base64 import b64encode

import pytest
import rfc8785
from tests.ledger import outsider

from transom.ledger.note import parse_vkey
from transom.ledger.tiles import Tile, edge, parse_path
from transom.ledger.tree import EMPTY_ROOT, leaf_hash

LOG = "ledger.example/test+8a1f1b76+AX64FE4SKQW0RM9+1jOp6W5Qz1B9M2PU7lD2DhbxAT1f"
PAYLOAD = {
    "decision": "allow",
    "input": {"messages": [{"content": "hello", "role": "user"}]},
    "model": "acme/tiny",
    "subject": "user:42",
}
COMMITTED = "6f9a9f2ff1cdd226d35ee3766f8de8090f3869adbba51936af83e9a6e0fd9ebe"
LEAF_HASH = "42465d179505dd9dc46d136a88163ac38bea396b7ff7a49ce2f078e8d972ae14"


def test_the_empty_tree() -> None:
    assert b64encode(EMPTY_ROOT).decode() == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def test_a_logs_key_reads_back_and_has_its_id() -> None:
    assert parse_vkey(LOG).vkey == LOG
    assert parse_vkey(LOG).key_id.hex() == "8a1f1b76"


@pytest.mark.parametrize(("index", "path"), [(0, "000"), (999, "999"), (1000, "x001/000"), (1234067, "x001/x234/067")])
def test_the_paths_of_tiles(index: int, path: str) -> None:
    assert Tile(3, index).path == f"ledger/tile/3/{path}"
    assert Tile(None, index, 7).path == f"ledger/tile/entries/{path}.p/7"
    assert parse_path(f"ledger/tile/3/{path}") == Tile(3, index)


def test_a_log_of_256_has_a_full_tile_and_one_partial_above_it() -> None:
    assert [tile.path for tile in edge(256) if tile.width] == ["ledger/tile/1/000.p/1"]
    assert Tile(0, 0).needs == 256


def test_a_leaf_with_a_salted_commitment() -> None:
    """The vector commits under a prefix of its own; the bytes of the leaf and its hash are as ours are made."""
    message = b"ledger-commit/v1\n" + rfc8785.dumps(PAYLOAD)  # type: ignore[arg-type] # JSON
    committed = hmac.digest(bytes(range(32)), message, "sha256")
    assert committed.hex() == COMMITTED
    leaf = rfc8785.dumps(
        {
            "v": "ledger/v1",
            "type": "gateway.decision",
            "schema": "decision/3",
            "id": "01J00000000000000000000000",
            "ts": "2026-11-24T02:00:00Z",
            "tenant": "t_7f3a",
            "refs": {"policy": "sha256:" + "cd" * 32, "model": "sha256:" + "ab" * 32},
            "commit": {"alg": "hmac-sha256", "payload": b64encode(committed).decode()},
        }
    )
    assert len(leaf) == 407
    assert leaf_hash(leaf).hex() == outsider.leaf_hash(leaf).hex() == LEAF_HASH
