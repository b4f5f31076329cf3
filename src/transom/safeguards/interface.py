"""What a safeguard is, and how a set of them is run."""

from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

from transom.config.digest import digest
from transom.errors import Blocked
from transom.values import Call, Digest, Finding, Verdict


class SafeguardSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[safeguards.NAME]` of `transom.toml`: what follows from a finding."""

    verdict: Literal["flag", "block"] = "block"


class Safeguard(Protocol):
    """Looks at texts. Pure: no I/O, no state between calls."""

    name: str
    version: str

    def find(self, texts: tuple[str, ...]) -> tuple[Finding, ...]:
        """Return every finding, in order."""
        ...


class Safeguards:
    """The set in force: each safeguard with what follows from its findings. `digest` is over names and settings."""

    def __init__(self, known: tuple[Safeguard, ...], settings: Mapping[str, SafeguardSettings]) -> None:
        self._known = {safeguard.name: safeguard for safeguard in known if safeguard.name in settings}
        self._settings = settings
        self.source: bytes = msgspec.json.encode(
            {name: [safeguard.version, settings[name]] for name, safeguard in self._known.items()}, order="sorted"
        )
        self.digest: Digest = digest(self.source)

    @property
    def names(self) -> frozenset[str]:
        """The safeguards that policies may ask for."""
        return frozenset(self._known)

    def check_prompt(self, names: tuple[str, ...], call: Call) -> tuple[Verdict, ...]:
        """Run the safeguards that the ruling asked for. A verdict for each, `block` included: see `refuse`."""
        return tuple([self._check(name, call) for name in names])

    def skip_answer(self, names: tuple[str, ...]) -> tuple[Verdict, ...]:
        """Say for the record that answers are not checked."""
        return tuple([Verdict(name, "answer", "not run", (), 0, "answers are not checked") for name in names])

    def _check(self, name: str, call: Call) -> Verdict:
        safeguard = self._known.get(name)
        if safeguard is None:
            return Verdict(name, "prompt", "not run", (), 0, "not configured")
        if call.opaque:
            return Verdict(
                name, "prompt", "not run", (), 0, "token arrays, and what is stored at the vendor, cannot be read"
            )
        findings = safeguard.find(call.texts)
        verdict = self._settings[name].verdict if findings else "pass"
        return Verdict(name, "prompt", verdict, findings, _size(call.texts), "every string, whole")


def refuse_blocked(verdicts: tuple[Verdict, ...]) -> None:
    """Raise `Blocked` where a verdict says so, naming the safeguard and what it found, never the text itself.

    A safeguard that policy asks for and that did not run refuses too: what must be checked is not let past unchecked.
    """
    for verdict in verdicts:
        if verdict.verdict == "block":
            kinds = ", ".join(sorted({finding.kind for finding in verdict.findings}))
            raise Blocked(
                f"The safeguard `{verdict.safeguard}` found {kinds} in the prompt. Take it out and ask again."
            )
        if verdict.verdict == "not run":
            raise Blocked(
                f"Policy asks for the safeguard `{verdict.safeguard}`, which did not run ({verdict.mode}). "
                "Send text, or ask the operator to configure it.",
                code="safeguard_not_run",
            )


def _size(texts: tuple[str, ...]) -> int:
    """Size in bytes of UTF-8."""
    return sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
