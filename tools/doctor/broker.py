"""The broker: its name, its port, its certificate, what it says to our CONNECT."""

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

_PATIENCE = 5  # s
_SOON = 30  # days
_SIZE = 1024  # bytes: what the devices' buffers take
# OpenSSL's numbers of what is wrong with a certificate
_NOT_YET, _EXPIRED = 9, 10
_UNTRUSTED = (2, 18, 19, 20, 21)
_WRONG_NAME = (62, 64)
_WRONG_USER, _NOT_AUTHORIZED, _NOT_THIS_VERSION = 0x86, 0x87, 0x84


def check_host_name(case: CheckContext) -> Iterator[Finding]:
    """Whether its name leads to an address."""
    there = case.endpoint
    if there is None:
        return
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(there.host, there.port, 0, socket.SOCK_STREAM)}
    except OSError as error:
        text = f"{there.host}: no address: {error.strerror or error}"
        case.broker_failure = "it has no address"
        yield Finding(ERROR, "name", text, "check how it is written, or take its address (ping it)")
        return
    text = f"{there.host} is {', '.join(sorted(map(str, addresses)))}"
    if there.from_device and all(
        ipaddress.ip_address(str(one).split("%")[0]).is_loopback for one in addresses
    ):
        text += ": to a board that is the board itself"
        yield Finding(
            WARNING, "name", text, "make provision ARGS='--set broker.host=' with an address of this network"
        )
    else:
        yield Finding(OK, "name", text)


def check_port(case: CheckContext) -> Iterator[Finding]:
    """Whether it takes connections."""
    there = case.endpoint
    if there is None or case.broker_failure:
        return
    try:
        socket.create_connection((there.host, there.port), _PATIENCE).close()
    except OSError as error:
        case.broker_failure = "nobody answers"
        yield Finding(ERROR, f"broker {there}", *_unreachable(there, error))
    else:
        yield Finding(OK, f"broker {there}", "takes connections")


def _unreachable(there: Endpoint, error: OSError) -> tuple[str, str]:
    """What it is, and what to do."""
    if isinstance(error, ConnectionRefusedError):
        usual = "8883 with TLS" if there.tls else "1883 without TLS"
        return "nobody listens there", f"start the broker, or check the port: {usual} is usual"
    if isinstance(error, TimeoutError):
        return f"no answer within {_PATIENCE} s", f"is it switched on? let its firewall pass TCP {there.port}"
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES):
        return "no route to it", "join the network that it is in, or check its address"
    return error.strerror or str(error), "check host and port"


def check_certificate(case: CheckContext) -> Iterator[Finding]:
    """Whether its certificate holds, and for how long."""
    there = case.endpoint
    if there is None or not there.tls or case.broker_failure:
        return
    what = f"TLS of {there}"
    try:
        context = _verifying(there)
        with socket.create_connection((there.host, there.port), _PATIENCE) as raw:
            with context.wrap_socket(raw, server_hostname=there.host) as wrapped:
                made = x509.load_der_x509_certificate(wrapped.getpeercert(True) or b"")
                version = wrapped.version()
    except ssl.SSLCertVerificationError as error:
        case.broker_failure = "its certificate does not hold"
        yield Finding(ERROR, what, *_unverified(there, error))
        return
    except (OSError, ValueError) as error:
        case.broker_failure = "it speaks no TLS"
        remedy = "does it speak TLS at this port? 8883 is usual; mqtt:// is without"
        yield Finding(ERROR, what, f"no handshake: {getattr(error, 'reason', None) or error}", remedy)
        return
    left = (made.not_valid_after_utc - _now()).days
    text = f"{version}, certificate good until {made.not_valid_after_utc:%Y-%m-%d}, {left} days"
    if left < _SOON:
        yield Finding(WARNING, what, text, "give the broker a new certificate before that")
    else:
        yield Finding(OK, what, text)
    if there.ca is None:
        remedy = "make provision ARGS='--ca ca.pem'"
        yield Finding(
            WARNING, what, "verified by this computer's authorities; a device needs the CA itself", remedy
        )


def _verifying(there: Endpoint) -> ssl.SSLContext:
    context = ssl.create_default_context() if there.ca is None else tls.context(there.ca)
    if there.cert and there.key:
        context = tls.context(there.ca, there.cert, there.key) if there.ca else context
    assert isinstance(context, ssl.SSLContext)
    return context


def _unverified(there: Endpoint, error: ssl.SSLCertVerificationError) -> tuple[str, str]:
    """Why a certificate does not hold, and what to do."""
    found = _look(there)
    if error.verify_code == _EXPIRED:
        ended = f" on {found.not_valid_after_utc:%Y-%m-%d}" if found else ""
        return (
            f"its certificate ended{ended}",
            "give the broker a new one; or is this computer's clock wrong?",
        )
    if error.verify_code == _NOT_YET:
        begins = f" on {found.not_valid_before_utc:%Y-%m-%d}" if found else ""
        return f"its certificate begins{begins}", "set this computer's clock, or wait"
    if error.verify_code in _WRONG_NAME:
        names = _names(found) if found else "another"
        return f"its certificate is for {names}, not for {there.host}", f"use {names} as its host"
    if error.verify_code in _UNTRUSTED:
        issuer = f" by {found.issuer.rfc4514_string()}" if found else ""
        which = "the given CA" if there.ca else "an authority that this computer trusts"
        return (
            f"its certificate is signed{issuer}, not by {which}",
            "take the CA that has signed it: ARGS='--ca ca.pem'",
        )
    return error.verify_message, "openssl s_client -connect " + str(there)


def _look(there: Endpoint) -> x509.Certificate | None:
    """The certificate as it is, trusted or not."""
    try:
        context = tls.context(verify=False)
        with socket.create_connection((there.host, there.port), _PATIENCE) as raw:
            with context.wrap_socket(raw, server_hostname=there.host) as wrapped:
                return x509.load_der_x509_certificate(wrapped.getpeercert(True) or b"")
    except (OSError, ValueError):
        return None


def _names(found: x509.Certificate) -> str:
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return "no host"
    return ", ".join(str(one.value) for one in names) or "no host"


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def check_mqtt(case: CheckContext) -> Iterator[Finding]:
    """Our CONNECT with the credentials, and what the broker's CONNACK allows."""
    there = case.endpoint
    if there is None:
        return
    if case.broker_failure:
        remedy = "mend that, then `make doctor` again"
        yield Finding(
            WARNING, "MQTT", f"not asked, user and password not tried: {case.broker_failure}", remedy
        )
        return
    what = f"MQTT at {there}"
    who = f"as {there.user}" if there.user is not None else "without a user"
    try:
        client = Client(
            there.host,
            there.port,
            client_id=f"doctor-{secrets.token_hex(4)}",
            user=there.user,
            password=there.password,
            session_expiry=0,
            timeout=_PATIENCE * 1000,
            ssl=_verifying(there) if there.tls else None,
        )
        client.connect()
    except MQTTError as error:
        if error.from_broker:
            yield Finding(ERROR, what, f"refused {who}: {error}", _refusal(there, error.code))
        else:
            text, remedy = f"no MQTT 5 there: {error}", "is it a broker? take its port for MQTT over TCP"
            yield Finding(ERROR, what, text, remedy)
        return
    except (OSError, PermanentError, ValueError) as error:
        yield Finding(ERROR, what, f"no CONNACK: {error}", _silence(there, str(error)))
        return
    yield Finding(OK, what, f"takes us {who}")
    yield from _limits(what, client)
    client.disconnect()


def _refusal(there: Endpoint, code: int) -> str:
    if code in (_WRONG_USER, _NOT_AUTHORIZED):
        how = "make provision" if there.from_device else "BROKER=mqtt://user:password@host"
        return f"check user and password: {how}; the broker's password file must have them"
    if code == _NOT_THIS_VERSION:
        return "it speaks no MQTT 5: take a newer broker, mosquitto 1.6 or later"
    return "see the broker's log"


def _silence(there: Endpoint, text: str) -> str:
    if "ertificate" in text.lower() or "the broker refuses" in text:
        return "it asks for a certificate of ours: ARGS='--cert cert.pem --key key.pem', signed by its CA"
    if there.tls:
        return "see the broker's log: it may ask for a certificate of ours (ARGS='--cert ... --key ...')"
    return "is it a broker, and is this port without TLS? mqtts:// is with"


def _limits(what: str, client: Any) -> Iterator[Finding]:
    """The CONNACK in words, and what of it a device of ours can't live with."""
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
    words += [f"no {thing}" for thing, there in optional.items() if not there]
    missing = []
    if qos < 1:
        missing.append("QoS 1")
    if not retain:
        missing.append("retained messages")
    if size < _SIZE:
        missing.append(f"packets of {_SIZE} bytes")
    if missing:
        text = f"{', '.join(words)}: our device uses {' and '.join(missing)}"
        yield Finding(WARNING, what, text, "allow them in the broker's configuration")
    else:
        yield Finding(OK, what, ", ".join(words))
