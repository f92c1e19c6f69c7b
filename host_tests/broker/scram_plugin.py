"""The plugin that gives mosquitto SCRAM-SHA-256, compiled when a test wants it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tools.paths import BUILD

SOURCE = Path(__file__).with_suffix(".c")


def can_be_built() -> bool:
    """True where there is a compiler, and what mosquitto and OpenSSL give to plugins."""
    headers = ("mosquitto.h", "mosquitto_plugin.h", "mosquitto_broker.h", "openssl/hmac.h")
    return shutil.which("gcc") is not None and all((Path("/usr/include") / name).exists() for name in headers)


def build() -> Path:
    """The shared library; compiled where the source is newer."""
    target = BUILD / "scram_plugin.so"
    if not target.exists() or target.stat().st_mtime < SOURCE.stat().st_mtime:
        BUILD.mkdir(exist_ok=True)
        new = target.with_suffix(f".{os.getpid()}")  # whose process asks at the same time has its own
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
