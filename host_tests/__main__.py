"""`make test`: sets up what the tests need beside Python, says what is missing, runs them all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools import broker, conformance, npm, vm

JUDGES = Path(__file__).parent / "judges"


def _quietly(*command: str) -> bool:
    print("$", " ".join(command), flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(done.stdout[-2000:])
    return done.returncode == 0


def mosquitto() -> str | None:
    """Have mosquitto; returns why not."""
    if broker.find_mosquitto():
        return None
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return "mosquitto is not on the PATH (apt-get install mosquitto)"
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    install = ("apt-get", "install", "-y", "--no-install-recommends", "mosquitto")
    if _quietly(*install) or (_quietly("apt-get", "update") and _quietly(*install)):
        return None
    return "mosquitto could not be installed"


def main() -> int:
    skipped = []
    for what, prepare in (
        ("tests with mosquitto", mosquitto),
        ("tests in the 32-bit VM", vm.install_32_bit),
        ("the judge mqtt-packet", lambda: npm.install(JUDGES)),
        ("the judge mqtt5", lambda: None if sys.version_info >= (3, 11) else "it needs Python 3.11"),
    ):
        why = prepare()
        if why:
            skipped.append(f"skipped: {what}: {why}")
    # more at a time than there are cores: most of them wait for a broker or a clock
    plugin = ["-p", "host_tests.outcomes", "--outcomes", str(conformance.OUTCOMES)]
    command = [sys.executable, "-m", "pytest", "-n", "4", *plugin, *sys.argv[1:]]
    code = subprocess.run(command).returncode
    if not sys.argv[1:]:  # all of them, so the statements can be judged by these
        judged = [sys.executable, "-m", "tools", "conformance", "--from-results", "--check"]
        code = subprocess.run(judged).returncode or code
    for line in skipped:
        print(line)
    return code


if __name__ == "__main__":
    sys.exit(main())
