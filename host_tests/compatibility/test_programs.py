"""Programs for umqtt.simple and umqtt.robust do the same with umqtt5: only the import line differs.

`expected/` has what each program prints, and what the broker passes on, with umqtt.simple 1.8.0 and
umqtt.robust 1.0.3, recorded by `python -m host_tests.compatibility FOLDER`. The original of this test is the
newest that PyPI has, 1.3.4 and 1.0. It runs the programs that need no newer one. To run all, set UMQTT_FOLDER
to a folder with a newer `umqtt`: `micropython -m mip install --target FOLDER umqtt.robust`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from host_tests.compatibility.laboratory import HERE, PROGRAMS, SCENARIOS, Laboratory
from host_tests.conftest import require_mosquitto
from tools.bench import peers
from tools.bundle.compiler import compile_package
from tools.paths import LIB

EXPECTED = HERE / "expected"
each_program = pytest.mark.parametrize("name", SCENARIOS)


@pytest.fixture
def laboratory(tmp_path: Path) -> Laboratory:
    """Return a laboratory in a folder of its own."""
    require_mosquitto()
    return Laboratory(tmp_path)


def test_each_program_has_a_scenario_and_a_record() -> None:
    assert {path.stem for path in PROGRAMS.glob("*.py")} == set(SCENARIOS)
    assert {path.stem for path in EXPECTED.glob("*.txt")} == set(SCENARIOS)


@pytest.fixture(scope="session")
def board_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the library as it is on a board: compiled, with short private names."""
    folder = tmp_path_factory.mktemp("mpy")
    compile_package(folder, 3)
    return folder


@pytest.mark.parametrize("form", ["vm", "mpy", "cpython"])
@each_program
def test_with_umqtt5_a_program_does_what_it_does_with_the_original(
    name: str, form: str, laboratory: Laboratory, board_image: Path
) -> None:
    if form == "cpython" and SCENARIOS[name].needs_vm:
        pytest.skip("the program runs on MicroPython only")
    expected = (EXPECTED / f"{name}.txt").read_text()
    library = board_image if form == "mpy" else LIB
    record = laboratory.run(name, "cpython" if form == "cpython" else "vm", library, "umqtt5", expected)
    assert record == expected


@each_program
def test_the_original_does_what_is_recorded(name: str, laboratory: Laboratory) -> None:
    folder = os.environ.get("UMQTT_FOLDER")
    if not folder and SCENARIOS[name].needs_newest:
        pytest.skip("PyPI has no umqtt that is new enough, see UMQTT_FOLDER")
    try:
        library = Path(folder) if folder else peers.fetch("umqtt.robust")
    except peers.PeerUnavailable as missing:
        pytest.skip(f"umqtt.robust could not be fetched: {missing}")
    expected = (EXPECTED / f"{name}.txt").read_text()
    assert laboratory.run(name, "vm", library, "umqtt", expected) == expected
