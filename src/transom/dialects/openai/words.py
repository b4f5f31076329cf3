"""What OpenAI and those who speak like it say when something went wrong."""

import msgspec

_LONGEST = 500


class _Error(msgspec.Struct):
    message: str | None = None


class _Body(msgspec.Struct):
    error: _Error | str | None = None
    message: str | None = None
    detail: str | None = None


_bodies = msgspec.json.Decoder(_Body)


def read_error(body: bytes) -> str | None:
    """Return an error's own words, at most 500 characters: `error.message`, or `error`, `message` or `detail`.

    The last three are how servers that speak like OpenAI say it (llama.cpp, older vLLM, FastAPI).
    """
    try:
        said = _bodies.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    error = said.error.message if isinstance(said.error, _Error) else said.error
    words = error or said.message or said.detail
    return words[:_LONGEST] if words else None
