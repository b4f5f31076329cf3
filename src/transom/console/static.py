"""The pages' own files: one style sheet, one script, one mark. Read once; named by their digest, so kept for good."""

import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Final

from starlette.responses import Response

from transom.console.site import Visit
from transom.errors import NotFound

_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FILES: Final[Mapping[str, bytes]] = {
    file.name: file.read_bytes()
    for file in resources.files("transom.console").joinpath("static").iterdir()
    if file.name.rpartition(".")[2] in _TYPES
}
_DIGESTS: Final = {name: hashlib.sha256(data).hexdigest()[:16] for name, data in _FILES.items()}


def url(name: str) -> str:
    """Return the address of a file as it is now."""
    return f"/static/{name}?v={_DIGESTS[name]}"


async def serve(visit: Visit) -> Response:
    """Serve one of the files."""
    name = visit.request.path_params["name"]
    if name not in _FILES:
        raise NotFound("There is no such file.")
    kept = visit.request.query_params.get("v") == _DIGESTS[name]
    headers = {"cache-control": "public, max-age=31536000, immutable" if kept else "no-cache"}
    return Response(_FILES[name], headers=headers, media_type=_TYPES[name.rpartition(".")[2]])
