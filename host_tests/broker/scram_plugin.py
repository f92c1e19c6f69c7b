"""Builds the mosquitto plugin for SCRAM-SHA-256 authentication when a test needs it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tools.paths import BUILD

SOURCE = Path(__file__).with_suffix(".c")


def can_be_built() -> bool:
    """Return True if gcc and the headers of mosquitto and OpenSSL are installed."""
    headers = ("mosquitto.h", "mosquitto_plugin.h", "mosquitto_broker.h", "openssl/hmac.h")
    return shutil.which("gcc") is not None and all((Path("/usr/include") / name).exists() for name in headers)


def build() -> Path:
    """Return the path of the shared library. Compiles it if it is missing or older than its source."""
    target = BUILD / "scram_plugin.so"
    if not target.exists() or target.stat().st_mtime < SOURCE.stat().st_mtime:
        BUILD.mkdir(exist_ok=True)
        new = target.with_suffix(f".{os.getpid()}")  # no name clash with a build in another process
        flags = [
            "-shared",
            "-fPIC",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-Wno-deprecated-declarations",
            "-Wno-format-truncation",
        ]
        subprocess.run(["gcc", *flags, "-o", new, SOURCE, "-lcrypto"], check=True)
        new.replace(target)
    return target
