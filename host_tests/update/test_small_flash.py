"""An update over the air in which every file has changed fits the flash of a Pico W."""

from __future__ import annotations

import re
from pathlib import Path

from host_tests.vms import run_64
from tools.board import definition
from tools.bundle import image
from tools.paths import FIRMWARE, LIB
from tools.update_offer import build_update

HERE = Path(__file__).parent
_PATH = [HERE, HERE.parent / "journal", HERE.parent / "unit", FIRMWARE, LIB]
_BLOCKS = 212  # 848 KB
_RESERVE = 8  # blocks that an update leaves free for the application


def _run(call: str) -> str:
    code = f"import small_flash\nsmall_flash.{call}"
    return run_64(["-c", code], _PATH, timeout=110, heap="16m")


def test_updates_of_all_files_fit_a_pico_w_with_a_tenth_to_spare() -> None:
    output = _run(f"update_device({str(image.build_image('rpi_pico_w'))!r}, 4)")
    peaks = [int(peak) for peak in re.findall(r"^update \d peak (\d+)", output, re.M)]
    assert len(peaks) == 4 and max(peaks) <= _BLOCKS * 0.9, output
    # the files of the cable are removed when the second update needs their room
    after = [int(count) for count in re.findall(r"after (\d+)$", output, re.M)]
    assert after[1] == after[2] == after[3] < after[0] < _BLOCKS * 0.9, output


def test_the_estimate_of_an_update_is_what_it_takes_on_littlefs() -> None:
    output = _run(f"find_limit({str(image.build_image('rpi_pico_w'))!r})")
    accepted = [(int(a), int(b)) for a, b in re.findall(r"^free (\d+) left (\d+)$", output, re.M)]
    refused = re.search(r"^free (\d+) the update needs (\d+) bytes of flash, (\d+) are free$", output, re.M)
    assert refused and len(accepted) > 3, output
    smallest, left = accepted[-1]
    assert int(refused[1]) == smallest - 1 and int(refused[3]) == (smallest - 1) * 4096
    assert int(refused[2]) == smallest * 4096, output
    # littlefs may need a block less; the manifest, 3 blocks, is removed at the end
    assert _RESERVE <= left - 3 <= _RESERVE + 1, output


def test_the_paths_of_all_boards_are_told_apart_in_an_archive() -> None:
    import zlib

    for board in definition.list_boards():
        paths = {name for name in build_update(image.build_image(board), 1).names if name != "manifest"}
        paths |= {parent.as_posix() for path in paths for parent in Path(path).parents} - {"."}
        assert len({zlib.crc32(path.encode()) for path in paths}) == len(paths), board
