"""Mosquitto configuration of a fleet: password file, access control list (ACL), lines of mosquitto.conf."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path

from tools.fleet.description import Credentials

# user name that may read and command all devices; dashboards and `fleet run` use it
DASHBOARD_USER = "dashboard"
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
    """Return mosquitto's ACL file: devices may use their own topics, the dashboard user all topics.

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
        "\n"
        "# the dashboard user may read and command all devices\n"
        f"user {DASHBOARD_USER}\n"
        f"topic readwrite {prefix}/#\n"
    )


def render_config_lines(credentials: Credentials, tls: bool, folder: Path | str) -> list[str]:
    """Return the lines of mosquitto.conf for TLS, login and ACL. They belong after the `listener` line.

    `folder` is the folder of the other files on the broker's computer.
    """
    # Without this line, Nagle's algorithm holds back an answer until the previous segment is acknowledged,
    # which can take 40 ms.
    lines = ["set_tcp_nodelay true"]
    if tls:
        lines += [f"cafile {folder}/ca.pem", f"certfile {folder}/server.pem", f"keyfile {folder}/server.key"]
        if credentials.certificate:
            lines.append("require_certificate true")
            if not credentials.password:
                lines.append("use_identity_as_username true")
    if credentials.password or credentials.certificate:
        # so that a device cannot disconnect another one by using its client identifier
        lines.append("use_username_as_clientid true")
        lines.append(f"acl_file {folder}/acl")
    if credentials.password:
        lines.append(f"password_file {folder}/passwords")
    return lines
