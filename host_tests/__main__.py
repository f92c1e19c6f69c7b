"""`make test`: sets up what the tests need beside Python, says what is missing, runs them all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

from host_tests.broker import scram_plugin
from host_tests.homeassistant import installation as homeassistant
from host_tests.interop.__main__ import INTEROP
from tools import broker, conformance, npm
from tools.vm import process


def _quietly(*command: str) -> bool:
    print("$", " ".join(command), flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(done.stdout[-2000:])
    return done.returncode == 0


def _debian(there: Callable[[], object], *packages: str) -> str | None:
    """Have packages of Debian's; returns why not."""
    if there():
        return None
    names = " ".join(packages)
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return f"not here (apt-get install {names})"
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    install = ("apt-get", "install", "-y", "--no-install-recommends", *packages)
    if _quietly(*install) or (_quietly("apt-get", "update") and _quietly(*install)):
        return None
    return f"{names} could not be installed"


def mosquitto() -> str | None:
    return _debian(broker.find_mosquitto, "mosquitto")


def ejabberd() -> str | None:
    return _debian(broker.find_ejabberd, "ejabberd")


def scram() -> str | None:
    """What the SCRAM plugin of mosquitto is compiled with."""
    return _debian(
        scram_plugin.can_be_built, "mosquitto-dev", "libmosquitto-dev", "libssl-dev", "gcc", "libc6-dev"
    )


def chromium() -> str | None:
    """A browser for the monitor's page."""
    return _debian(lambda: shutil.which("chromium"), "chromium")


def main() -> int:
    skipped = []
    for what, prepare in (
        ("tests with mosquitto", mosquitto),
        ("tests with ejabberd", ejabberd),
        ("SCRAM with mosquitto", scram),
        ("the monitor's page in a browser", chromium),
        ("tests in the 32-bit VM", process.install_vm_32),
        ("tests with Home Assistant", homeassistant.install),
        ("the codec mqtt-packet", lambda: npm.install(INTEROP)),
        ("the codec mqtt5", lambda: None if sys.version_info >= (3, 11) else "it needs Python 3.11"),
    ):
        why = prepare()
        if why:
            skipped.append(f"skipped: {what}: {why}")
    # more at a time than there are cores: most of them wait for a broker or a clock
    options = ["-p", "host_tests.outcomes", "--outcomes", str(conformance.OUTCOMES_FILE)]
    # and those with Home Assistant in one process, for it takes a while to start
    command = [sys.executable, "-m", "pytest", "-n", "4", "--dist", "loadgroup", *options, *sys.argv[1:]]
    code = subprocess.run(command).returncode
    if not sys.argv[1:]:  # all of them, so the statements can be judged by these
        judged = [sys.executable, "-m", "tools", "conformance", "--from-results", "--check"]
        code = subprocess.run(judged).returncode or code
    for line in skipped:
        print(line)
    return code


if __name__ == "__main__":
    sys.exit(main())
