"""An identity provider that does as it is told: its keys, its documents, whether it answers at all."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from joserfc import jws
from joserfc.jwk import ECKey, Key, KeyParameters, RSAKey
from typing_extensions import override

AUDIENCE = "transom"


class Provider:
    """Serves discovery and keys, and signs tokens."""

    def __init__(self) -> None:
        self.keys: list[Key] = [rsa("first")]
        self.up = True
        self.asked: Counter[str] = Counter()
        self.documents: dict[str, Any] = {}
        """What is served in place of the documents that follow from the rest."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}/realm"

    @contextmanager
    def serving(self) -> Iterator["Provider"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def settings(self, more: str = "") -> str:
        """The end of a settings file that trusts it."""
        return f"""
[[oidc]]
issuer = "{self.issuer}"
audience = "{AUDIENCE}"
{more}
[oidc.groups]
staff = "developers"
heads = ["operators", "developers"]
learners = "students"
watch = "auditors"
look = "reviewers"
"""

    def claims(self, subject: str = "ada", *groups: str, **claims: object) -> dict[str, object]:
        """The claims of a good token; `None` leaves one out."""
        now = int(time.time())
        said = {"iss": self.issuer, "aud": AUDIENCE, "sub": subject, "exp": now + 600, "iat": now, "groups": groups}
        return {name: value for name, value in (said | claims).items() if value is not None}

    def token(self, subject: str = "ada", *groups: str, **claims: object) -> str:
        """A good token, but for what `claims` say otherwise."""
        return sign(self.claims(subject, *groups, **claims), self.keys[0])

    def _document(self, path: str) -> object:
        if path in self.documents:
            return self.documents[path]
        if path == "/realm/.well-known/openid-configuration":
            root = self.issuer
            return {
                "issuer": root,
                "jwks_uri": f"{root}/keys?of=all",
                "authorization_endpoint": f"{root}/authorize",
                "token_endpoint": f"{root}/token",
            }
        if path == "/realm/keys?of=all":
            return jwks(self.keys)
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                provider.asked[self.path] += 1
                document = provider._document(self.path) if provider.up else None
                body = json.dumps(document).encode()
                self.send_response(503 if not provider.up else 404 if document is None else 200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            @override
            def log_message(self, *_: object) -> None:
                """Nothing."""

        return Handler


def rsa(kid: str | None = None, **said: str) -> RSAKey:
    """A new RSA key."""
    parameters = cast("KeyParameters", {**({"kid": kid} if kid else {}), **said})
    return RSAKey.generate_key(2048, parameters, auto_kid=False)


def ec(kid: str | None = None, curve: str = "P-256") -> ECKey:
    """A new key on a curve."""
    return ECKey.generate_key(curve, {"kid": kid} if kid else None, auto_kid=False)


def jwks(keys: list[Key]) -> dict[str, object]:
    """The public halves."""
    return {"keys": [key.as_dict(private=False) for key in keys]}


def sign(claims: Mapping[str, object] | bytes, key: Key, algorithm: str = "RS256", **header: object) -> str:
    """A token of these claims; the header names the key, where it has a name."""
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    kid = key.as_dict().get("kid")
    head = {"alg": algorithm, **({"kid": kid} if kid else {}), **header}
    head = {name: value for name, value in head.items() if value is not None}
    return jws.serialize_compact(head, body, key, algorithms=[algorithm])
