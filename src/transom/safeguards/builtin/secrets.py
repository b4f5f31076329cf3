"""Keys and tokens of common services, and private keys, in a prompt.

Each kind has a literal that every such secret contains. Searching for the literals is what most prompts cost; an
expression runs only where its literal stands.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from transom.values import Finding


class _Kind(NamedTuple):
    name: str
    literal: str
    pattern: re.Pattern[str]


def _kind(name: str, literal: str, rest: str) -> _Kind:
    return _Kind(name, literal, re.compile(re.escape(literal) + rest))


_KINDS: Mapping[str, tuple[_Kind, ...]] = {
    "sk-": (_kind("an OpenAI or Anthropic key", "sk-", r"(?:proj-|ant-|svcacct-)?[A-Za-z0-9_\-]{32,}"),),
    "glpat-": (_kind("a GitLab token", "glpat-", r"[A-Za-z0-9_\-]{20,}"),),
    "AKIA": (_kind("an AWS access key", "AKIA", r"[A-Z2-7]{16}(?![A-Za-z0-9])"),),
    "AIza": (_kind("a Google API key", "AIza", r"[A-Za-z0-9_\-]{35}"),),
    "-----BEGIN ": (_kind("a private key", "-----BEGIN ", r"(?:[A-Z]+ )*PRIVATE KEY-----"),),
    "xox": tuple(_kind("a Slack token", f"xox{letter}-", r"[A-Za-z0-9\-]{20,}") for letter in "abeoprs"),
    "_": (
        *(_kind("a GitHub token", f"gh{letter}_", r"[A-Za-z0-9]{36,}") for letter in "pousr"),
        _kind("a GitHub token", "github_pat_", r"[A-Za-z0-9_]{36,}"),
        _kind("a Hugging Face token", "hf_", r"[A-Za-z0-9]{30,}"),
        *(_kind("a Stripe key", f"{letter}k_live_", r"[A-Za-z0-9]{20,}") for letter in "rs"),
        _kind("a Transom key", "tr_", r"[A-Za-z0-9_\-]{40,}"),
    ),
}
"""By what their literals have in common: a text without it holds none of them, and most texts hold none at all."""


class Secrets:
    """Finds credentials. A finding says where it is, never what it is."""

    name = "secrets"
    version = "1"

    def find(self, texts: tuple[str, ...]) -> tuple[Finding, ...]:
        """Return every credential in `texts`, text by text."""
        # A stem has no line break: one that is in any of the texts is in all of them together, and few searches of a
        # long text are faster than many of short ones.
        together = "\n".join(texts)
        present = [(stem, kinds) for stem, kinds in _KINDS.items() if stem in together]
        return tuple(
            [
                Finding(self.name, kind.name, index, start, end)
                for index, text in enumerate(texts if present else ())
                for stem, kinds in present
                if stem in text
                for kind in kinds
                for start, end in _spans(kind, text)
            ]
        )


def _spans(kind: _Kind, text: str) -> Iterator[tuple[int, int]]:
    """Match at each place of the literal that does not continue a longer word."""
    start = text.find(kind.literal)
    while start >= 0:
        match = kind.pattern.match(text, start)
        if match is not None and not (start and (text[start - 1].isalnum() or text[start - 1] in "_-")):
            yield match.span()
        start = text.find(kind.literal, match.end() if match else start + 1)
