"""The programs that users copy: the complete snippets of README and docs, and the files in examples/."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tools.paths import ROOT

# programs that the types of one interpreter do not allow
NOT_FOR_MICROPYTHON = {
    "optional_features_9.py": "the stubs of MicroPython lack BytesIO.readinto",
    "sensor_on_esp32_0.py": "the stubs of MicroPython have no types for dht",
}
_MICROPYTHON_ONLY = re.compile(
    r"^(?:import|from) (?:machine|network|micropython|esp32|rp2|neopixel|onewire|ds18x20|dht)\b"
    r"|\b(?:sleep_ms|ticks_ms|ticks_diff|sleep_us|ticks_us)\b",
    re.MULTILINE,
)
# modules that the files in examples/ import
EXAMPLE_MODULES = ("clock.py", "settings.py")
_USES_LIBRARY = re.compile(r"^(?:from|import) umqtt5", re.MULTILINE)


def collect_programs() -> dict[str, str]:
    """Return the source of each program by the name of its file."""
    found = {}
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        blocks = re.findall(r"^```python[^\n]*\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
        for i, block in enumerate(blocks):
            if _USES_LIBRARY.search(block):
                found[f"{page.stem.replace('-', '_')}_{i}.py"] = block
    for path in sorted((ROOT / "examples").rglob("*.py")):
        name = "_".join(path.relative_to(ROOT).with_suffix("").parts).replace("-", "_")
        found[f"{name}.py"] = path.read_text()
    return found


def write_programs(folder: Path, micropython: bool) -> int:
    """Write the programs for one interpreter into `folder`/programs; return their number.

    Programs that use only what both interpreters have are checked with the types of both.
    """
    (folder / "programs").mkdir()
    for name in EXAMPLE_MODULES:
        shutil.copy(ROOT / "examples" / name, folder)
    count = 0
    for name, source in collect_programs().items():
        if name not in NOT_FOR_MICROPYTHON if micropython else not _MICROPYTHON_ONLY.search(source):
            (folder / "programs" / name).write_text(source)
            count += 1
    return count
