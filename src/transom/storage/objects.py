"""One door to blobs: a local folder by default, S3 and compatible by URL (obstore). Synchronous.

A `put` is whole or not at all, and on return it is durable: obstore renames a finished draft into place but leaves it
to the kernel when it reaches the disk, so for a local folder the file and its folders are synced here.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeAlias

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from transom.errors import StartError, StorageError
from transom.storage.durable import fsync

Attributes: TypeAlias = Callable[[str], Mapping[str, str]]
"""Says with which HTTP headers the object at a path is to be served, by a store that serves its objects itself."""

_AT_ONCE: Final = 8
"""Writes under way at the same time: a disk makes several files durable in the time that one takes it."""


class Objects:
    """An open object store. Paths are relative, with forward slashes. Every method raises `StorageError`."""

    def __init__(self, store: ObjectStore, where: str, attributes: Attributes = lambda _path: {}) -> None:
        self._store = store
        self.where = where
        """The store's folder or URL, for people to read."""
        self._root = store.prefix if isinstance(store, LocalStore) else None
        self._attributes = attributes
        self._synced: set[Path] = set()

    @property
    def local(self) -> bool:
        """Whether it is a folder: asked for nothing but its disk's time."""
        return self._root is not None

    def get(self, path: str) -> bytes | None:
        """Give an object's bytes, None where there is none."""
        with self._errors(path):
            try:
                return obstore.get(self._store, path).bytes().to_bytes()
            except FileNotFoundError:
                return None

    def put(self, path: str, data: bytes) -> None:
        """Write an object, in place of any that is there."""
        with self._errors(path):
            obstore.put(self._store, path, data, attributes=self._headers(path), use_multipart=False)
            self._sync(path)

    def create(self, path: str, data: bytes) -> bool:
        """Write an object where there is none yet. Say whether it was written: one that is there is left as it is."""
        with self._errors(path):
            try:
                headers = self._headers(path)
                obstore.put(self._store, path, data, mode="create", attributes=headers, use_multipart=False)
            except AlreadyExistsError:
                return False
            self._sync(path)
            return True

    def create_all(self, objects: Sequence[tuple[str, bytes]]) -> Sequence[bool]:
        """Do what `create` does for several objects at once, in no order: a crash may leave any of them."""
        with ThreadPoolExecutor(min(_AT_ONCE, len(objects) or 1), thread_name_prefix="objects") as threads:
            return tuple(threads.map(lambda each: self.create(*each), objects))

    def list(self, prefix: str) -> list[str]:
        """Give the paths of all objects in the folder `prefix`, at any depth, sorted."""
        return sorted(self.sizes(prefix))

    def sizes(self, prefix: str) -> dict[str, int]:
        """Give the size in bytes of every object in the folder `prefix`, at any depth, by path."""
        with self._errors(prefix):
            chunks = obstore.list(self._store, prefix, chunk_size=1000)
            return {meta["path"]: meta["size"] for chunk in chunks for meta in chunk}

    def delete(self, paths: Sequence[str]) -> None:
        """Delete objects. Where one is not there, that is no error, but others may then be left."""
        if paths:
            with self._errors(paths[0]), contextlib.suppress(FileNotFoundError):
                obstore.delete(self._store, list(paths))

    def _headers(self, path: str) -> dict[str, str] | None:
        # A file holds its bytes and no headers: obstore refuses to write any beside it.
        return dict(self._attributes(path)) or None if self._root is None else None

    def _sync(self, path: str) -> None:
        if self._root is None:
            return  # an object store's answer is its promise
        file = self._root / path
        fsync(file)
        fsync(file.parent)
        if file.parent not in self._synced:
            # It may be new: then it is an entry of the folder above it, and so on.
            for folder in file.parent.relative_to(self._root).parents:
                fsync(self._root / folder)
            self._synced.add(file.parent)

    @contextlib.contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise StorageError(
                f"The object store ({self.where}) failed at {path}: {reason}. Check that it is there, has room "
                "and may be written."
            ) from error


def open_objects(url_or_path: str | Path, attributes: Attributes = lambda _path: {}) -> Objects:
    """Open the store at a folder (made where missing) or at a URL that obstore knows (`s3://…`, `gs://…`, `az://…`).

    `attributes` are kept with objects where the store can: not in a folder. Raises `StartError` where it is not to be
    opened.
    """
    text = str(url_or_path)
    try:
        if "://" not in text:
            folder = Path(text).absolute()
            return Objects(LocalStore(folder, mkdir=True), str(folder), attributes)
        return Objects(from_url(text), text, attributes)
    except (BaseError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StartError(
            f"storage.objects is {text!r}, which cannot be opened ({reason}). Use a folder that this user may write, "
            "or a URL such as s3://BUCKET/PREFIX."
        ) from error
