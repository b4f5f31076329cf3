"""Tokens: which are taken for their provider's word, and which are not."""

import base64
import hmac
import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import Key, RSAKey
from tests.support.provider import ec, jwks, rsa, sign

from transom.callers.oidc import (
    MAX_TOKEN,
    Identity,
    Keys,
    TokenError,
    TokenExpiredError,
    UnknownKeyError,
    caller_id,
    issuer_of,
    looks_like_token,
    read_keys,
    verify,
)
from transom.callers.settings import OidcSettings

NOW = 1_800_000_000
ISSUER = "https://id.example/realm"
RSA, EC, OTHER = rsa("r"), ec("e"), rsa("r")
SETTINGS = OidcSettings(
    issuer=ISSUER, audience="transom", groups={"staff": "developers", "heads": ("operators", "developers")}
)
GOOD = {"iss": ISSUER, "aud": "transom", "sub": "ada", "exp": NOW + 60, "nbf": NOW - 5, "groups": ["staff", "else"]}


def keys_of(*keys: Key) -> Keys:
    return read_keys(json.dumps(jwks(list(keys))).encode())


KEYS = keys_of(RSA, EC)


def checked(token: str, *, settings: OidcSettings = SETTINGS, keys: Keys = KEYS, now: float = NOW) -> Identity:
    return verify(token.encode(), settings, keys, now)


def changed(**claims: object) -> dict[str, object]:
    return {name: value for name, value in {**GOOD, **claims}.items() if value is not None}


def unsigned(header: object, claims: object, signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256")])
def test_a_good_token_says_who_asks(key: Key, algorithm: str) -> None:
    found = checked(sign(GOOD, key, algorithm))
    assert found == Identity(ISSUER, "ada", "ada", ("staff",), NOW + 90)
    assert SETTINGS.ours(found.groups) == ("developers",)
    assert found.caller == caller_id(ISSUER, "ada")


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        (changed(iss="https://other.example"), "another issuer"),
        (changed(iss=ISSUER + "/"), "another issuer"),
        (changed(iss=None), "not the JSON"),
        (changed(iss=7), "not the JSON"),
        (changed(aud="another"), "audience"),
        (changed(aud=["another", "transom2"]), "audience"),
        (changed(aud=[]), "audience"),
        (changed(aud=None), "not the JSON"),
        (changed(aud=["transom", 7]), "not the JSON"),
        (changed(aud={"transom": 1}), "not the JSON"),
        (changed(exp=None), "not the JSON"),
        (changed(exp="9999999999"), "not the JSON"),
        (changed(exp=True), "not the JSON"),
        (changed(nbf="0"), "not the JSON"),
        (changed(nbf=NOW + 31), "not valid yet"),
        (changed(sub=None), "names no subject"),
        (changed(sub=""), "names no subject"),
        (changed(sub=7), "names no subject"),
        (changed(sub=["ada"]), "names no subject"),
        (changed(sub="a" * 256), "names no subject"),
        (changed(groups=7), "not a list of groups"),
        (changed(groups=["staff", 7]), "not a list of groups"),
        (changed(groups={"staff": True}), "not a list of groups"),
        (b"[]", "not the JSON"),
        (b"{", "not the JSON"),
        (b"\xff\xfe", "not the JSON"),
        (b'{"iss": "x", "exp": 1e999}', "not the JSON"),
        (b"[" * 9000, "not the JSON"),
    ],
)
def test_a_signed_token_that_says_the_wrong_thing_is_not_taken(claims: dict[str, object] | bytes, says: str) -> None:
    with pytest.raises(TokenError, match=says) as caught:
        checked(sign(claims, RSA))
    assert caught.value.reason == "bad token"


@pytest.mark.parametrize(("at", "good"), [(-31, True), (89, True), (90, False), (10_000, False)])
def test_a_token_ends_with_its_time_and_the_leeway(at: int, good: bool) -> None:
    token = sign(changed(nbf=None), RSA)
    if good:
        assert checked(token, now=NOW + at).subject == "ada"
    else:
        with pytest.raises(TokenExpiredError):
            checked(token, now=NOW + at)


def confused() -> str:
    """A token whose HMAC's secret is the provider's public key, which everybody has."""
    signing = unsigned({"alg": "HS256", "kid": "r"}, GOOD).removesuffix(".")
    mac = hmac.digest(RSA.as_pem(private=False), signing.encode(), "sha256")
    return f"{signing}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@pytest.mark.parametrize(
    ("token", "says"),
    [
        (unsigned({"alg": "none"}, GOOD), "not allowed"),
        (unsigned({"alg": "None", "kid": "r"}, GOOD), "not allowed"),
        (unsigned({"alg": "none", "kid": "r"}, GOOD, b"x" * 256), "not allowed"),
        (unsigned({"kid": "r"}, GOOD, b"x"), "not the JSON"),
        (unsigned({"alg": ["RS256"], "kid": "r"}, GOOD, b"x"), "not the JSON"),
        (unsigned({"alg": "RS256", "kid": 7}, GOOD, b"x"), "not the JSON"),
        (unsigned([], GOOD, b"x"), "not the JSON"),
        (unsigned({"alg": "RS256", "kid": "r"}, GOOD), "its signature"),
        (unsigned({"alg": "RS256", "kid": "r"}, GOOD, b"x" * 256), "its signature"),
        (confused(), "not allowed"),
        # Another's key under the name of the provider's.
        (sign(GOOD, OTHER), "its signature"),
        # A good key, and not one for this kind of signature.
        (sign(GOOD, RSA, "RS256").replace(".", "!", 1), "three parts"),
        (unsigned({"alg": "ES256", "kid": "r"}, GOOD, b"x" * 64), "its signature"),
        (unsigned({"alg": "RS256", "kid": "e"}, GOOD, b"x" * 256), "its signature"),
        (sign(GOOD, RSA, "PS256"), "not allowed"),
        (sign(GOOD, RSA, crit=["b64"], b64=True), "crit"),
        # A key of the token's own choosing.
        (sign(GOOD, OTHER, kid="r", jwk=OTHER.as_dict(private=False)), "its signature"),
        (sign(GOOD, OTHER, kid="r", jku="https://evil.example/keys"), "its signature"),
        ("a" * (MAX_TOKEN - 3) + ".b.c", "longer than"),
        ("a.b.c.d", "three parts"),
        ("..", "three parts"),
        ("a b.c.d", "three parts"),
    ],
)
def test_what_the_provider_did_not_sign_is_not_taken(token: str, says: str) -> None:
    with pytest.raises(TokenError, match=says):
        checked(token)


def test_a_key_that_is_not_shown_may_be_among_newer_ones() -> None:
    with pytest.raises(UnknownKeyError):
        checked(sign(GOOD, rsa("new")))


def test_a_token_without_a_keys_name_is_tried_with_those_that_fit() -> None:
    nameless = rsa()
    assert checked(sign(GOOD, nameless), keys=keys_of(EC, RSA, nameless)).subject == "ada"
    assert checked(sign(GOOD, RSA, kid=None)).subject == "ada"
    with pytest.raises(TokenError, match="its signature"):
        checked(sign(GOOD, nameless))


def test_a_key_for_another_algorithm_or_use_verifies_nothing() -> None:
    allowed = OidcSettings(issuer=ISSUER, audience="transom", algorithms=("RS256", "PS256"))
    bound = rsa("b", alg="PS256")
    assert checked(sign(GOOD, bound, "PS256"), settings=allowed, keys=keys_of(bound)).subject == "ada"
    free = RSAKey.import_key({name: value for name, value in bound.as_dict(private=True).items() if name != "alg"})
    with pytest.raises(TokenError, match="its signature"):
        checked(sign(GOOD, free, "RS256"), settings=allowed, keys=keys_of(bound))
    assert len(keys_of(RSA, rsa("enc", use="enc"))) == 1


def test_keys_that_are_too_weak_shared_or_strange_are_left_out() -> None:
    strange = [{"kty": "oct", "k": "c2VjcmV0"}, {"kty": "XYZ"}, {"kty": "RSA", "n": "!", "e": "AQAB"}, {}, 7, None]
    numbers = generate_private_key(65537, 1024).public_key().public_numbers()
    modulus = base64.urlsafe_b64encode(numbers.n.to_bytes(128, "big")).rstrip(b"=").decode()
    weak = {"kty": "RSA", "kid": "weak", "n": modulus, "e": "AQAB"}
    document = {"keys": [*strange, weak, RSA.as_dict(private=False)]}
    assert [key.id for key in read_keys(json.dumps(document).encode())] == ["r"]
    broken: object
    for broken in ({"keys": [weak, *strange]}, {"keys": []}, {"keys": 7}, {}, [], "x"):
        with pytest.raises(ValueError, match=r"is no JWK set|is none that verifies"):
            read_keys(json.dumps(broken).encode())
    with pytest.raises(ValueError, match="is no JWK set"):
        read_keys(b"\xff")


@pytest.mark.parametrize(
    ("path", "claims", "groups"),
    [
        ("groups", {}, ("developers",)),
        ("groups", {"groups": "heads"}, ("developers", "operators")),
        ("groups", {"groups": None}, ()),
        ("roles", {}, ()),
        ("realm_access.roles", {"realm_access": {"roles": ["staff"]}}, ("developers",)),
        ("realm_access.roles", {"realm_access": "staff"}, ()),
        ("https://example/groups", {"https://example/groups": ["heads"]}, ("developers", "operators")),
    ],
)
def test_groups_are_what_the_settings_make_of_them(
    path: str, claims: dict[str, object], groups: tuple[str, ...]
) -> None:
    settings = OidcSettings(issuer=ISSUER, audience="transom", groups=SETTINGS.groups, groups_claim=path)
    assert settings.ours(checked(sign(changed(**claims), RSA), settings=settings).groups) == groups


@pytest.mark.parametrize(
    ("name", "shown"), [("Ada Byron", "Ada Byron"), ("x" * 70, "x" * 64), (7, "ada"), ("", "ada"), ("a\nb", "ada")]
)
def test_a_name_is_shown_where_it_can_be(name: object, shown: str) -> None:
    assert checked(sign(changed(name=name), RSA)).name == shown


def test_a_sign_ins_token_is_for_the_client_that_asked() -> None:
    token = sign(changed(aud="pages", nonce="n"), RSA).encode()
    assert verify(token, SETTINGS, KEYS, NOW, audience="pages").nonce == "n"
    stranger = sign(changed(aud=["pages", "x"], azp="x"), RSA).encode()
    with pytest.raises(TokenError, match="another party"):
        verify(stranger, SETTINGS, KEYS, NOW, audience="pages")


def test_two_subjects_and_two_issuers_are_never_one_caller() -> None:
    ids = {caller_id(*pair) for pair in (("a", "bc"), ("ab", "c"), ("a", "b"), ('a","b', "c"))}
    assert len(ids) == 4
    assert all(id_.startswith("oidc:") and len(id_) == 37 for id_ in ids)


def mutated(data: st.DataObject) -> str:
    token = sign(GOOD, EC, "ES256")
    at = data.draw(st.integers(0, len(token) - 1))
    return token[:at] + data.draw(st.sampled_from("ABCxyz019-_.")) + token[at + 1 :]


@given(st.data())
def test_a_token_that_is_altered_anywhere_is_not_taken(data: st.DataObject) -> None:
    token = mutated(data)
    head, body, signature = sign(GOOD, EC, "ES256").split(".")
    try:
        found = checked(token)
    except TokenError:
        return
    # The same bytes spelt otherwise (the last letter of a part holds bits that say nothing) are the same token.
    assert found.subject == "ada"
    pads: Callable[[str], bytes] = lambda part: base64.urlsafe_b64decode(part + "==")  # noqa: E731
    assert [pads(part) for part in token.split(".")[:2]] == [pads(head), pads(body)]
    assert signature


@given(st.binary(max_size=80))
def test_anything_else_is_no_token_and_no_crash(data: bytes) -> None:
    with pytest.raises(TokenError):
        issuer_of(data)
    assert looks_like_token(data) == (data.count(b".") == 2)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"issuer": "http://id.example"}, "https://"),
        ({"issuer": "https://user@id.example"}, "https://"),
        ({"issuer": "id.example"}, "https://"),
        ({"groups": {"x": "No Group"}}, "lower-case"),
        ({"client_id": "c"}, "belong together"),
        ({"scopes": ("profile",)}, "openid"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        OidcSettings(**{"issuer": ISSUER, "audience": "transom", **settings})  # type: ignore[arg-type]


def test_an_issuer_on_this_machine_may_speak_plain_http() -> None:
    for issuer in ("http://127.0.0.1:9/x", "http://localhost", "http://[::1]:9"):
        assert OidcSettings(issuer=issuer, audience="a").issuer == issuer
