"""Every dialect there is, by name."""

from collections.abc import Mapping

from transom.dialects.anthropic.messages import MESSAGES
from transom.dialects.gemini.generate import GENERATE
from transom.dialects.openai.chat import CHAT
from transom.dialects.openai.embeddings import EMBEDDINGS
from transom.dialects.openai.responses import RESPONSES
from transom.dialects.translate import Dialect, DialectName, Translating

CONVERSATIONS: Mapping[DialectName, Translating] = {each.NAME: each for each in (CHAT, RESPONSES, MESSAGES, GENERATE)}
"""Those that can be translated into each other."""
KNOWN: Mapping[DialectName, Dialect] = {**CONVERSATIONS, EMBEDDINGS.NAME: EMBEDDINGS}
