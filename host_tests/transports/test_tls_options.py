"""Pre-shared keys and certificate chains with a real mosquitto; ALPN with a scripted server."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import umqtt5.tls
from host_tests.conftest import require_mosquitto
from host_tests.transports.conftest import Certificates, tls_lines
from host_tests.transports.run_scenario import on_each_interpreter, run_scenario
from host_tests.transports.test_tls_refusals import connection_errors
from tools import broker

KEY = "00112233445566778899aabbccddeeff"


def find_python_with_psk() -> str | None:
    """Return the path of a Python whose `ssl` has pre-shared keys (3.13 and newer), None if there is none."""
    found = [shutil.which("python3.13"), shutil.which("python3.14"), "python3"]
    pyenv = sorted(Path.home().glob(".pyenv/versions/3.1[3-9]*/bin/python"))
    for path in (sys.executable, *found, *[str(path) for path in pyenv]):
        code = "import ssl; assert ssl.HAS_PSK"
        if path and subprocess.run([path, "-c", code], capture_output=True).returncode == 0:
            return path
    return None


@pytest.fixture(scope="module", params=["vm", "cpython"])
def psk_interpreter(request: pytest.FixtureRequest) -> str:
    if request.param == "vm":
        return "vm"
    path = find_python_with_psk()
    if not path:
        pytest.skip("no Python 3.13 or newer, whose ssl has pre-shared keys")
    return path


@pytest.fixture(scope="module")
def psk_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[broker.Address]:
    require_mosquitto()
    path = tmp_path_factory.mktemp("psk") / "psk_file"
    path.write_text(f"panel:{KEY}\n")
    path.chmod(0o644)
    with broker.Mosquitto(f"psk_file {path}", "psk_hint broker") as running:
        yield running.address


def test_messages_arrive_over_a_connection_with_a_pre_shared_key(
    psk_interpreter: str, psk_broker: broker.Address
) -> None:
    run_scenario(
        psk_interpreter,
        "messages_of_every_size_both_ways",
        psk_broker,
        kind="tls",
        psk=KEY,
        psk_identity="panel",
        sizes=(0, 100, 17000),
    )


@pytest.mark.parametrize(("identity", "key"), [("nobody", KEY), ("panel", "ff" * 16)])
def test_a_wrong_pre_shared_key_is_a_permanent_error(
    identity: str, key: str, psk_interpreter: str, psk_broker: broker.Address
) -> None:
    errors, permanent = connection_errors(psk_interpreter, psk_broker, psk=key, psk_identity=identity)
    assert all("psk_file of the broker" in error for error in errors), errors
    assert permanent == [False, False, True]


def test_a_client_with_a_pre_shared_key_accepts_no_broker_without_it(
    psk_interpreter: str, certificates: Certificates
) -> None:
    with broker.Mosquitto(*tls_lines(certificates)) as running:
        errors, _ = connection_errors(psk_interpreter, running.address, psk=KEY, psk_identity="panel")
    assert all("refuses the connection" in error for error in errors), errors


def test_a_message_over_a_pre_shared_key_allocates_no_more_than_over_tcp(
    listeners: dict[str, broker.Address], psk_broker: broker.Address
) -> None:
    outputs = [
        run_scenario("vm", "measure_allocations", listeners["tcp"], kind="tcp"),
        run_scenario("vm", "measure_allocations", psk_broker, kind="tls", psk=KEY, psk_identity="panel"),
    ]
    found = [re.findall(r"^bytes (\d+)$", output, re.MULTILINE) for output in outputs]
    assert found[0] == found[1] and found[0]


@on_each_interpreter
def test_a_client_certificate_is_sent_with_its_intermediate_authorities(
    interpreter: str, certificates: Certificates, tmp_path: Path
) -> None:
    """The broker knows the root authority only."""
    lines = [*tls_lines(certificates), f"cafile {certificates.ca}", "require_certificate true"]
    chain = Path(certificates.chained_client).read_text()
    end = "-----END CERTIFICATE-----\n"
    assert chain.count(end) == 2
    leaf = tmp_path / "leaf.pem"
    leaf.write_text(chain[: chain.index(end) + len(end)])
    with broker.Mosquitto(*lines) as running:
        settings = {"kind": "tls", "ca": certificates.ca, "cert": certificates.chained_client}
        try:
            output = run_scenario(interpreter, "connection_errors", running.address, **settings)
            assert "connected" in output
        except AssertionError as error:
            # only MicroPython that was built after July 2026 reads PEM
            assert interpreter == "vm" and "cert or key: this firmware reads no PEM" in str(error)
        errors, permanent = connection_errors(
            interpreter, running.address, ca=certificates.ca, cert=str(leaf)
        )
    assert all("the broker refuses" in error for error in errors) and permanent[2]


def test_alpn_is_offered_to_the_broker(certificates: Certificates) -> None:
    """AWS IoT Core needs this at port 443."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(30)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server)
    context.set_alpn_protocols(["x-amzn-mqtt-ca"])
    made = umqtt5.tls.context(ca=certificates.ca, alpn="x-amzn-mqtt-ca")
    with socket.create_connection(listener.getsockname()) as client, listener.accept()[0] as server:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        speaker = made.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            speaker.do_handshake()
        client.sendall(outgoing.read())
        server.settimeout(30)
        wrapped = context.wrap_socket(server, server_side=True, do_handshake_on_connect=False)
        wrapped.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            wrapped.do_handshake()
        assert wrapped.selected_alpn_protocol() == "x-amzn-mqtt-ca"
        wrapped.close()
    listener.close()


def test_a_port_without_alpn_says_so(
    certificates: Certificates, listeners: dict[str, broker.Address]
) -> None:
    with pytest.raises(AssertionError, match="alpn: the ssl module of this port has no ALPN"):
        run_scenario(
            "vm", "connection_errors", listeners["tls"], kind="tls", ca=certificates.ca, alpn="x-amzn-mqtt-ca"
        )


@on_each_interpreter
def test_ssl_params_of_umqtt5_simple_are_used(interpreter: str, certificates: Certificates) -> None:
    """The broker's certificate is for elsewhere.example; the broker requires a client certificate."""
    required = int(ssl.CERT_REQUIRED)
    both = {"certfile": certificates.client, "keyfile": certificates.client}
    verified = {"ca_certs": certificates.ca, "cert_reqs": required, "server_hostname": "elsewhere.example"}
    outcomes: list[tuple[dict[str, object], str]] = [
        ({**both, **verified}, "connected"),
        ({"cert": certificates.client, **verified}, "connected"),
        ({**both, "server_hostname": "elsewhere.example"}, "is not authenticated.*connected"),
        ({**both, **verified, "ca_certs": certificates.other_ca}, "Pass the certificate of the authority"),
        ({**both, **verified, "server_hostname": "other.example"}, "The name was other.example"),
        ({**both, "cadata": certificates.ca}, "The name was 127.0.0.1"),
        (verified, "the broker refuses the connection"),
    ]
    lines = [
        *tls_lines(certificates, "wrong_host"),
        f"cafile {certificates.ca}",
        "require_certificate true",
    ]
    with broker.Mosquitto(*lines) as running:
        for ssl_params, words in outcomes:
            output = run_scenario(
                interpreter, "connection_errors", running.address, kind="tls", ssl_params=ssl_params
            )
            assert re.search(words, output, re.DOTALL), (ssl_params, output)
            assert ("connected\n" in output) == ("connected" in words), output


def test_certificates_may_be_text_pem_or_der(certificates: Certificates) -> None:
    """On CPython; MicroPython's `ssl` reads DER."""
    pem = Path(certificates.client).read_bytes()
    cert, key = umqtt5.tls._ders(pem, b"CERTIFICATE")[0], umqtt5.tls._ders(pem, b"PRIVATE KEY")[0]
    for pair in ((cert, key), (pem, pem), (pem.decode(), pem.decode()), (bytearray(cert), key)):
        umqtt5.tls.context(Path(certificates.ca).read_text(), *pair)
    for odd in ((cert, cert), (key, key), (cert, b"")):
        with pytest.raises(ValueError, match="cert"):
            umqtt5.tls.context(certificates.ca, *odd)
