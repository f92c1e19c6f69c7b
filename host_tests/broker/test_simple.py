"""A program for umqtt.simple, with umqtt.simple and with ours: it sees the same."""

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


def seen(module: str, path: Path, address: broker.Address) -> str:
    arguments = [str(PROGRAM), module, address.host, str(address.port), "t" + secrets.token_hex(4)]
    return run_64(arguments, [path], heap="256k")


def test_a_program_of_theirs_sees_the_same(mosquitto: broker.Address) -> None:
    try:
        theirs = peers.fetch("umqtt.simple")
    except peers.PeerUnavailable as missing:
        pytest.skip(f"umqtt.simple is not to be had: {missing}")
    expected = seen("umqtt.simple", theirs, mosquitto)
    assert expected.endswith("done\n"), expected
    assert seen("umqtt5.simple", LIB, mosquitto) == expected
    assert seen("umqtt5.robust", LIB, mosquitto) == expected


@pytest.mark.parametrize("module", ["umqtt5.simple", "umqtt5.robust"])
def test_it_runs_on_cpython(module: str, mosquitto: broker.Address) -> None:
    arguments = [str(PROGRAM), module, mosquitto.host, str(mosquitto.port), "t" + secrets.token_hex(4)]
    environment = dict(os.environ, PYTHONPATH=str(LIB))
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.stdout.endswith("done\n"), done.stdout + done.stderr
