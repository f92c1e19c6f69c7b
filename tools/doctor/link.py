"""The broker: its name, its port, its certificate, what it says to us."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator

from tools.broker import Address
from tools.doctor.finding import OK, PROBLEM, WARNING, Finding
from umqtt5 import Client, MQTTError
from umqtt5.reasons import name as reason_name

_TIMEOUT = 5  # s
_SOON = 14 * 86400  # s


def broker(address: Address) -> Iterator[Finding]:
    """One after the other: where one fails, those behind it can't be told."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0][4][0]
    except OSError as error:
        text = f"{address.host} has no address: {error.strerror or error}"
        yield Finding(PROBLEM, "broker", text, "check the name; a device may need the number instead")
        return
    try:
        plain = socket.create_connection((address.host, address.port), _TIMEOUT)
    except OSError as error:
        text = f"{address} ({found}) takes no connection: {error.strerror or error}"
        yield Finding(
            PROBLEM, "broker", text, "is it running, is this its port, does a firewall stand between?"
        )
        return
    with plain:
        yield Finding(OK, "broker", f"{address} ({found}) takes connections")
        if address.tls:
            findings = list(_certificate(address, plain))
            yield from findings
            if any(finding.level == PROBLEM for finding in findings):
                return
    yield from _session(address)


def _certificate(address: Address, plain: socket.socket) -> Iterator[Finding]:
    try:
        with address.context().wrap_socket(plain, server_hostname=address.host) as stream:
            certificate = stream.getpeercert() or {}
            version = stream.version()
    except ssl.SSLCertVerificationError as error:
        remedies = {
            10: "renew it at the broker; or is a clock wrong?",
            9: "is a clock wrong, here or where it was made?",
            18: "say CA= with the certificate that has signed it",
            19: "say CA= with the certificate that has signed it",
            20: "say CA= with the certificate that has signed it",
            62: "use the name that is in the certificate, as host",
            64: "use the name that is in the certificate, as host",
        }
        remedy = remedies.get(error.verify_code, "see what the broker is given as its certificate")
        yield Finding(PROBLEM, "TLS", f"its certificate is refused: {error.verify_message}", remedy)
        return
    except (OSError, ValueError) as error:
        text = str(error.args[-1] if error.args else error)
        yield Finding(PROBLEM, "TLS", f"no handshake: {text}", "is this its port for TLS? mqtt:// is without")
        return
    left = ssl.cert_time_to_seconds(str(certificate.get("notAfter"))) - time.time()
    text = f"{version}, its certificate is good for {left / 86400:.0f} days"
    if left < _SOON:
        yield Finding(WARNING, "TLS", text, "renew it before devices lose their broker")
    else:
        yield Finding(OK, "TLS", text)


def _session(address: Address) -> Iterator[Finding]:
    client = Client(
        address.host,
        address.port,
        user=address.user,
        password=address.password,
        ssl=address.context(),
        session_expiry=0,
    )
    try:
        client.connect()
    except MQTTError as error:
        remedy = "see the broker's log"
        if error.code in (0x86, 0x87):
            remedy = "say mqtt://user:password@host, as the broker knows them"
        elif error.code in (0x84, 0x01):
            remedy = "it has to speak MQTT 5: take a newer one"
        yield Finding(PROBLEM, "MQTT", f"refused: {reason_name(error.code)}", remedy)
        return
    except OSError as error:
        yield Finding(PROBLEM, "MQTT", f"no answer: {error}", "is this a broker, and does it speak MQTT 5?")
        return
    yield Finding(OK, "MQTT", f"connected; {_limits(client)}")
    client.disconnect()


def _limits(client: Client) -> str:
    """What the broker takes, in words."""

    def limit(identifier: int) -> int:  # of the property (3.2.2.3)
        return int(client.session.limits[identifier - 0x21])

    said = [f"QoS up to {limit(0x24)}", f"{limit(0x21)} unacknowledged", f"{limit(0x22)} topic aliases"]
    if limit(0x27) < 268435455:
        said.append(f"packets up to {limit(0x27):,} bytes")
    missing = [
        words
        for identifier, words in (
            (0x25, "retained messages"),
            (0x28, "wildcards"),
            (0x29, "subscription identifiers"),
            (0x2A, "shared subscriptions"),
        )
        if not limit(identifier)
    ]
    return ", ".join(said + [f"no {words}" for words in missing])
