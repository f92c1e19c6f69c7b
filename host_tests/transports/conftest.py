"""Fixtures: certificates from a test authority, and mosquitto with a listener for each transport."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from host_tests.conftest import require_mosquitto
from tools import broker


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files, signed by the authority `ca`."""

    ca: str
    other_ca: str  # an authority that signed none of these certificates
    server: str  # certificate for localhost, broker.local and 127.0.0.1
    wrong_host: str  # certificate for another host name
    expired: str
    future: str  # certificate that is not yet valid
    client: str
    expired_client: str
    revoked_client: str  # its serial number is in `crl`
    foreign_client: str  # signed by `other_ca`
    chained_client: str  # two certificates: signed by an intermediate authority, which `ca` has signed
    crl: str  # certificate revocation list of `ca`


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder: Path = tmp_path_factory.mktemp("certificates")
    authority, other = trustme.CA(), trustme.CA()
    now = datetime.datetime.now(datetime.timezone.utc)
    year = datetime.timedelta(days=365)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    other.cert_pem.write_to_path(folder / "other_ca.pem")
    hosts = ("localhost", "broker.local", "127.0.0.1")
    certificates = {
        "server": authority.issue_cert(*hosts),
        "wrong_host": authority.issue_cert("elsewhere.example"),
        "expired": authority.issue_cert(*hosts, not_before=now - 2 * year, not_after=now - year),
        "future": authority.issue_cert(*hosts, not_before=now + year, not_after=now + 2 * year),
        "client": authority.issue_cert("device@example.org"),
        "expired_client": authority.issue_cert(
            "old@example.org", not_before=now - 2 * year, not_after=now - year
        ),
        "revoked_client": authority.issue_cert("stolen@example.org"),
        "foreign_client": other.issue_cert("stranger@example.org"),
        "chained_client": authority.create_child_ca().issue_cert("chained@example.org"),
    }
    for name, issued in certificates.items():
        issued.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
    revoke(authority, certificates["revoked_client"], folder / "crl.pem")
    names = ("ca", "other_ca", "crl", *certificates)
    return Certificates(**{name: str(folder / f"{name}.pem") for name in names})


def revoke(authority: trustme.CA, revoked: trustme.LeafCert, path: Path) -> None:
    """Write a certificate revocation list of `authority` that contains this certificate."""
    now = datetime.datetime.now(datetime.timezone.utc)
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    certificate = x509.load_pem_x509_certificate(revoked.cert_chain_pems[0].bytes())
    key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(now)
    revocation_list = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - datetime.timedelta(days=1))
        .next_update(now + datetime.timedelta(days=1))
        .add_revoked_certificate(entry.build())
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(revocation_list.public_bytes(serialization.Encoding.PEM))


def tls_lines(certificates: Certificates, server: str = "server") -> list[str]:
    path = getattr(certificates, server)
    return [f"certfile {path}", f"keyfile {path}"]


@pytest.fixture(scope="session")
def listeners(certificates: Certificates) -> Iterator[dict[str, broker.Address]]:
    """Run mosquitto; return its address by transport: tcp, tls, mutual (client certificates), ws, wss."""
    require_mosquitto()
    listener_options = {
        "tls": tls_lines(certificates),
        "mutual": [*tls_lines(certificates), f"cafile {certificates.ca}", "require_certificate true"],
        "ws": ["protocol websockets"],
        "wss": ["protocol websockets", *tls_lines(certificates)],
    }
    lines = ["set_tcp_nodelay true", "max_queued_messages 2000"]
    addresses = {}
    for kind, options in listener_options.items():
        addresses[kind] = broker.Address("127.0.0.1", broker.free_port())
        lines += [f"listener {addresses[kind].port} {addresses[kind].host}", *options]
    with broker.Mosquitto(*lines) as running:
        # mosquitto opens its WebSocket listeners after the TCP listener that `Mosquitto` waits for
        deadline = time.monotonic() + 20
        while not all(broker.is_reachable(address) for address in addresses.values()):
            assert time.monotonic() < deadline, "a listener of mosquitto does not open"
            time.sleep(0.05)
        yield {"tcp": running.address, **addresses}
