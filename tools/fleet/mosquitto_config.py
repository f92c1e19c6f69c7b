"""Mosquitto configuration of a fleet: password file, access control list (ACL), lines of mosquitto.conf."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path

from tools.fleet.description import Credentials

# Number of PBKDF2 iterations, as mosquitto_passwd uses. It is low, but sufficient for random passwords.
_ITERATIONS = 101
_SALT_SIZE = 12  # bytes


def generate_password() -> str:
    """Generate a random password: 192 bits as 32 URL-safe characters, which need no quoting."""
    return secrets.token_urlsafe(24)


def _hash(text: str, salt: bytes, rounds: int) -> str:
    """Hash a password in mosquitto's format $7$: PBKDF2 with SHA-512."""
    digest = hashlib.pbkdf2_hmac("sha512", text.encode(), salt, rounds)
    return "$".join(
        ("", "7", str(rounds), base64.b64encode(salt).decode(), base64.b64encode(digest).decode())
    )


def verify_password(text: str, hashed: str) -> bool:
    """Return whether `hashed`, in mosquitto's format $7$, is a hash of the password `text`."""
    try:
        _, kind, rounds, salt, _ = hashed.split("$")
        expected = _hash(text, base64.b64decode(salt), int(rounds))
    except ValueError:
        return False
    return kind == "7" and hmac.compare_digest(expected, hashed)


def render_password_file(passwords: Mapping[str, str], before: str) -> str:
    """Return the content of mosquitto's password file, with a line per user.

    `before` is the current content. A hash that matches the password is reused, so the file changes only
    when users or passwords change.
    """
    old_hashes = dict(line.split(":", 1) for line in before.splitlines() if ":" in line)
    lines = []
    for user, text in sorted(passwords.items()):
        hashed = old_hashes.get(user, "")
        if not verify_password(text, hashed):
            hashed = _hash(text, secrets.token_bytes(_SALT_SIZE), _ITERATIONS)
        lines.append(f"{user}:{hashed}")
    return "\n".join(lines) + "\n"


def render_acl_file(prefix: str) -> str:
    """Return mosquitto's ACL file of the devices' listener: a device may use its own topics.

    `prefix` is the first part of the fleet's topics.
    """
    return (
        "# %u is the user name of the client. A device may publish only below its own base topic,\n"
        "# and receive only its own commands and updates\n"
        f"pattern write {prefix}/%u/#\n"
        f"pattern read {prefix}/%u/+/+/set\n"
        f"pattern read {prefix}/%u/update/#\n"
        "# and it may use Home Assistant discovery\n"
        "pattern write homeassistant/device/%u/config\n"
        "pattern read homeassistant/status\n"
    )


def render_operator_acl_file(prefix: str, operators: list[str]) -> str:
    """Return mosquitto's ACL file of the operators' listener: they may read and command all devices."""
    users = (f"user {name}\ntopic readwrite {prefix}/#\n" for name in operators)
    return "# operators may read and command all devices\n" + "\n".join(users)


# The access rules are different at each listener. mosquitto accepts this line only before the first rule.
GLOBAL_LINES = ("per_listener_settings true",)


def render_config_lines(credentials: Credentials, tls: bool, folder: Path | str) -> list[str]:
    """Return the lines of mosquitto.conf for TLS, login and ACL. They belong after the devices' `listener`.

    `folder` is the folder of the other files on the broker's computer.
    """
    lines = _render_listener(credentials, tls, folder, "")
    if requires_login(credentials):
        # so that a device cannot disconnect another one by using its client identifier
        lines.append("use_username_as_clientid true")
    return lines


def render_operator_lines(
    credentials: Credentials, tls: bool, folder: Path | str, listener: str
) -> list[str]:
    """Return the lines of mosquitto.conf for the operators' listener; none if clients need no login.

    `listener` is its port, optionally with the address. An operator may connect several times, as monitor and
    as sender of an update, so the client identifier is free. Devices cannot connect: their certificates are
    those of another CA, and their passwords are in another file.
    """
    if not requires_login(credentials):
        return []
    lines = _render_listener(credentials, tls, folder, "operator-")
    return ["", f"listener {listener}", "allow_anonymous false", *lines]


def requires_login(credentials: Credentials) -> bool:
    """Return whether clients must authenticate, with a password or a certificate."""
    return credentials.password or credentials.certificate


def _render_listener(credentials: Credentials, tls: bool, folder: Path | str, kind: str) -> list[str]:
    """Return the lines that both listeners have. `kind` is the first part of the names of their files."""
    # Without this line, Nagle's algorithm holds back an answer until the previous segment is acknowledged,
    # which can take 40 ms.
    lines = ["set_tcp_nodelay true"]
    if tls:
        ca = f"{kind}ca.pem" if credentials.certificate else "ca.pem"
        lines += [f"cafile {folder}/{ca}", f"certfile {folder}/server.pem", f"keyfile {folder}/server.key"]
        if credentials.certificate:
            lines += ["require_certificate true", f"crlfile {folder}/{kind}crl.pem"]
            if not credentials.password:
                lines.append("use_identity_as_username true")
    if requires_login(credentials):
        lines.append(f"acl_file {folder}/{kind}acl")
    if credentials.password:
        lines.append(f"password_file {folder}/{kind}passwords")
    return lines
