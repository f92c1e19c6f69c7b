"""Measures what each step of making a board image saves, by switching the step off.

Heap is counted in bytes on the 64-bit VM, which needs about twice as much as a 32-bit board.
"""

from __future__ import annotations

import ast
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tools.bundle.image import collect_sources, compile_image
from tools.bundle.package_tree import APPLICATION, LIBRARY
from tools.vm import process

_BOARD = "host"
_HEAP = "256k"  # enough for the image without one of the steps

_IMPORT_LIBRARY = """
import gc
gc.collect(); before = gc.mem_alloc()
from umqtt5 import Client, tcp
gc.collect()
print("heap", gc.mem_alloc() - before)
"""

# the device without a broker: the loop runs three times and the program ends
_RUN_DEVICE = """
import gc, sys
import boot
from app import node
rounds = 0
step = node.Node.step
def count(self):
    global rounds
    step(self)
    rounds += 1
    if rounds == 3:
        gc.collect()
        print("heap", gc.mem_alloc())
        sys.exit()
node.Node.step = count
import main
"""

_CONFIG = {
    "device": "savings",
    "broker": {"host": "127.0.0.1", "port": 9},
    "watchdog": False,
    "ntp": [],
    "sensors": [{"kind": kind, "period": 60} for kind in ("load", "memory_available", "disk_free", "uptime")],
    "actuators": [{"name": pin, "pin": pin} for pin in ("lamp", "relay")],
}


class Saving(NamedTuple):
    """Bytes that one step saves: heap of the imported library, heap of a device, size of the .mpy files."""

    step: str
    library: int
    device: int
    mpy: int


def measure() -> Iterator[Saving]:
    """The saving of each step: the image without it compared with the image as it is."""
    sources = collect_sources(_BOARD, whole_library=True)
    everything = _cost(sources)
    for step, files, names in (
        ("One file for modules that are loaded together", _modules_apart(sources), True),
        ("Short private names", sources, False),
        ("Release of the config check", _without(sources, "main.py", "_release_config_modules"), True),
        ("Release of constructors", _without(sources, "app/node.py", "_release_constructors"), True),
    ):
        cost = _cost(files, names)
        yield Saving(step, *(there - here for there, here in zip(cost, everything, strict=True)))


def _cost(files: Mapping[str, str], short_names: bool = True) -> tuple[int, int, int]:
    with tempfile.TemporaryDirectory() as name:
        image, flash = Path(name) / "image", Path(name) / "flash"
        flash.mkdir()
        compile_image(files, image, short_names)
        (flash / "config.json").write_text(json.dumps(_CONFIG), encoding="utf-8")
        size = sum(path.stat().st_size for path in image.rglob("*.mpy"))
        return _heap(image, flash, _IMPORT_LIBRARY), _heap(image, flash, _RUN_DEVICE), size


def _heap(image: Path, flash: Path, code: str) -> int:
    process_ = process.start_vm(["-c", code], module_path=[image], cwd=flash, heap=_HEAP)
    output, _ = process_.communicate(timeout=60)
    found = re.search(r"^heap (\d+)$", output, re.MULTILINE)
    if not found:
        raise RuntimeError(f"the VM printed: {output.strip()}")
    return int(found[1])


def _modules_apart(sources: Mapping[str, str]) -> dict[str, str]:
    """The image with each module in a file of its own, except `config`: a device releases it as one file."""
    files = dict(sources)
    for package, folder in ((LIBRARY, "umqtt5"), (APPLICATION, "app")):
        for file in package.bundles:
            if file != "config":
                del files[f"{folder}/{file}.py"]
        for module in package.modules:
            if package.file_of_module.get(module) != "config":
                files[f"{folder}/{module}.py"] = (package.folder / f"{module}.py").read_text(encoding="utf-8")
    return files


def _without(sources: Mapping[str, str], path: str, function: str) -> dict[str, str]:
    """The image with a function that does nothing. Raises ValueError if there is no such function."""
    tree = ast.parse(sources[path])
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == function]
    if not found:
        raise ValueError(f"{path} has no function {function}")
    for node in found:
        node.body = [ast.Pass()]
    return {**sources, path: ast.unparse(tree) + "\n"}


def markdown() -> str:
    """The savings as a Markdown table."""
    rows = [
        f"| {saving.step} | {saving.library:,} | {saving.device:,} | {saving.mpy:,} |" for saving in measure()
    ]
    head = ["| step | heap of the library, B | heap of a device, B | .mpy, B |", "|---|---:|---:|---:|"]
    return "\n".join([*head, *rows]) + "\n"
