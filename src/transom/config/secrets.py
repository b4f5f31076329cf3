"""Secrets by reference: a settings file names where a secret is, and never holds it."""

import os
import subprocess
from pathlib import Path
from typing import Final

import msgspec

from transom.errors import ConfigError

_COMMAND_SECONDS: Final = 30.0


class SecretRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a secret is: `{ env = "NAME" }`, `{ file = "/path" }` or `{ command = ["vault", …] }`, exactly one."""

    env: str | None = None
    file: str | None = None
    command: tuple[str, ...] | None = None
    """A program and its arguments, run without a shell; the secret is what it prints. For vaults and KMS."""

    def __post_init__(self) -> None:
        """Raise `ValueError` (which msgspec reports as its `ValidationError`) unless exactly one is given."""
        if sum(map(bool, (self.env, self.file, self.command))) != 1:
            raise ValueError(
                'a secret is named by exactly one of { env = "NAME" }, { file = "/path" } and { command = ["PROGRAM"] }'
            )

    def resolve(self, what: str) -> str:
        """Return the secret, trimmed of white space at both ends.

        `what` is the path of the setting that needs it ("upstreams.openai.key"), which the error has as its `file`.
        A relative file is found from the folder the process runs in. Raises `ConfigError` where the variable or the
        file is missing, unreadable or empty; the error names it and never shows what it holds.
        """
        if self.command:
            return self._from_command(self.command, what)
        return self._from_environment(what) if self.path is None else self._from_file(self.path, what)

    @property
    def path(self) -> Path | None:
        """The file that holds the secret, if a file does."""
        return Path(self.file).expanduser() if self.file else None

    def _from_environment(self, what: str) -> str:
        name = self.env or ""
        found = os.environ.get(name)
        if found is None:
            raise ConfigError(
                f"The environment variable {name} is not set. Set it where Transom is started: export {name}=…",
                file=what,
            )
        if not found.strip():
            raise ConfigError(f"The environment variable {name} is empty. Give it the secret.", file=what)
        return found.strip()

    @staticmethod
    def _from_command(command: tuple[str, ...], what: str) -> str:
        # What it prints on either stream may be the secret: nothing of it is ever shown.
        try:
            done = subprocess.run(command, capture_output=True, timeout=_COMMAND_SECONDS, check=True)  # noqa: S603 - no shell, and the operator's own words
            found = done.stdout.decode().strip()
        except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            if isinstance(error, subprocess.CalledProcessError):
                why = f"exit status {error.returncode}"
            raise ConfigError(
                f"The command {command[0]} gives no secret ({why}). Run it by hand, as the user who runs Transom.",
                file=what,
            ) from None
        if not found:
            raise ConfigError(f"The command {command[0]} printed nothing. It must print the secret.", file=what)
        return found

    @staticmethod
    def _from_file(path: Path, what: str) -> str:
        try:
            found = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(
                f"The file {path} cannot be read: {error.strerror}. "
                "Write the secret into it, readable by the user who runs Transom.",
                file=what,
            ) from error
        except UnicodeDecodeError:
            # `from None`: the decoder's own error holds the bytes it could not read, which are the secret.
            raise ConfigError(
                f"The file {path} is not UTF-8 text. Write the secret into it as text.", file=what
            ) from None
        if not found:
            raise ConfigError(f"The file {path} is empty. Write the secret into it.", file=what)
        return found
