"""Records the output of the programs: `python -m host_tests.compatibility FOLDER`, with `umqtt` in FOLDER."""

import sys
import tempfile
from pathlib import Path

from host_tests.compatibility.laboratory import HERE, SCENARIOS, Laboratory

for program in SCENARIOS:
    with tempfile.TemporaryDirectory() as name:
        record = Laboratory(Path(name)).run(program, "vm", Path(sys.argv[1]).resolve(), "umqtt")
    (HERE / "expected" / f"{program}.txt").write_text(record)
    print(f"---- {program}\n{record}")
