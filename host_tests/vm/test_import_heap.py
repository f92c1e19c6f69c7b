"""The heap that the import of each public module needs: that of `umqtt5.Client` and the module's own size."""

from __future__ import annotations

from pathlib import Path

import pytest

from host_tests.vms import run_64
from tools.bundle.compiler import compile_package
from tools.paths import LIB
from tools.vm import process

CLIENT = "from umqtt5 import Client"
MODULES = (
    "aio journal link_statistics properties request respond robust simple streaming streaming_receive "
    "streaming_send tls"
).split()
_SLACK = 2048  # bytes
_STEP = 256  # bytes, of the search for the smallest heap
# bytes in addition to _SLACK
_EXCEPTIONS = {
    ("journal", "sources"): 3072,  # after the core, two large files are compiled
    ("streaming_receive", "sources"): 1024,  # the core leaves a heap that is fragmented
    ("tls", "sources"): 1024,  # it compiles a large file as well
    ("aio", "mpy"): 3584,  # aio.mpy is a large file, and is loaded before the core
}


@pytest.fixture(scope="session")
def mpy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the library as it is on a board."""
    folder = tmp_path_factory.mktemp("mpy")
    compile_package(folder, 3)
    return folder


def runs_in_heap(code: str, folder: Path, size: int) -> bool:
    # relative: MicroPython stores the paths of modules on the heap, so their length changes its fragmentation
    child = process.start_vm(["-c", code], module_path=[Path(folder.name)], cwd=folder.parent, heap=str(size))
    child.communicate(timeout=30)
    return child.returncode == 0


@pytest.fixture(scope="session", params=["sources", "mpy"])
def form(request: pytest.FixtureRequest, mpy_folder: Path) -> tuple[str, Path, int]:
    """Return the form of the library, its folder, and the smallest heap in which `Client` is imported."""
    folder = LIB if request.param == "sources" else mpy_folder
    low, high = 16 * 1024 // _STEP, 160 * 1024 // _STEP
    while high - low > 1:
        middle = (low + high) // 2
        if runs_in_heap(CLIENT, folder, middle * _STEP):
            high = middle
        else:
            low = middle
    return request.param, folder, high * _STEP


@pytest.mark.parametrize("module", MODULES)
def test_an_import_needs_the_heap_of_the_client_and_its_own_size(
    module: str, form: tuple[str, Path, int]
) -> None:
    name, folder, smallest = form
    measure = f"{CLIENT}; import gc; gc.collect(); a = gc.mem_alloc(); import umqtt5.{module}; gc.collect()"
    own = int(run_64(["-c", f"{measure}; print(gc.mem_alloc() - a)"], [folder], heap="1m"))
    heap = smallest + own + _SLACK + _EXCEPTIONS.get((module, name), 0)
    assert runs_in_heap(f"import umqtt5.{module}", folder, heap), f"{module} needs more than {heap} bytes"


@pytest.mark.parametrize("module", ["core", *MODULES])
def test_an_import_restores_the_threshold_of_the_program(module: str) -> None:
    code = (
        "import gc; gc.threshold(%d); import umqtt5.%s; print(gc.threshold());"
        "gc.threshold(76800); import umqtt5.aio, umqtt5.simple, umqtt5.journal; print(gc.threshold())"
    )
    for threshold in (-1, 51200):
        assert run_64(["-c", code % (threshold, module)], [LIB]).split() == [str(threshold), "76800"]


def test_a_threshold_that_is_set_between_two_imports_is_restored() -> None:
    code = "import gc, umqtt5; gc.threshold(64000); umqtt5.Client; print(gc.threshold())"
    assert run_64(["-c", code], [LIB]).strip() == "64000"
