"""What is read of a request before anybody is identified: bounded in size and time."""

import asyncio
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import FormData
from starlette.requests import ClientDisconnect, Request

from transom.errors import BodyTimeout, BodyTooLarge
from transom.gateway.request import ClientGoneError

_MAX_BODY: Final = 64 * 1024
_BODY_SECONDS: Final = 10.0


def secrets(request: Request) -> frozenset[bytes]:
    """Return the bearer tokens (RFC 6750 section 2.1): one, if all is well."""
    sent = (value.partition(" ") for value in request.headers.getlist("authorization"))
    return frozenset(
        token.strip().encode() for scheme, _, token in sent if scheme.lower() == "bearer" and token.strip()
    )


def peer(request: Request) -> str | None:
    """Return the address at the connection's other end. Behind a proxy it is the proxy's."""
    return None if request.client is None else request.client.host


def same_origin(request: Request) -> bool:
    """Say whether a page of ours sent it.

    Sec-Fetch-Site is the browser's word, which no page can set; it is sent to https and to this machine only (Fetch
    Metadata, section 2.3). Elsewhere Origin has to name the host that was asked.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return urlsplit(request.headers.get("origin", "")).netloc == request.headers.get("host")


async def body(request: Request) -> bytes:
    """Return the whole body. Raises `BodyTooLarge`, `BodyTimeout`, and `ClientGoneError`."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > _MAX_BODY:
                    raise BodyTooLarge(f"The body is longer than {_MAX_BODY} bytes. Send less.")
                parts.append(part)
    except TimeoutError:
        raise BodyTimeout(f"The body did not arrive within {_BODY_SECONDS:g} s.") from None
    except ClientDisconnect:
        raise ClientGoneError from None
    return b"".join(parts)


async def form(request: Request) -> FormData:
    """Read a form (WHATWG URL, application/x-www-form-urlencoded). Raises like `body`."""
    fields = (await body(request)).decode("utf-8", "replace")
    return FormData([*parse_qsl(fields, keep_blank_values=True)])
