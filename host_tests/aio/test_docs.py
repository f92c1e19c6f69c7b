"""The examples of docs/asyncio.md print what their comments say, on CPython and in the MicroPython VM."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from host_tests.vms import run_64
from tools import broker
from tools.paths import LIB, ROOT

PAGE = (ROOT / "docs" / "asyncio.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_has_five_examples() -> None:
    assert len(BLOCKS) == 5


@pytest.mark.parametrize("interpreter", ["cpython", "vm"])
@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_each_example_prints_what_its_comments_say(
    block: str, interpreter: str, mosquitto: broker.Address, tmp_path: Path
) -> None:
    expected = re.findall(r"(?:print\(.*\)  |^ +)# ([^#\n]+)$", block, re.MULTILINE)
    program = tmp_path / "example.py"
    program.write_text(block.replace('"broker.local"', f'"{mosquitto.host}", {mosquitto.port}'))
    if interpreter == "vm":
        output = run_64([str(program)], [LIB], heap="256k")
    else:
        environment = dict(os.environ, PYTHONPATH=str(LIB))
        command = [sys.executable, str(program)]
        output = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment).stdout
    assert output.splitlines() == expected and expected
