"""Headers of every page, and what of them depends on the request."""

from typing import Final

from starlette.requests import Request

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not `no-referrer`: under that, browsers send `Origin: null` with our own forms, and we could not tell them from
    # others' (Fetch, "append a request `Origin` header"). No other site ever learns an address of ours from this.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Nothing but our own files may run, be shown or be asked; nobody may frame us; nothing is kept."""


def is_https(request: Request) -> bool:
    """Say whether the browser came by https, here or at a proxy before us.

    Whoever forges the header gets a cookie that their own browser keeps from them.
    """
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
