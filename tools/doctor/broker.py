"""Checks the broker: host name, port, TLS certificate, login, and the limits in its CONNACK."""

from __future__ import annotations

import datetime
import errno
import ipaddress
import secrets
import socket
import ssl
from collections.abc import Iterator
from typing import Any

from cryptography import x509

from tools.doctor.context import CheckContext, Endpoint
from tools.doctor.finding import ERROR, OK, WARNING, Finding
from umqtt5 import Client, MQTTError, tls
from umqtt5.optional.permanent_error import PermanentError

_TIMEOUT = 5  # seconds
_EXPIRES_SOON = 30  # days
_PACKET_SIZE = 1024  # bytes; default size of a device's packet buffers
# verification errors of OpenSSL
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNTRUSTED = (2, 18, 19, 20, 21)
_WRONG_NAME = (62, 64)
# reason codes
_UNSUPPORTED_VERSION, _BAD_USER, _NOT_AUTHORIZED = 0x84, 0x86, 0x87


def check_host_name(context: CheckContext) -> Iterator[Finding]:
    """Resolve the host name."""
    endpoint = context.endpoint
    if endpoint is None:
        return
    host = endpoint.host
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, endpoint.port, 0, socket.SOCK_STREAM)}
    except OSError as error:
        context.broker_failure = "its host name cannot be resolved"
        message = f"{host}: no address found: {error.strerror or error}"
        yield Finding(ERROR, "name", message, "check the spelling, or use the IP address of the broker")
        return
    message = f"{host} is {', '.join(sorted(map(str, addresses)))}"
    is_loopback = all(ipaddress.ip_address(str(one).split("%")[0]).is_loopback for one in addresses)
    if endpoint.from_device and is_loopback:
        message += ", which is the board itself if the board connects to it"
        remedy = "set the broker's address in your network: make provision ARGS='--set broker.host=ADDRESS'"
        yield Finding(WARNING, "name", message, remedy)
    else:
        yield Finding(OK, "name", message)


def check_port(context: CheckContext) -> Iterator[Finding]:
    """Connect to the port."""
    endpoint = context.endpoint
    if endpoint is None or context.broker_failure:
        return
    try:
        socket.create_connection((endpoint.host, endpoint.port), _TIMEOUT).close()
    except OSError as error:
        context.broker_failure = "the connection failed"
        yield Finding(ERROR, f"broker {endpoint}", *_explain_unreachable(endpoint, error))
    else:
        yield Finding(OK, f"broker {endpoint}", "accepts connections")


def _explain_unreachable(endpoint: Endpoint, error: OSError) -> tuple[str, str]:
    """Return the message and the remedy for a failed connection."""
    if isinstance(error, ConnectionRefusedError):
        usual = "8883 with TLS" if endpoint.tls else "1883 without TLS"
        return "connection refused", f"start the broker, or check the port: {usual} is usual"
    if isinstance(error, TimeoutError):
        remedy = f"check that the broker is switched on and its firewall allows TCP port {endpoint.port}"
        return f"no answer within {_TIMEOUT} s", remedy
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES):
        return "no route to the broker", "connect to the broker's network, or check the address"
    return error.strerror or str(error), "check host and port"


def check_certificate(context: CheckContext) -> Iterator[Finding]:
    """Verify the TLS certificate, and report when it expires."""
    endpoint = context.endpoint
    if endpoint is None or not endpoint.tls or context.broker_failure:
        return
    subject = f"TLS of {endpoint}"
    try:
        ssl_context = _verifying_context(endpoint)
        with socket.create_connection((endpoint.host, endpoint.port), _TIMEOUT) as raw:
            with ssl_context.wrap_socket(raw, server_hostname=endpoint.host) as wrapped:
                certificate = x509.load_der_x509_certificate(wrapped.getpeercert(True) or b"")
                version = wrapped.version()
    except ssl.SSLCertVerificationError as error:
        context.broker_failure = "its certificate is not valid"
        yield Finding(ERROR, subject, *_explain_invalid(endpoint, error))
        return
    except (OSError, ValueError) as error:
        context.broker_failure = "the TLS handshake failed"
        message = f"the TLS handshake failed: {getattr(error, 'reason', None) or error}"
        remedy = "use the broker's port for TLS (8883 is usual), or mqtt:// for a connection without TLS"
        yield Finding(ERROR, subject, message, remedy)
        return
    expires = certificate.not_valid_after_utc
    days = (expires - datetime.datetime.now(datetime.timezone.utc)).days
    message = f"{version}, certificate valid until {expires:%Y-%m-%d}, {days} days"
    if days < _EXPIRES_SOON:
        yield Finding(WARNING, subject, message, "install a new certificate on the broker before it expires")
    else:
        yield Finding(OK, subject, message)
    if endpoint.ca is None:
        message = (
            "verified with the CA certificates of this computer; a device needs the CA certificate itself"
        )
        yield Finding(WARNING, subject, message, "make provision ARGS='--ca ca.pem'")


def _verifying_context(endpoint: Endpoint) -> ssl.SSLContext:
    if endpoint.ca is None:
        return ssl.create_default_context()
    has_client_certificate = endpoint.cert and endpoint.key
    arguments = (endpoint.ca, endpoint.cert, endpoint.key) if has_client_certificate else (endpoint.ca,)
    ssl_context = tls.context(*arguments)
    assert isinstance(ssl_context, ssl.SSLContext)
    return ssl_context


def _explain_invalid(endpoint: Endpoint, error: ssl.SSLCertVerificationError) -> tuple[str, str]:
    """Return the message and the remedy for a certificate that fails verification."""
    certificate = _read_certificate(endpoint)
    if error.verify_code == _EXPIRED:
        date = f" on {certificate.not_valid_after_utc:%Y-%m-%d}" if certificate else ""
        remedy = "install a new certificate on the broker, or correct the clock of this computer"
        return f"its certificate expired{date}", remedy
    if error.verify_code == _NOT_YET_VALID:
        date = f" before {certificate.not_valid_before_utc:%Y-%m-%d}" if certificate else " yet"
        return f"its certificate is not valid{date}", "correct the clock of this computer, or wait"
    if error.verify_code in _WRONG_NAME:
        names = _host_names(certificate) if certificate else "another host"
        return f"its certificate is for {names}, not for {endpoint.host}", f"use {names} as the host"
    if error.verify_code in _UNTRUSTED:
        issuer = f" by {certificate.issuer.rfc4514_string()}" if certificate else ""
        expected = "the CA of --ca" if endpoint.ca else "a CA that this computer trusts"
        remedy = "pass the CA certificate that signed it: ARGS='--ca ca.pem'"
        return f"its certificate is signed{issuer}, not by {expected}", remedy
    return error.verify_message, f"openssl s_client -connect {endpoint}"


def _read_certificate(endpoint: Endpoint) -> x509.Certificate | None:
    """Return the broker's certificate without verifying it, or None if the handshake fails."""
    try:
        ssl_context = tls.context(verify=False)
        with socket.create_connection((endpoint.host, endpoint.port), _TIMEOUT) as raw:
            with ssl_context.wrap_socket(raw, server_hostname=endpoint.host) as wrapped:
                return x509.load_der_x509_certificate(wrapped.getpeercert(True) or b"")
    except (OSError, ValueError):
        return None


def _host_names(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return "no host"
    return ", ".join(str(name.value) for name in names) or "no host"


def check_mqtt(context: CheckContext) -> Iterator[Finding]:
    """Connect with MQTT 5.0, user and password, and check the limits in the CONNACK."""
    endpoint = context.endpoint
    if endpoint is None:
        return
    if context.broker_failure:
        message = f"not checked, no password was sent: {context.broker_failure}"
        yield Finding(WARNING, "MQTT", message, "fix this, then run `make doctor` again")
        return
    subject = f"MQTT at {endpoint}"
    login = f"as {endpoint.user}" if endpoint.user is not None else "without a user"
    try:
        client = Client(
            endpoint.host,
            endpoint.port,
            client_id=f"doctor-{secrets.token_hex(4)}",
            user=endpoint.user,
            password=endpoint.password,
            session_expiry=0,
            timeout=_TIMEOUT * 1000,
            ssl=_verifying_context(endpoint) if endpoint.tls else None,
        )
        client.connect()
    except MQTTError as error:
        # the finding names the broker, too
        text = str(error).replace(f"{endpoint.host}:{endpoint.port}: ", "")
        if error.from_broker:
            message = f"the broker refuses the connection {login}: {text}"
            yield Finding(ERROR, subject, message, _remedy_for_refusal(endpoint, error.code))
        else:
            message, remedy = (
                f"not an MQTT 5.0 broker: {text}",
                "check that the port is the broker's port for MQTT",
            )
            yield Finding(ERROR, subject, message, remedy)
        return
    except (OSError, PermanentError, ValueError) as error:
        yield Finding(ERROR, subject, f"no CONNACK: {error}", _remedy_for_no_connack(endpoint, str(error)))
        return
    yield Finding(OK, subject, f"accepts the connection {login}")
    yield from _check_limits(subject, client)
    client.disconnect()


def _remedy_for_refusal(endpoint: Endpoint, code: int) -> str:
    if code in (_BAD_USER, _NOT_AUTHORIZED):
        source = "`make provision`" if endpoint.from_device else "BROKER=mqtt://user@host (docs/passwords.md)"
        return f"check user and password in {source} and in the broker's password file"
    if code == _UNSUPPORTED_VERSION:
        return "use a broker with MQTT 5.0, such as mosquitto 1.6 or newer"
    return "see the log of the broker"


def _remedy_for_no_connack(endpoint: Endpoint, text: str) -> str:
    if "ertificate" in text.lower() or "the broker refuses" in text:
        return (
            "the broker requires a client certificate: ARGS='--cert cert.pem --key key.pem', signed by its CA"
        )
    if endpoint.tls:
        return "see the log of the broker; it may require a client certificate: ARGS='--cert ... --key ...'"
    return "check that the port is the broker's port without TLS, or use mqtts:// for TLS"


def _check_limits(subject: str, client: Any) -> Iterator[Finding]:
    """Report the limits in the CONNACK. Warn if the device application needs more."""
    limits = client.session.broker_limits
    receive, aliases, _, qos, retain, _, size, wildcards, identifiers, shared = limits
    words = [
        f"QoS up to {qos}",
        f"{receive:,} unacknowledged messages",
        f"{aliases} topic aliases",
        f"packets up to {size:,} bytes" if size < 1 << 28 else "packets of any size",
    ]
    optional = {
        "retained messages": retain,
        "wildcards": wildcards,
        "subscription identifiers": identifiers,
        "shared subscriptions": shared,
    }
    words += [f"no {feature}" for feature, is_available in optional.items() if not is_available]
    missing = []
    if qos < 1:
        missing.append("QoS 1")
    if not retain:
        missing.append("retained messages")
    if size < _PACKET_SIZE:
        missing.append(f"packets of {_PACKET_SIZE} bytes")
    if missing:
        message = f"{', '.join(words)}; the device application needs {' and '.join(missing)}"
        yield Finding(WARNING, subject, message, "allow them in the configuration of the broker")
    else:
        yield Finding(OK, subject, ", ".join(words))
