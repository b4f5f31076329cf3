from pathlib import Path

import msgspec
import pytest

from transom.config.secrets import SecretRef
from transom.upstreams.settings import Address, UpstreamSettings, split_base_url


def test_defaults() -> None:
    found = msgspec.convert({"base_url": "https://api.example.com/v1"}, UpstreamSettings)
    assert (found.timeouts.connect, found.timeouts.first_byte) == (5, 60)
    assert (found.timeouts.between_chunks, found.timeouts.whole) == (60, 600)
    assert found.max_connections == 512
    assert (found.key, found.key_in, found.headers, found.query) == (None, "authorization", {}, {})
    assert found.speaks == ("openai-chat", "openai-embeddings")


def test_a_file_may_say_everything() -> None:
    found = msgspec.toml.decode(
        b"""
        base_url = "https://host.example/openai"
        key = { env = "AZURE_KEY" }
        key_header = "api-key"
        headers = { "x-a" = "b", "x-secret" = { file = "/run/secret" } }
        query = { "api-version" = "2026-01-01" }
        timeouts = { connect = 1, first_byte = 2.5 }
        max_connections = 3
        region = "EU"
        ca_file = "/etc/ca.pem"
        """,
        type=UpstreamSettings,
    )
    assert found.timeouts.connect == 1.0
    assert not isinstance(found.headers["x-secret"], str)
    assert found.headers["x-secret"].file == "/run/secret"
    assert found.files == (Path("/run/secret"), Path("/etc/ca.pem"))
    assert UpstreamSettings("https://x", key=SecretRef(file="/run/key")).files == (Path("/run/key"),)


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({}, "base_url"),
        ({"base_url": "https://x", "max_conections": 3}, "max_conections"),
        ({"base_url": "https://x", "timeouts": {"conect": 3}}, "conect"),
        ({"base_url": "https://x", "timeouts": {"connect": 0}}, "> 0"),
        ({"base_url": "https://x", "max_connections": 0}, ">= 1"),
        ({"base_url": "ftp://x"}, "begin with http"),
        ({"base_url": "api.example.com"}, "begin with http"),
        ({"base_url": "https://"}, "names no host"),
        ({"base_url": "https://x/?a=b"}, "query"),
        ({"base_url": "https://x/#a"}, "fragment"),
        ({"base_url": "https://x:99999"}, "ort"),
        ({"base_url": "https://x:0"}, "ort"),
        ({"base_url": "https://bücher.example"}, "punycode"),
        ({"base_url": "https://x/a b"}, "spaces"),
        ({"base_url": "https://x/a\r\nb: c"}, "spaces"),
    ],
)
def test_what_is_wrong_is_refused(said: dict[str, object], match: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=match):
        msgspec.convert(said, UpstreamSettings)


def test_a_password_in_the_address_is_refused_unseen() -> None:
    with pytest.raises(msgspec.ValidationError, match="user name or password") as raised:
        msgspec.convert({"base_url": "https://me:hunter2@x"}, UpstreamSettings)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example", Address(tls=True, host="a.example", port=443, authority="a.example", prefix="")),
        ("http://a.example:80/", Address(tls=False, host="a.example", port=80, authority="a.example", prefix="")),
        (
            "HTTPS://A.example:444/v1/",
            Address(tls=True, host="a.example", port=444, authority="a.example:444", prefix="/v1"),
        ),
        ("http://[::1]:8000/x/y", Address(tls=False, host="::1", port=8000, authority="[::1]:8000", prefix="/x/y")),
    ],
)
def test_an_address_taken_apart(url: str, expected: Address) -> None:
    assert split_base_url(url) == expected


@pytest.mark.parametrize(
    ("speaks", "header"),
    [("anthropic-messages", "x-api-key"), ("gemini-generate", "x-goog-api-key"), ("openai-responses", "authorization")],
)
def test_the_key_goes_where_the_vendor_looks_for_it(speaks: str, header: str) -> None:
    said = {"base_url": "https://x/v1", "speaks": [speaks]}
    assert msgspec.convert(said, UpstreamSettings).key_in == header
    assert msgspec.convert(said | {"key_header": "api-key"}, UpstreamSettings).key_in == "api-key"
    with pytest.raises(msgspec.ValidationError, match="speaks"):
        msgspec.convert(said | {"speaks": []}, UpstreamSettings)


def test_authorities_that_would_verify_nothing_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="ca_file is for https"):
        msgspec.convert({"base_url": "http://gpu:8000/v1", "ca_file": "/etc/ca.pem"}, UpstreamSettings)
