"""Fixtures: certificates from a test authority, and mosquitto with a listener for each transport."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from host_tests.conftest import NO_MOSQUITTO
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


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder: Path = tmp_path_factory.mktemp("certificates")
    authority, other = trustme.CA(), trustme.CA()
    now = datetime.datetime.now(datetime.timezone.utc)
    year = datetime.timedelta(days=365)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    other.cert_pem.write_to_path(folder / "other_ca.pem")
    names = ("localhost", "broker.local", "127.0.0.1")
    certificates = {
        "server": authority.issue_cert(*names),
        "wrong_host": authority.issue_cert("elsewhere.example"),
        "expired": authority.issue_cert(*names, not_before=now - 2 * year, not_after=now - year),
        "future": authority.issue_cert(*names, not_before=now + year, not_after=now + 2 * year),
        "client": authority.issue_cert("device@example.org"),
    }
    for name, issued in certificates.items():
        issued.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
    paths = {name: str(folder / f"{name}.pem") for name in certificates}
    return Certificates(ca=str(folder / "ca.pem"), other_ca=str(folder / "other_ca.pem"), **paths)


def tls_lines(certificates: Certificates, server: str = "server") -> list[str]:
    path = getattr(certificates, server)
    return [f"certfile {path}", f"keyfile {path}"]


@pytest.fixture(scope="session")
def listeners(certificates: Certificates) -> Iterator[dict[str, broker.Address]]:
    """Run mosquitto; return its address by transport: tcp, tls, mutual (client certificates), ws, wss."""
    if not broker.find_mosquitto():
        pytest.skip(NO_MOSQUITTO)
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
