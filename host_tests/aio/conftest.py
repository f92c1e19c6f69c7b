"""Makes the modules of `host_tests/unit` importable: the simulated broker and its clock."""

import sys

from tools.paths import LIB, ROOT

for folder in (ROOT / "host_tests" / "unit", LIB):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
