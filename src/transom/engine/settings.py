"""The `[engine]` section of `transom.toml`."""

import importlib.util
import os
from typing import Annotated

import msgspec

from transom.errors import StartError

LIBRARY = "xllamacpp"
"""The optional package (`transom[local]`) that answers with open weights on this machine's processor."""


class EngineSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the embedded engine may use."""

    enabled: bool | None = None
    """Whether to run it. Not said: run it wherever its library is installed."""
    threads: Annotated[int, msgspec.Meta(ge=1, le=256)] | None = None
    """Processor threads. Not said: all this process may use but one, which stays for the gateway."""
    parallel: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    """Requests answered at the same time; more wait their turn."""
    context: Annotated[int, msgspec.Meta(ge=256, le=8192)] = 2048
    """Tokens of prompt and answer together that each of them may use. The model was trained for 8192."""
    embeddings: bool = False
    """Whether it also answers `/v1/embeddings` (mean-pooled, 576 numbers; not made for retrieval)."""

    def wanted(self) -> bool:
        """Say whether the engine is to run here.

        Raises `StartError` where the settings ask for it and its library is not installed.
        """
        installed = importlib.util.find_spec(LIBRARY) is not None
        if self.enabled and not installed:
            raise StartError(
                f"engine.enabled is true, but the package {LIBRARY} is not installed. "
                "Install it (pip install 'transom[local]'), or set engine.enabled = false."
            )
        return installed if self.enabled is None else self.enabled

    def thread_count(self) -> int:
        """Return the number of threads to use: what is set, or this process's processors less one."""
        return self.threads or max(1, _processors() - 1)


def _processors() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only: it knows of containers and taskset
    return len(affinity(0)) if affinity else os.cpu_count() or 1
