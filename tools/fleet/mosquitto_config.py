"""What a mosquitto needs to know of a fleet: its password file, its ACL, its lines of configuration."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path

from tools.fleet.description import Credentials

# the user who may see and switch every device: a dashboard, `fleet run`
DASHBOARD_USER = "dashboard"
# mosquitto's own format, $7$: PBKDF2 of SHA-512 with its usual rounds, which are few: what is hashed
# here is 32 random characters, and nobody's favourite word
_ROUNDS = 101
_SALT = 12


def generate_password() -> str:
    """A random one: 192 bits in 32 characters that need no quotes anywhere."""
    return secrets.token_urlsafe(24)


def _hash(text: str, salt: bytes, rounds: int) -> str:
    digest = hashlib.pbkdf2_hmac("sha512", text.encode(), salt, rounds)
    return "$".join(
        ("", "7", str(rounds), base64.b64encode(salt).decode(), base64.b64encode(digest).decode())
    )


def verify_password(text: str, hashed: str) -> bool:
    """Whether a hash in mosquitto's format is of this password."""
    try:
        _, kind, rounds, salt, _ = hashed.split("$")
        made = _hash(text, base64.b64decode(salt), int(rounds))
    except ValueError:
        return False
    return kind == "7" and hmac.compare_digest(made, hashed)


def render_password_file(passwords: Mapping[str, str], before: str) -> str:
    """The lines of `password_file`; those of `before` stay where they still fit, so nothing moves."""
    had = dict(line.split(":", 1) for line in before.splitlines() if ":" in line)
    lines = []
    for user, text in sorted(passwords.items()):
        hashed = had.get(user, "")
        lines.append(
            f"{user}:{hashed if verify_password(text, hashed) else _hash(text, secrets.token_bytes(_SALT), _ROUNDS)}"
        )
    return "\n".join(lines) + "\n"


def render_acl_file(prefix: str) -> str:
    """Each device below its own base, and the desk everywhere below the prefix."""
    return (
        "# %u is who has connected: a device writes below its own base and nowhere else,\n"
        "# and hears the commands to its own actuators and nothing else\n"
        f"pattern write {prefix}/%u/#\n"
        f"pattern read {prefix}/%u/+/+/set\n"
        f"pattern read {prefix}/%u/update/#\n"
        "# and is found by Home Assistant\n"
        "pattern write homeassistant/device/%u/config\n"
        "pattern read homeassistant/status\n"
        "\n"
        "# sees and switches all of them\n"
        f"user {DASHBOARD_USER}\n"
        f"topic readwrite {prefix}/#\n"
    )


def render_config_lines(credentials: Credentials, tls: bool, folder: Path | str) -> list[str]:
    """What stands behind `listener` in mosquitto.conf; `folder` is where the broker has these files."""
    # without it an answer waits 40 ms for the acknowledgement of the segment before it
    made = ["set_tcp_nodelay true"]
    if tls:
        made += [f"cafile {folder}/ca.pem", f"certfile {folder}/server.pem", f"keyfile {folder}/server.key"]
        if credentials.certificate:
            made.append("require_certificate true")
            if not credentials.password:
                made.append("use_identity_as_username true")
    if credentials.password or credentials.certificate:
        # nobody takes another's client identifier, and throws it out by that
        made.append("use_username_as_clientid true")
        made.append(f"acl_file {folder}/acl")
    if credentials.password:
        made.append(f"password_file {folder}/passwords")
    return made
