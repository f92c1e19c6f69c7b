"""`make test`: installs mosquitto, ejabberd, chromium, VMs and codecs for the tests, and runs all tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

from host_tests.broker import scram_plugin
from host_tests.homeassistant import installation as homeassistant
from host_tests.interop.__main__ import INTEROP
from host_tests.monitor import AXE
from tools import broker, conformance, npm
from tools.vm import process


def _run_quietly(*command: str) -> bool:
    """Run a command, print the end of its output if it fails, and return True if it succeeds."""
    print("$", " ".join(command), flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(done.stdout[-2000:])
    return done.returncode == 0


def _install_packages(is_installed: Callable[[], object], *packages: str) -> str | None:
    """Install Debian packages if needed. Return None, or the reason why they are missing."""
    if is_installed():
        return None
    names = " ".join(packages)
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return f"not installed (apt-get install {names})"
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    install = ("apt-get", "install", "-y", "--no-install-recommends", *packages)
    if _run_quietly(*install) or (_run_quietly("apt-get", "update") and _run_quietly(*install)):
        return None
    return f"{names} could not be installed"


def mosquitto() -> str | None:
    """Install mosquitto."""
    return _install_packages(broker.find_mosquitto, "mosquitto")


def mosquitto_clients() -> str | None:
    """Install mosquitto_sub and mosquitto_pub."""
    return _install_packages(lambda: shutil.which("mosquitto_sub"), "mosquitto-clients")


def ejabberd() -> str | None:
    """Install ejabberd, which is an MQTT broker too."""
    return _install_packages(broker.find_ejabberd, "ejabberd")


def scram() -> str | None:
    """Install the compiler and the headers for the SCRAM plugin of mosquitto."""
    return _install_packages(
        scram_plugin.can_be_built, "mosquitto-dev", "libmosquitto-dev", "libssl-dev", "gcc", "libc6-dev"
    )


def chromium() -> str | None:
    """Install the browser for the tests of the monitor's web page."""
    return _install_packages(lambda: shutil.which("chromium"), "chromium")


def main() -> int:
    """Install what is missing, run pytest with the command-line arguments, and return its exit code."""
    skipped = []
    for tests, install in (
        ("tests with mosquitto", mosquitto),
        ("the lines for mosquitto_sub", mosquitto_clients),
        ("tests with ejabberd", ejabberd),
        ("SCRAM with mosquitto", scram),
        ("the monitor's page in a browser", chromium),
        ("tests in the 32-bit VM", process.install_vm_32),
        ("tests with Home Assistant", homeassistant.install),
        ("axe-core, which checks the monitor's page", lambda: npm.install(AXE)),
        ("the codec mqtt-packet", lambda: npm.install(INTEROP)),
        ("the codec mqtt5", lambda: None if sys.version_info >= (3, 11) else "needs Python 3.11"),
    ):
        reason = install()
        if reason:
            skipped.append(f"skipped: {tests}: {reason}")
    # four processes even on two cores, because most tests wait for a broker or a clock
    options = ["-p", "host_tests.outcomes", "--outcomes", str(conformance.OUTCOMES_FILE)]
    # loadgroup: the tests with Home Assistant run in one process, because it starts slowly
    command = [sys.executable, "-m", "pytest", "-n", "4", "--dist", "loadgroup", *options, *sys.argv[1:]]
    code = subprocess.run(command).returncode
    if not sys.argv[1:]:  # after a run of all tests, check the conformance statements with the results
        check = [sys.executable, "-m", "tools", "conformance", "--from-results", "--check"]
        code = subprocess.run(check).returncode or code
    for line in skipped:
        print(line)
    return code


if __name__ == "__main__":
    sys.exit(main())
