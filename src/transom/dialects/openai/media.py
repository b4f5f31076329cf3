"""Pictures and files inside JSON as OpenAI writes them: data URLs (RFC 2397) in base64, or plain URLs."""

import base64
import binascii

from transom.dialects.middle import Document, Image, Unsayable
from transom.errors import InvalidRequest

_PLAIN = "text/plain"
_UNNAMED = {"application/pdf": "document.pdf", _PLAIN: "document.txt"}


def read_image(url: str, detail: str | None, path: str) -> Image:
    """Return the picture at `url`, which stands at `path` in the request. `auto` is what an unsaid `detail` means."""
    detail = None if detail == "auto" else detail
    if not _is_data(url):
        return Image(url=url, detail=detail)
    media_type, data = _read_data(url, path)
    return Image(media_type=media_type, data=data, detail=detail)


def image_url(image: Image, place: str) -> str:
    """Return the URL of a picture. Raises `Unsayable`, naming `place`, where it has none and says no media type."""
    if image.url is not None:
        return image.url
    if image.data is None or image.media_type is None:
        raise Unsayable(place, "a picture must say its media type")
    return _data_url(image.media_type, image.data)


def read_file(data: str, name: str | None, path: str) -> Document:
    """Return the file that is written out at `path`. Raises `InvalidRequest` where it is no data URL."""
    if not _is_data(data):
        raise _no_data_url(path)
    media_type, encoded = _read_data(data, path)
    if media_type != _PLAIN:
        return Document(media_type=media_type, data=encoded, name=name)
    try:
        return Document(media_type=_PLAIN, data=base64.b64decode(encoded, validate=True).decode(), name=name)
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"The file at `{path}` says that it is plain text, and is not text in UTF-8, in base64.", param=path
        ) from error


def file_data(document: Document, place: str) -> str:
    """Return a file as a data URL. Raises `Unsayable`, naming `place`, where its content or media type is not known."""
    if document.data is None:
        raise Unsayable(place, "a file must be sent itself here, not as a URL")
    if document.media_type is None:
        raise Unsayable(place, "a file must say its media type")
    data = document.data
    if document.media_type == _PLAIN:
        data = base64.b64encode(data.encode()).decode()
    return _data_url(document.media_type, data)


def file_name(document: Document) -> str:
    """Return the file's name, or one that says its type: OpenAI refuses files without a name."""
    return document.name or _UNNAMED.get(document.media_type or "", "document")


def _is_data(url: str) -> bool:
    return url[:5].lower() == "data:"


def _read_data(url: str, path: str) -> tuple[str, str]:
    head, comma, data = url[5:].partition(",")
    media_type, _, encoding = head.partition(";")
    if not media_type or not encoding.endswith("base64") or not comma:
        raise _no_data_url(path)
    return media_type, data


def _data_url(media_type: str, data: str) -> str:
    return f"data:{media_type};base64,{data}"


def _no_data_url(path: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{path}` must be a data URL that says its media type: `data:<media type>;base64,<content>`.", param=path
    )
