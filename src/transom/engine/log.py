"""The engine's own words, in a file that cannot grow without end."""

from pathlib import Path

_LIMIT = 1_000_000
_TAIL = 4_000


class EngineLog:
    """Two files of at most a megabyte each, the older with `.1` after its name; readable by their owner only.

    llama.cpp writes warnings and errors here, not prompts; a prompt's fragment in an error text cannot be ruled out.
    A log that cannot be written (a full disk) is not a reason to stop answering: then the words are lost.
    """

    def __init__(self, path: Path, limit: int = _LIMIT) -> None:
        self._path = path
        self._limit = limit
        self._tail = b""

    def write(self, data: bytes) -> None:
        """Append `data`; begin a new file first where the present one would grow past the limit."""
        self._tail = (self._tail + data)[-_TAIL:]
        try:
            if self._path.exists() and self._path.stat().st_size + len(data) > self._limit:
                self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._path.touch(mode=0o600)
            with self._path.open("ab") as file:
                file.write(data)
        except OSError:
            return

    def forget(self) -> None:
        """Begin the tail anew: what a former process said does not explain how this one ends."""
        self._tail = b""

    def last_words(self) -> str:
        """Return the last error line, or the last line of all, of what was written since `forget`. May be empty."""
        lines = [line for line in self._tail.decode(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if " E " in line]
        return (errors or lines or [""])[-1].strip()[-300:]
