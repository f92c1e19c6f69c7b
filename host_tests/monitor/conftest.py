from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from host_tests.conftest import require_mosquitto
from host_tests.device.observer import PREFIX, running_device
from tools.broker import Mosquitto
from tools.vm.device import SimulatedDevice


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def private_broker() -> Iterator[Mosquitto]:
    """A broker for one test, which may stop and restart it."""
    require_mosquitto()
    with Mosquitto() as running:
        yield running


@pytest.fixture
def dut(private_broker: Mosquitto, tmp_path: Path) -> Iterator[SimulatedDevice]:
    """The device under test: the real firmware in the VM, with sensors and switches."""
    with running_device(tmp_path / "dut", private_broker.address) as running:
        yield running


@pytest.fixture
def prefix() -> str:
    return PREFIX
