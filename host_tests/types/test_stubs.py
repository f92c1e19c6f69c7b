"""The stubs beside the modules of the library: complete, equal to the code, and free of errors themselves."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from host_tests.types.checkers import run_pyright
from tools.bundle.package_tree import CPYTHON_ONLY, LIBRARY
from tools.paths import LIB, ROOT

PACKAGE = LIB / "umqtt5"
ALLOWED = ROOT / "host_tests" / "types" / "stubtest.allow"


def public_modules() -> list[Path]:
    """The modules that users import: those of the package itself, and each folder that exports names."""
    modules = [path for path in PACKAGE.glob("*.py") if path.name not in CPYTHON_ONLY]
    folders = [path for path in PACKAGE.glob("*/__init__.py") if "__all__" in path.read_text()]
    return modules + folders


def test_each_public_module_has_a_stub() -> None:
    assert len(public_modules()) > 20
    assert [path.name for path in public_modules() if not path.with_suffix(".pyi").exists()] == []
    assert (PACKAGE / "py.typed").exists()


def test_each_stub_has_a_module() -> None:
    assert [path for path in PACKAGE.rglob("*.pyi") if not path.with_suffix(".py").exists()] == []


def test_no_stub_goes_to_a_board() -> None:
    for name in ("package.json", "manifest.py"):
        assert not re.search(r"\.pyi|py\.typed|typing", (LIB / name).read_text())
    assert "typing" not in LIBRARY.modules


def run_stubtest(*arguments: str) -> str:
    """Compare the stubs with the modules at run time; return the differences, one a line."""
    command = [sys.executable, "-m", "mypy.stubtest", "umqtt5", "--concise"]
    command += ["--mypy-config-file", "pyproject.toml", "--allowlist", str(ALLOWED), *arguments]
    environment = dict(os.environ, PYTHONPATH=str(LIB))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)
    differences = done.stdout.splitlines()
    assert not differences or "error" not in done.stderr
    # a function of another module that works as a method has the name of its object instead of `self`
    is_method = re.compile(r'stub parameter "self" differs from runtime parameter "(client|s)"$')
    return "\n".join(line for line in differences if not is_method.search(line))


def test_the_stubs_have_the_names_signatures_and_defaults_of_the_code() -> None:
    assert run_stubtest() == ""


def test_the_asyncio_client_takes_the_arguments_of_the_sync_client() -> None:
    """At run time it passes them on, so stubtest can't compare them."""
    sync, aio = (_methods(f"{name}/client.pyi") for name in ("core", "aio"))
    for name in ("__init__", "topic", "will"):
        assert aio[name] == sync[name]


def _methods(path: str) -> dict[str, str]:
    tree = ast.parse((PACKAGE / path).read_text())
    (client,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return {node.name: ast.unparse(node.args) for node in client.body if isinstance(node, ast.FunctionDef)}


def test_mypy_finds_no_error_in_the_library() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "lib/umqtt5"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("micropython", [False, True], ids=["cpython", "micropython"])
def test_pyright_finds_no_error_in_the_stubs(micropython: bool, tmp_path: Path) -> None:
    (tmp_path / "lib").symlink_to(LIB)
    assert run_pyright(tmp_path, micropython, include=["lib/umqtt5/**/*.pyi", "lib/umqtt5/typing.py"]) == []
