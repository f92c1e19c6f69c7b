"""Measures the heap that the device application holds with a config, in the MicroPython VM.

The application is the compiled image of a board. The hardware and the network are replaced, and the clock is
simulated: see `vm/`.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tools.bundle import image
from tools.bundle.compiler import compile_modules
from tools.vm import process

_PROGRAMS = Path(__file__).parent / "vm"
_RUN_SECONDS = 60  # time of the simulated clock that a device runs before it is measured
_TIMEOUT = 120  # seconds
# a certificate that `umqtt5.tls` accepts; the measurement replaces TLS
_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
_KEY = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"


@dataclass(frozen=True)
class HeldHeap:
    """Result of a run: bytes of heap after the config was checked, and while the device runs.

    `missing` has the parts for which there was not enough memory.
    """

    check: int
    run: int
    missing: tuple[str, ...]


@cache
def _programs(board: str) -> Path:
    """Return the folder of the compiled programs in `vm/`, with the short names of the board's image."""
    sources = {path.stem: path.read_text(encoding="utf-8") for path in sorted(_PROGRAMS.glob("*.py"))}
    sources["measure_heap"] = image.minify_source(board, sources["measure_heap"])
    return compile_modules("heap", sources)


def _pieces(board: str, folder: str) -> list[str]:
    """Return the program as pieces; the VM collects garbage between them."""
    is_rp2 = board.startswith("rpi_")
    return [
        f"import measure_heap\nmeasure_heap.prepare_board({folder!r}, {is_rp2})",
        "measure_heap.begin_measurement()",
        "measure_heap.check_config()",
        "measure_heap.load_config()",
        "measure_heap.create_device()",
        *[f"measure_heap.run_device({_RUN_SECONDS // 4})"] * 4,
        "measure_heap.fill_dedup()",
        "measure_heap.print_report()",
    ]


def prepare(board: str) -> None:
    """Compile what `measure` needs for a board, so that threads do not do it at the same time."""
    image.build_image(board)
    _programs(board)


def measure(board: str, config: Mapping[str, Any]) -> HeldHeap:
    """Run a device with this config for a minute of its clock in the 32-bit VM.

    Raises RuntimeError, with the output, if the device does not run.
    """
    files = {name: data.decode() for name, data in _files(config).items()}
    write = f"for name, text in {files!r}.items():\n with open(name, 'w') as file:\n  file.write(text)"
    pieces = [write, *_pieces(board, "/flash")]
    return _parse(process.run_vm_32(pieces, [image.build_image(board), _programs(board)], _TIMEOUT))


def run_in_heap(board: str, config: Mapping[str, Any], heap: int) -> HeldHeap | None:
    """Run a device with this config in the 64-bit VM, with `heap` bytes for the device.

    Returns None if it did not run to the end.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, data in _files(config).items():
            (folder / file).write_bytes(data)
        code = process.link_image(image.build_image(board), folder)
        program = "\n".join(_pieces(board, str(code)))
        child = process.start_vm(
            ["-c", program], module_path=[_programs(board)], heap=str(heap + _own_heap(board)), cwd=folder
        )
        try:
            output, _ = child.communicate(timeout=_TIMEOUT)
        finally:
            process.stop_vm(child)
    try:
        return _parse(output)
    except RuntimeError:
        return None


@cache
def _own_heap(board: str) -> int:
    """Return the heap that the programs in `vm/` hold in the 64-bit VM."""
    program = "import gc, measure_heap\ngc.collect()\nprint('held', 0, gc.mem_alloc(), True, '-')"
    child = process.start_vm(["-c", program], module_path=[_programs(board)])
    return _parse(child.communicate(timeout=_TIMEOUT)[0]).run


def _files(config: Mapping[str, Any]) -> dict[str, bytes]:
    files = {"config.json": json.dumps(config).encode()}
    tls = config.get("broker", {}).get("tls") or {}
    for field, name in tls.items():
        files[name] = (_KEY if field == "key" else _CERTIFICATE).encode()
    return files


def _parse(output: str) -> HeldHeap:
    found = re.search(r"^held (\d+) (\d+) True (.*)$", output, re.MULTILINE)
    if not found:
        raise RuntimeError(f"the device did not run: {output.strip()[-2000:]}")
    return HeldHeap(int(found[1]), int(found[2]), () if found[3] == "-" else tuple(found[3].split()))
