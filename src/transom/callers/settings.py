"""What a file may say about identity providers."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field

from transom.callers.groups import is_group
from transom.config.secrets import SecretRef

Algorithm: TypeAlias = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""Signatures with a key pair (RFC 7518 section 3.1). No shared secret (`HS256`) and never `none`."""
_HERE = ("127.0.0.1", "localhost", "::1")


class OidcSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One OpenID Connect provider, whose tokens say who asks."""

    issuer: str
    """Exactly as the provider's tokens say it in `iss`; its discovery document is found from it."""
    audience: str
    """What `aud` must hold: this door's name at the provider."""
    groups: dict[str, str | tuple[str, ...]] = field(default_factory=dict)
    """The provider's groups, and ours that each means. A group that is not named here means nothing."""
    groups_claim: str = "groups"
    """The claim that holds the groups; dots lead into objects (`realm_access.roles`)."""
    subject_claim: str = "sub"
    name_claim: str = "name"
    """The claim that people are shown in place of the subject, if the token has it."""
    algorithms: Annotated[tuple[Algorithm, ...], Meta(min_length=1)] = ("RS256", "ES256")
    jwks_seconds: Annotated[float, Meta(gt=0)] = 60.0
    """How old the provider's keys may be, and how often at most they are fetched again for a key that is not known."""
    leeway_seconds: Annotated[int, Meta(ge=0, le=300)] = 30
    """How far its clock and ours may differ."""
    client_id: str | None = None
    """This door's name where people sign in to the pages; nobody can by this provider where it is left out."""
    client_secret: SecretRef | None = None
    scopes: tuple[str, ...] = ("openid", "profile")
    """What is asked for at sign-in; many providers want one more for groups."""
    label: str = ""
    """What the sign-in page calls the provider; its host where it is left out."""
    ca_file: str | None = None
    """PEM file of the certificate authorities to trust instead of the system's."""

    def __post_init__(self) -> None:
        """Raise `ValueError`, which msgspec reports with the place in the file, for what cannot be meant."""
        check_address(self.issuer, "issuer")
        for ours in self.ours(self.groups):
            if not is_group(ours):
                raise ValueError(f"groups leads to {ours!r}: write lower-case letters, digits and dashes")
        if (self.client_id is None) != (self.client_secret is None):
            raise ValueError("client_id and client_secret belong together: give both, or neither")
        if "openid" not in self.scopes:
            raise ValueError('scopes must hold "openid", without which a provider gives no identity')

    def ours(self, theirs: "list[str] | tuple[str, ...] | dict[str, str | tuple[str, ...]]") -> tuple[str, ...]:
        """Return our groups that the provider's mean, in order."""
        found: set[str] = set()
        for name in theirs:
            meant = self.groups.get(name, ())
            found.update((meant,) if isinstance(meant, str) else meant)
        return tuple(sorted(found))

    @property
    def host(self) -> str:
        """The provider's host."""
        return urlsplit(self.issuer).hostname or ""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files whose content matters besides these settings."""
        secret = None if self.client_secret is None else self.client_secret.path
        ca_file = None if self.ca_file is None else Path(self.ca_file)
        return tuple(path for path in (secret, ca_file) if path is not None)


def check_address(url: str, what: str) -> None:
    """Raise `ValueError` where a provider's address is not https, or http on this machine."""
    parts = urlsplit(url)
    secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HERE)
    if not secure or not parts.hostname or "@" in parts.netloc or parts.fragment or not url.isascii() or " " in url:
        raise ValueError(f"{what} must be an https:// address (http:// only on this machine), without user or fragment")
