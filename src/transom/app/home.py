"""TRANSOM_HOME: the folder of declared files and lived data, made at first start."""

import os
from pathlib import Path

import msgspec

from transom.errors import StartError
from transom.policy.vocabulary import starter_files

_STARTER = Path(__file__).with_name("starter.toml")


class Home(msgspec.Struct, frozen=True):
    """The folder and what lies in it."""

    path: Path

    @property
    def settings(self) -> Path:
        """Everything declared but the policies."""
        return self.path / "transom.toml"

    @property
    def policies(self) -> Path:
        """Cedar files."""
        return self.path / "policies"

    @property
    def data(self) -> Path:
        """Everything lived: database, keys, objects, weights."""
        return self.path / "data"

    @property
    def lock(self) -> Path:
        """Held by the process that serves this home."""
        return self.data / "serving.lock"


def find_home(path: str | None = None) -> Home:
    """Return the home at `path`, else at TRANSOM_HOME, else `~/.transom`."""
    chosen = path or os.environ.get("TRANSOM_HOME") or "~/.transom"
    return Home(Path(chosen).expanduser().absolute())


def prepare(home: Home) -> bool:
    """Make what is missing: folders, the starter settings and policies. Never touches what is there.

    Returns whether this was the first time. Raises `StartError` where the folder cannot be written.
    """
    try:
        home.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        first = not home.settings.exists()
        if first:
            home.settings.write_bytes(_STARTER.read_bytes())
        if not home.policies.exists():
            home.policies.mkdir()
            for name, text in starter_files().items():
                (home.policies / name).write_text(text)
    except OSError as error:
        raise StartError(
            f"{home.path} cannot be written ({error.strerror}). Set TRANSOM_HOME to a folder of yours."
        ) from error
    return first
