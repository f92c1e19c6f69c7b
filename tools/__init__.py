"""The tools on the desktop: `python -m tools --help`."""

import sys

from tools.paths import LIB

if str(LIB) not in sys.path:
    sys.path.insert(0, str(LIB))  # so that tools may import umqtt5, which is not installed
