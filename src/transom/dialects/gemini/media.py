"""Pictures, sound and files: `inlineData` and `fileData`. What Gemini has one word for is told apart by media type."""

import base64
import binascii
import mimetypes
import re

from transom.dialects.gemini.signature import standard
from transom.dialects.gemini.wire import Object
from transom.dialects.middle import Audio, Document, Image, Unsayable
from transom.errors import InvalidRequest

Medium = Image | Audio | Document

_PLAIN = "text/plain"
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_LEVELS = {"low": "MEDIA_RESOLUTION_LOW", "high": "MEDIA_RESOLUTION_HIGH"}
_DETAILS = {level: detail for detail, level in _LEVELS.items()}


def read_inline(blob: Object) -> Medium:
    """Read `inlineData`. Raises `InvalidRequest`."""
    media_type = blob.need("mimeType", blob.text("mimeType"))
    name, data = _display_name(blob, media_type), standard(blob.text("data") or "")
    blob.done()
    if not _BASE64.fullmatch(data) or len(data) % 4:
        raise InvalidRequest(f"`{blob.at('data')}` is not base64.", param=blob.at("data"))
    try:
        return medium(media_type, data, name)
    except ValueError as error:
        raise InvalidRequest(f"`{blob.at('data')}` is not text in UTF-8.", param=blob.at("data")) from error


def medium(media_type: str, data: str, name: str | None = None) -> Medium:
    """Return what `data` (base64 as `standard` gives it) is. Raises `ValueError` where plain text is none."""
    if media_type.startswith("image/"):
        return Image(media_type=media_type, data=data)
    if media_type.startswith("audio/"):
        return Audio(media_type=media_type, data=data)
    if media_type == _PLAIN:
        try:
            data = base64.b64decode(data).decode()
        except binascii.Error as error:
            raise ValueError(str(error)) from error
    return Document(media_type=media_type, data=data, name=name)


def read_file(file: Object) -> Image | Document:
    """Read `fileData`. Raises `InvalidRequest`."""
    media_type, url = file.text("mimeType"), file.need("fileUri", file.text("fileUri"))
    name = _display_name(file, media_type or "")
    file.done()
    if media_type is not None and media_type.startswith("image/"):
        return Image(media_type=media_type, url=url)
    return Document(media_type=media_type, url=url, name=name)


def _display_name(said: Object, media_type: str) -> str | None:
    """Take the name, which to others only files have."""
    if media_type.startswith(("image/", "audio/")):
        said.hint("displayName")
    return said.text("displayName")


def read_detail(part: Object, medium: Medium) -> Medium:
    """Read `mediaResolution`, which stands beside the medium. What only Gemini's models tell apart is a hint."""
    resolution = part.object("mediaResolution")
    if resolution is None:
        return medium
    path = resolution.at("level")
    level = resolution.text("level")
    resolution.hint("numTokens")
    resolution.done()
    detail = _DETAILS.get(level or "")
    if detail is not None and isinstance(medium, Image):
        return Image(medium.media_type, medium.data, medium.url, detail)
    if level not in (None, "MEDIA_RESOLUTION_UNSPECIFIED"):
        part.hints.append(path)
    return medium


def write_medium(medium: Medium, field: str) -> dict[str, object]:
    """Say a picture, sound or file as a part. `field` is where it stands in the middle form. Raises `Unsayable`."""
    said: dict[str, object]
    if medium.data is not None:
        if medium.media_type is None:
            raise Unsayable(field, "Gemini must be told the media type of what it is sent")
        plain = medium.media_type == _PLAIN and isinstance(medium, Document)
        data = base64.b64encode(medium.data.encode()).decode() if plain else medium.data
        said = {"inlineData": {"mimeType": medium.media_type, "data": data} | _name(medium)}
    elif not isinstance(medium, Audio) and medium.url is not None:
        said = {"fileData": _media_type(medium) | {"fileUri": medium.url} | _name(medium)}
    else:
        raise Unsayable(field, "it has neither data nor a URL")
    if isinstance(medium, Image) and medium.detail not in (None, "auto"):
        if medium.detail not in _LEVELS:
            raise Unsayable(f"{field}.detail", "Gemini knows the details `low` and `high`")
        said["mediaResolution"] = {"level": _LEVELS[medium.detail]}
    return said


def _media_type(medium: Image | Document) -> dict[str, str]:
    said = medium.media_type or mimetypes.guess_type((medium.url or "").partition("?")[0])[0]
    return {} if said is None else {"mimeType": said}


def _name(medium: Medium) -> dict[str, str]:
    return {"displayName": medium.name} if isinstance(medium, Document) and medium.name is not None else {}
