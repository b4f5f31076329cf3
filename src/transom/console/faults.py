"""Refusals as the admin API says them."""

import msgspec

from transom.dialects.errors import openai_error
from transom.errors import ConfigError, ConfigErrors, InvalidRequest, Refusal


class Place(msgspec.Struct, frozen=True):
    """One thing that is wrong in a declared file; line and column from 1."""

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None


class FilesRefused(InvalidRequest):
    """The declared files are not taken up; what ran before goes on. `problems` says where and why."""

    default_code = "config_refused"

    def __init__(self, error: ConfigError) -> None:
        found = error.problems if isinstance(error, ConfigErrors) else [error]
        self.problems = tuple(Place(each.what, each.file, each.line, each.column) for each in found)
        super().__init__(f"Not taken up; what ran before goes on. {error}")


def api_error(refusal: Refusal) -> bytes:
    """Return OpenAI's error object; where files were refused, with every place in `problems`."""
    body = openai_error(refusal, refusal.decision)
    if not isinstance(refusal, FilesRefused):
        return body
    error = msgspec.json.decode(body)
    error["error"]["problems"] = refusal.problems
    return msgspec.json.encode(error)
