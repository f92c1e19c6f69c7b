"""Journal tests: power cuts, killed devices, broker restarts. Puts the unit tests and lib on sys.path."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
for folder in (HERE.parent / "unit", HERE.parent.parent / "lib"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
