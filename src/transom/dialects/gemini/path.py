"""The paths of Gemini's API, where a model's name and what is asked of it stand."""

import re
from typing import Literal, TypeAlias, cast
from urllib.parse import parse_qs, quote

import msgspec

from transom.errors import InvalidRequest

Method: TypeAlias = Literal["generateContent", "streamGenerateContent", "countTokens"]

_PATH = re.compile(
    r"/v1(?:alpha|beta)?/(models/|tunedModels/)(.+):(generateContent|streamGenerateContent|countTokens)", re.DOTALL
)


class Called(msgspec.Struct, frozen=True):
    """What a path asks for. `sse`: a stream is wanted as server-sent events, not as one array."""

    model: str
    method: Method
    sse: bool


def read_path(path: str, query: str) -> Called | None:
    """Read a path, percent escapes resolved, and what follows its `?`; `None` where it is none of Gemini's."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    kind, name, method = found.groups()
    model = name if kind == "models/" else kind + name
    return Called(model, cast("Method", method), parse_qs(query).get("alt", [""])[-1] == "sse")


def resource(model: str) -> str:
    """Return a model's name as Google writes it: with its collection before it."""
    return model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"


def write_path(model: str, method: Method) -> bytes:
    """Return the path below an upstream's base URL, which ends with the version."""
    return f"/{quote(resource(model), safe='/@')}:{method}".encode()


def check_model(said: str | None, model: str, field: str) -> None:
    """Raise `InvalidRequest` where the body names another model than the path: policy ruled on the path's."""
    if said is not None and resource(said) != resource(model):
        raise InvalidRequest(f"The path asks for `{model}` and `{field}` for another model. Leave it out.", param=field)
