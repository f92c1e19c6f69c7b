"""Streams that are wrong at random. The unit tests' helper and the library are found here."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
for folder in (HERE.parent / "unit", HERE.parent.parent / "lib"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
