"""Interoperability tests: the client's packets against three other MQTT 5.0 codecs, in both directions.

Puts the unit tests and lib on sys.path.
"""

import os
import sys
from pathlib import Path

# number of random examples per test; tests of mutated packets use MUTATIONS
EXAMPLES = int(os.environ.get("EXAMPLES", "120"))
MUTATIONS = 8 * EXAMPLES

HERE = Path(__file__).parent
for folder in (HERE.parent / "unit", HERE.parent.parent / "lib"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
