from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.errors import StartError, StorageError
from transom.storage.objects import Objects, open_objects


@pytest.fixture(params=["folder", "memory"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    return open_objects(tmp_path / "deep" / "objects" if request.param == "folder" else "memory:///")


def test_an_object_is_what_was_put_last(objects: Objects) -> None:
    assert objects.get("a/b") is None
    objects.put("a/b", b"one")
    objects.put("a/b", b"two")
    assert objects.get("a/b") == b"two"
    objects.put("a/empty", b"")
    assert objects.get("a/empty") == b""


def test_create_leaves_what_is_there(objects: Objects) -> None:
    assert objects.create("a/b", b"one")
    assert not objects.create("a/b", b"two")
    assert objects.get("a/b") == b"one"


def test_listing_is_of_folders_not_of_prefixes(objects: Objects) -> None:
    for path in ("a/b/c", "a/b.p/1", "a/b", "ab") if objects.where == "memory:///" else ("a/b/c", "a/b.p/1", "ab"):
        objects.put(path, path.encode())
    assert [path for path in objects.list("a") if path != "a/b"] == ["a/b.p/1", "a/b/c"]
    assert objects.sizes("a/b.p") == {"a/b.p/1": 7}
    assert objects.list("nothing") == []


def test_deleting_what_is_not_there_is_no_error(objects: Objects) -> None:
    objects.put("a/b", b"one")
    objects.delete(["a/b"])
    objects.delete(["a/b"])
    objects.delete([])
    assert objects.list("a") == []


@given(st.binary(max_size=5000))
def test_any_bytes_read_back(data: bytes) -> None:
    store = open_objects("memory:///")
    store.put("x", data)
    assert store.get("x") == data


def test_a_local_object_is_a_plain_file(tmp_path: Path) -> None:
    store = open_objects(tmp_path)
    store.put("ledger/tile/0/000.p/5", b"data")
    assert (tmp_path / "ledger/tile/0/000.p/5").read_bytes() == b"data"
    assert [path.name for path in (tmp_path / "ledger/tile/0/000.p").iterdir()] == ["5"]


def test_failures_say_where_and_what_to_do(tmp_path: Path) -> None:
    store = open_objects(tmp_path)
    store.put("file", b"")
    for failing in (
        lambda: store.put("file/under", b""),
        lambda: store.create("file/under", b""),
        lambda: store.get("../outside"),
        lambda: store.sizes("../outside"),
    ):
        with pytest.raises(StorageError, match=f"{tmp_path}.*Check that it is there"):
            failing()


@pytest.mark.parametrize("place", ["nonsense://bucket", "{file}/objects"])
def test_a_store_that_cannot_be_opened_is_a_start_error(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=r"storage\.objects"):
        open_objects(place.format(file=tmp_path / "file"))
