from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger import outsider

from transom.errors import LedgerError
from transom.ledger.append import Appender
from transom.ledger.checkpoint import Checkpoint
from transom.ledger.note import Signer
from transom.ledger.proof import (
    ProofFile,
    TileReader,
    consistency,
    inclusion,
    parse_proof,
    verify_consistency,
    verify_inclusion,
    verify_proof,
)
from transom.ledger.tiles import Tile, edge, pack, parse_path, served_path, split_hashes, tiles_of, unpack
from transom.ledger.tree import EMPTY_ROOT, Tree, leaf_hash, root_of

# The test vectors of RFC 6962's reference implementation.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = ["6e340b9c", "fac54203", "aeb6bcfe", "d37ee418", "4e3bbb1f", "76e67dad", "ddb89be4"]
ROOT_8 = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"

sizes = st.one_of(st.integers(0, 40), st.integers(0, 1100))
signer = Signer("ledger.example/test", bytes(32))


def hashes(size: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(4, "big")) for number in range(size)]


class Log:
    """A log of `size` small entries, in a dictionary."""

    def __init__(self, size: int) -> None:
        self.objects: dict[str, bytes] = {}
        self.entries = [number.to_bytes(4, "big") for number in range(size)]
        self.appender = Appender(lambda tile, data: self.objects.update({tile.path: data}))
        rest = iter(self.entries)
        while chunk := list(islice(rest, self.appender.room)):
            self.appender.add(chunk)
        self.appender.finish()
        self.checkpoint = Checkpoint(signer.name, size, self.appender.root())
        self.note = signer.sign(self.checkpoint.text)
        self.objects["ledger/checkpoint"] = self.note.encode()

    def fetch(self, path: str) -> bytes | None:
        return self.objects.get(f"ledger/{path}")


def test_the_roots_of_the_reference_implementation() -> None:
    tree = Tree()
    assert tree.root() == EMPTY_ROOT == root_of([])
    for leaf, root in zip(LEAVES, [*ROOTS, ROOT_8], strict=True):
        tree.extend([leaf_hash(leaf)])
        assert tree.root().hex().startswith(root)
    assert tree.root().hex() == ROOT_8


@given(st.lists(st.integers(0, 300), max_size=5))
def test_a_tree_grown_in_any_steps_is_the_tree_of_the_definition(steps: list[int]) -> None:
    leaves = hashes(sum(steps))
    tree = Tree()
    added: list[list[bytes]] = [[], [], []]
    for step in steps:
        for level, grown in enumerate(tree.extend(leaves[tree.size : tree.size + step])):
            added[level] += grown
    assert (tree.size, tree.root()) == (len(leaves), outsider.mth(leaves))
    assert root_of(leaves) == tree.root()
    assert added[0] == leaves
    assert added[1] == [outsider.mth(leaves[s : s + 256]) for s in range(0, len(leaves) - 255, 256)]


@given(sizes)
def test_a_stranger_accepts_the_log(size: int) -> None:
    log = Log(size)
    assert outsider.verify_log(log.fetch, signer.verifier.vkey) == log.entries
    assert set(log.objects) == {tile.path for tile in tiles_of(size)} | {"ledger/checkpoint"}


@given(sizes, st.integers(0, 300))
def test_a_log_goes_on_from_its_edge(size: int, more: int) -> None:
    log = Log(size)
    whole = Log(size + more)
    reader = TileReader(log.objects.get, size)
    edges = [
        split_hashes(reader.hashes(level, tile.index)) if tile.width else [] for level, tile in enumerate(edge(size))
    ]
    bundle = pack(reader.entries(size // 256)) if size % 256 else b""
    appender = Appender(lambda tile, data: log.objects.update({tile.path: data}), edges, bundle)
    rest = iter(whole.entries[size:])
    while chunk := list(islice(rest, appender.room)):
        appender.add(chunk)
    appender.finish()
    assert appender.root() == whole.appender.root()
    assert {path: data for path, data in whole.objects.items() if path != "ledger/checkpoint"}.items() <= (
        log.objects.items()
    )


def test_seventy_thousand_entries_are_the_tiles_of_the_specification() -> None:
    log = Log(70_000)
    tiles = [path for path in log.objects if "entries" not in path]
    assert len([path for path in tiles if path.startswith("ledger/tile/0/") and ".p/" not in path]) == 273
    assert [path for path in tiles if not path.startswith("ledger/tile/0/") or ".p/" in path] == [
        "ledger/tile/1/000",
        "ledger/tile/0/273.p/112",
        "ledger/tile/1/001.p/17",
        "ledger/tile/2/000.p/1",
        "ledger/checkpoint",
    ]
    assert edge(70_000) == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    leaves = [leaf_hash(entry) for entry in log.entries]
    assert log.appender.root() == outsider.mth(leaves)
    reader = TileReader(log.objects.get, 70_000)
    for index in (0, 65_535, 65_536, 69_999):
        assert inclusion(reader, index) == outsider.path(index, leaves)
    for old in (1, 65_536, 65_537, 69_888):
        assert consistency(reader, old) == outsider.proof(old, leaves)


def test_all_proofs_of_small_trees() -> None:
    for size in range(1, 20):
        log = Log(size)
        reader = TileReader(log.objects.get, size)
        leaves = hashes(size)
        for index in range(size):
            proof = inclusion(reader, index)
            assert proof == outsider.path(index, leaves)
            assert verify_inclusion(leaves[index], index, size, proof, log.checkpoint.root)
        for old in range(size + 1):
            before = Checkpoint(signer.name, old, outsider.mth(leaves[:old]))
            proof = consistency(reader, old)
            assert proof == (outsider.proof(old, leaves) if old else [])
            assert verify_consistency(before, log.checkpoint, proof)


@given(st.data(), st.integers(1, 1100))
@settings(max_examples=60)
def test_a_proof_shows_one_entry_at_one_place_of_one_tree(data: st.DataObject, size: int) -> None:
    log = Log(size)
    index = data.draw(st.integers(0, size - 1))
    leaf = leaf_hash(log.entries[index])
    proof = inclusion(TileReader(log.objects.get, size), index)
    root = log.checkpoint.root
    assert verify_inclusion(leaf, index, size, proof, root)
    assert not verify_inclusion(leaf_hash(b"other"), index, size, proof, root)
    assert not verify_inclusion(leaf, index, size, proof, bytes(32))
    assert not verify_inclusion(leaf, index, size, [*proof, bytes(32)], root)
    assert not verify_inclusion(leaf, size, size, proof, root)
    other = data.draw(st.integers(0, size))
    assert other == index or not verify_inclusion(leaf, other, size, proof, root)
    if proof:
        assert not verify_inclusion(leaf, index, size, proof[:-1], root)
        place = data.draw(st.integers(0, len(proof) - 1))
        assert not verify_inclusion(leaf, index, size, [*proof[:place], bytes(32), *proof[place + 1 :]], root)


@given(st.data(), st.integers(2, 1100))
@settings(max_examples=60)
def test_consistency_is_proven_of_no_other_tree(data: st.DataObject, size: int) -> None:
    log = Log(size)
    old = data.draw(st.integers(1, size - 1))
    before = Checkpoint(signer.name, old, outsider.mth(hashes(old)))
    proof = consistency(TileReader(log.objects.get, size), old)
    assert proof == outsider.proof(old, hashes(size))
    assert verify_consistency(before, log.checkpoint, proof)
    assert not verify_consistency(before._replace(root=bytes(32)), log.checkpoint, proof)
    assert not verify_consistency(before, log.checkpoint._replace(root=bytes(32)), proof)
    assert not verify_consistency(log.checkpoint, before, proof)
    assert not verify_consistency(before, log.checkpoint, [])
    assert not verify_consistency(before, log.checkpoint, [*proof, bytes(32)])
    place = data.draw(st.integers(0, len(proof) - 1))
    assert not verify_consistency(before, log.checkpoint, [*proof[:place], bytes(32), *proof[place + 1 :]])


def test_nothing_is_proven_beyond_the_log() -> None:
    reader = TileReader(Log(3).objects.get, 3)
    with pytest.raises(LedgerError, match="no proof for entry 3 yet"):
        inclusion(reader, 3)
    with pytest.raises(LedgerError, match="from size 4"):
        consistency(reader, 4)


def test_a_full_tile_stands_in_for_its_partial_form() -> None:
    log, later = Log(300), Log(700)
    reader = TileReader({path: data for path, data in later.objects.items() if ".p/" not in path}.get, 300)
    assert reader.entries(1) == log.entries[256:]
    assert reader.hashes(0, 1) == log.objects[Tile(0, 1, 44).path]


@pytest.mark.parametrize("size", [5, 300])
def test_what_is_missing_or_of_another_length_is_named(size: int) -> None:
    log = Log(size)
    for path in [path for path in log.objects if path != "ledger/checkpoint"]:
        tile = parse_path(path)
        assert tile is not None
        for damaged in ({}, {path: log.objects[path][:-1]}, {path: log.objects[path] + bytes(32)}):
            objects = {**log.objects, path: None, **damaged}
            reader = TileReader(objects.get, size)
            with pytest.raises(LedgerError, match=r"tile/|cut off"):
                reader.entries(tile.index) if tile.level is None else reader.hashes(tile.level, tile.index)


def test_a_proof_file_convinces_a_stranger() -> None:
    log = Log(700)
    for index in (0, 255, 256, 699):
        hashes_ = inclusion(TileReader(log.objects.get, 700), index)
        file = ProofFile(index, tuple(hashes_), log.note)
        assert outsider.verify_proof_file(file.text, log.entries[index], signer.verifier.vkey) == index
        assert parse_proof(file.text) == file
        assert verify_proof(parse_proof(file.text), log.entries[index], signer.verifier) == log.checkpoint
        with pytest.raises(LedgerError, match="does not show this entry"):
            verify_proof(file, b"other", signer.verifier)


def test_a_proof_file_of_another_log_is_refused() -> None:
    log = Log(1)
    file = ProofFile(0, (), log.note)
    with pytest.raises(LedgerError, match="not signed by"):
        verify_proof(file, log.entries[0], Signer("other.example/log", bytes(32)).verifier)
    renamed = signer.sign(log.checkpoint._replace(origin="other.example/log").text)
    with pytest.raises(LedgerError, match=r"of the log 'other\.example/log'"):
        verify_proof(ProofFile(0, (), renamed), log.entries[0], signer.verifier)


@given(st.integers(0, 2**60), st.lists(st.binary(min_size=32, max_size=32)), st.binary())
def test_a_proof_file_reads_back(index: int, proof: list[bytes], extra: bytes) -> None:
    file = ProofFile(index, tuple(proof), Log(1).note, extra)
    assert parse_proof(file.text) == file


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2"),
        ("index 1", "index 01"),
        ("index 1", "index -1"),
        ("index 1", "place 1"),
        ("index 1\n", ""),
        ("\n\n", "\n"),
        ("=\n", "\n"),
        ("index 1\n", "index 1\nAAAA\n"),
    ],
)
def test_a_malformed_proof_file_is_refused(old: str, new: str) -> None:
    log = Log(2)
    text = ProofFile(1, tuple(inclusion(TileReader(log.objects.get, 2), 1)), "x\n").text
    assert old in text
    with pytest.raises(LedgerError, match="no proof file"):
        parse_proof(text.replace(old, new))


@given(st.one_of(st.none(), st.integers(0, 63)), st.integers(0, 10**12), st.integers(1, 256))
def test_a_path_reads_back_and_is_served(level: int | None, index: int, width: int) -> None:
    tile = Tile(level, index, width)
    assert parse_path(tile.path) == tile
    served = served_path(f"/{tile.path}")
    assert served is not None
    assert (served.object_path, served.content_type) == (tile.path, "application/octet-stream")
    assert "immutable" in served.cache_control
    name = "entries" if level is None else str(level)
    assert tile.path == f"ledger/{outsider.tile_name(name, index, width)}"


def test_a_log_that_fills_its_tiles_has_no_partial_ones_below() -> None:
    assert list(tiles_of(256)) == [Tile(None, 0), Tile(0, 0), Tile(1, 0, 1)]
    assert list(tiles_of(0)) == []


def test_paths_of_the_specification() -> None:
    assert Tile(0, 1_234_067).path == "ledger/tile/0/x001/x234/067"
    assert Tile(None, 0, 3).path == "ledger/tile/entries/000.p/3"


def test_the_checkpoint_is_served_and_not_kept() -> None:
    served = served_path("/ledger/checkpoint")
    assert served is not None
    assert served == ("ledger/checkpoint", "text/plain; charset=utf-8", "no-cache")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/ledger",
        "ledger/checkpoint",
        "/ledger/checkpoint/",
        "/ledger/Checkpoint",
        "/ledger/tile/",
        "/ledger/tile/0/00",
        "/ledger/tile/0/0000",
        "/ledger/tile/0/1000",
        "/ledger/tile/0/x000/001",
        "/ledger/tile/0/x001",
        "/ledger/tile/0/000.p/0",
        "/ledger/tile/0/000.p/256",
        "/ledger/tile/0/000.p/01",
        "/ledger/tile/0/000.p/",
        "/ledger/tile/0/000/",
        "/ledger/tile/00/000",
        "/ledger/tile/64/000",
        "/ledger/tile/-1/000",
        "/ledger/tile/data/000",
        "/ledger/tile/0/../0/000",
        "/ledger/tile/0/000\n",
        "/ledger/tile/0/٠٠٠",  # noqa: RUF001 - digits, but not ASCII's
        "/tile/0/000",
        "//ledger/tile/0/000",
        "/ledger/../keys/master.key",
    ],
)
def test_no_other_path_is_served(path: str) -> None:
    assert served_path(path) is None


@given(st.lists(st.binary(max_size=300)))
def test_a_bundle_reads_back(entries: list[bytes]) -> None:
    assert unpack(pack(entries)) == entries


def test_a_bundle_holds_the_longest_entry_and_no_longer() -> None:
    assert unpack(pack([b"x" * 65_535])) == [b"x" * 65_535]
    with pytest.raises(LedgerError, match="65,535"):
        pack([b"x" * 65_536])
