"""`make test-homeassistant`: install Home Assistant if necessary, and run the tests of MQTT discovery."""

from __future__ import annotations

import subprocess
import sys

from host_tests.homeassistant.installation import HERE, install


def main() -> int:
    why = install()
    if why:
        print(f"skipped: tests with Home Assistant: {why}")
        return 0
    return subprocess.run([sys.executable, "-m", "pytest", "-v", str(HERE), *sys.argv[1:]]).returncode


if __name__ == "__main__":
    sys.exit(main())
