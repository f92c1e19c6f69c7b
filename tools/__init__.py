"""The tools on the desktop: `python -m tools --help`."""

import sys

from tools.paths import FIRMWARE, LIB

# so that tools may import umqtt5 and the device's own check of its config: neither is installed
for folder in (FIRMWARE, LIB):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import umqtt5.cpython.compat  # noqa: E402, F401  has `micropython` for both
