"""Three decoders and encoders that others wrote check our bytes. The unit tests' helpers are found here."""

import os
import sys
from pathlib import Path

# for each test; of mutated packets there are more
EXAMPLES = int(os.environ.get("EXAMPLES", "120"))
MUTATIONS = 8 * EXAMPLES

HERE = Path(__file__).parent
for folder in (HERE.parent / "unit", HERE.parent.parent / "lib"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
