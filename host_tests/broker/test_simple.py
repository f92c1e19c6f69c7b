"""umqtt5.simple and umqtt5.robust replace umqtt.simple: the same program prints the same output."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from host_tests.vms import run_64
from tools import broker
from tools.bench import peers
from tools.paths import LIB

PROGRAM = Path(__file__).with_name("simple_program.py")


def run_program(module: str, path: Path, address: broker.Address) -> str:
    arguments = [str(PROGRAM), module, address.host, str(address.port), "t" + secrets.token_hex(4)]
    return run_64(arguments, [path], heap="256k")


def test_a_program_for_umqtt_simple_prints_the_same_with_umqtt5(mosquitto: broker.Address) -> None:
    try:
        original = peers.fetch("umqtt.simple")
    except peers.PeerUnavailable as missing:
        pytest.skip(f"umqtt.simple could not be fetched: {missing}")
    expected = run_program("umqtt.simple", original, mosquitto)
    assert expected.endswith("done\n"), expected
    assert run_program("umqtt5.simple", LIB, mosquitto) == expected
    assert run_program("umqtt5.robust", LIB, mosquitto) == expected


@pytest.mark.parametrize("module", ["umqtt5.simple", "umqtt5.robust"])
def test_the_program_runs_on_cpython(module: str, mosquitto: broker.Address) -> None:
    arguments = [str(PROGRAM), module, mosquitto.host, str(mosquitto.port), "t" + secrets.token_hex(4)]
    environment = dict(os.environ, PYTHONPATH=str(LIB))
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.stdout.endswith("done\n"), done.stdout + done.stderr
