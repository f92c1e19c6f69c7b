"""Commands for boards, devices, measurements and checks: `python -m tools --help`.

Importing this package adds lib/ and firmware/ to sys.path.
"""

import sys

from tools.paths import FIRMWARE, LIB

# umqtt5 and the device application are not installed as packages
for folder in (FIRMWARE, LIB):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import umqtt5.cpython.compat  # noqa: E402, F401  provides `micropython` for the library and the application
