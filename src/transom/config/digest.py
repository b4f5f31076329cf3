"""The name of a declared set: the SHA-256 of its bytes."""

import hashlib

from transom.values import Digest


def digest(data: bytes) -> Digest:
    """Return `sha256:` and 64 lower-case hexadecimal digits: the SHA-256 (FIPS 180-4) of `data`."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())
