"""MicroPython's table of names grows while the device loads, not when the heap is full and fragmented."""

from __future__ import annotations

import re
from pathlib import Path

from tools.bundle import image
from tools.vm import process

_CODE = "import micropython\nimport app.node\nmicropython.qstr_info()"


def test_the_table_of_names_has_room_for_all_modules_once_the_device_is_loaded(tmp_path: Path) -> None:
    child = process.start_vm(["-c", _CODE], module_path=[image.build_image("host")], cwd=tmp_path)
    output, _ = child.communicate(timeout=60)
    match = re.search(r"n_pool=(\d+), n_qstr=(\d+)", output)
    assert match, output
    pools, names = int(match[1]), int(match[2])
    room = 20 * (2**pools - 1) - names  # the first pool has 20 entries, and each further one twice as many
    assert room > 280, output  # a device that uses all features loads some 280 names later
