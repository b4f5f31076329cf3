"""TLS is verified: chain, host and dates, with the system's certificate authorities or those that are named."""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.support.peer import OK, Listener, Peer, ok
from tests.upstreams.conftest import QUICK, Run

from transom.errors import ConfigError
from transom.upstreams.client import Upstream
from transom.upstreams.errors import UpstreamUnreachable
from transom.upstreams.settings import UpstreamSettings

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


class Authority:
    """A certificate authority of the test, which signs what it is asked to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority of a test")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(self.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - DAY)
            .not_valid_after(NOW + DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        self.file = folder / "authority.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, *, address: str = "127.0.0.1", until: dt.datetime = NOW + DAY) -> ssl.SSLContext:
        """A server's context with a certificate for `address`."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 3 * DAY)
            .not_valid_after(until)
            .add_extension(names, critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        pem = self.folder / "server.pem"
        pem.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_with_the_authority_named_it_works_and_the_connection_is_kept(run: Run, authority: Authority) -> None:
    spoken: list[str | None] = []

    async def script(peer: Peer) -> None:
        spoken.append(peer.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await ok(peer)

    async def work() -> None:
        async with Listener(script, authority.server()) as server:
            settings = UpstreamSettings(base_url=server.url, ca_file=str(authority.file), timeouts=QUICK)
            client = Upstream("wild", settings)
            for _ in range(3):
                assert await (await client.send(b"POST", b"/chat", b"{}")).read(10) == b"ok"
            assert server.accepted == 1
            await client.close()
            await server.until(lambda seen: seen.open == 0)

    run(work())
    assert spoken == ["http/1.1"]


def refused(run: Run, tls: ssl.SSLContext, *, ca_file: Path | None, match: str) -> None:
    async def work() -> None:
        async with Listener(ok, tls) as server:
            file = str(ca_file) if ca_file else None
            client = Upstream("wild", UpstreamSettings(base_url=server.url, ca_file=file, timeouts=QUICK))
            with pytest.raises(UpstreamUnreachable, match=match) as raised:
                await client.send(b"POST", b"/chat", b"{}")
            assert raised.value.never_sent
            assert server.requests == []
            assert client.connections == (0, 0, 0)
            await client.close()

    run(work())


def test_an_unknown_authority_is_refused(run: Run, authority: Authority) -> None:
    refused(run, authority.server(), ca_file=None, match="certificate of 127.0.0.1:.*ca_file")


def test_another_hosts_certificate_is_refused(run: Run, authority: Authority) -> None:
    refused(run, authority.server(address="127.0.0.2"), ca_file=authority.file, match="mismatch")


def test_an_expired_certificate_is_refused(run: Run, authority: Authority) -> None:
    refused(run, authority.server(until=NOW - DAY), ca_file=authority.file, match="expired")


def test_a_port_that_speaks_no_tls_is_named_as_that(run: Run) -> None:
    async def work() -> None:
        async def plain(peer: Peer) -> None:
            await peer.send(OK)

        async with Listener(plain) as server:
            url = server.url.replace("http://", "https://")
            client = Upstream("wild", UpstreamSettings(base_url=url, timeouts=QUICK))
            with pytest.raises(UpstreamUnreachable, match="speaks TLS"):
                await client.send(b"POST", b"/chat", b"{}")
            await client.close()

    run(work())


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_authority_file_that_cannot_be_used_stops_the_start(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=r"^upstreams\.wild\.ca_file: The file"):
        Upstream("wild", UpstreamSettings(base_url="https://x", ca_file=str(file)))


def test_another_authority_in_the_same_file_makes_another_client(authority: Authority) -> None:
    settings = UpstreamSettings(base_url="https://x", ca_file=str(authority.file))
    client = Upstream("wild", settings)
    assert client.is_current(settings)
    Authority(authority.folder)  # writes itself into the file
    assert not client.is_current(settings)
    assert Upstream("wild", settings).is_current(settings)
    authority.file.unlink()
    with pytest.raises(ConfigError, match=r"upstreams\.wild\.ca_file: .*No such file"):
        client.is_current(settings)
