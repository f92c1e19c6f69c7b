"""The journal on flash under power cuts. The rig of the unit tests and the library are found here."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
for folder in (HERE.parent / "unit", HERE.parent.parent / "lib"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
