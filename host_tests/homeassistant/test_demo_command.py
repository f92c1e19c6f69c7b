"""`make demo ARGS=--homeassistant` with the real Home Assistant: its devices appear, obey, and disappear."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from host_tests.device.test_broker_command import running
from host_tests.homeassistant.installation import installed
from host_tests.homeassistant.server import HomeAssistant
from tools import broker
from tools.demo.command import DEVICE_NAMES
from tools.paths import ROOT

# one pytest worker runs all tests with Home Assistant, because they share it
pytestmark = [pytest.mark.xdist_group("homeassistant"), pytest.mark.timeout(240)]

LAMPS = [f"switch.demo_{name}_lamp" for name in DEVICE_NAMES]


def check_demo(home_assistant: HomeAssistant, url: str) -> None:
    """Check that the devices of a demo appear, can be switched, and are removed when the demo ends."""
    command = [sys.executable, "-m", "tools", "demo", "--plain", "--homeassistant", "--broker", url]
    demo = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        for lamp in LAMPS:
            home_assistant.wait_for_state(lamp, "off")
        home_assistant.call_service("switch.turn_on", LAMPS[0])
        home_assistant.wait_for_state(LAMPS[0], "on")
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0
        home_assistant.wait_until(lambda: not set(LAMPS) & set(home_assistant.states()))
    finally:
        demo.kill()
        demo.wait()


def test_the_devices_of_the_demo_appear_and_are_removed_at_its_end(
    home_assistant: HomeAssistant, mosquitto: broker.Address
) -> None:
    check_demo(home_assistant, str(mosquitto))


def test_home_assistant_joins_the_demo_at_the_broker_of_make_broker(tmp_path: Path) -> None:
    """With a password, and the protocol version that docs/homeassistant.md says."""
    program = installed()
    if program is None:
        pytest.skip("Home Assistant is not installed. Try: make test-homeassistant")
    (tmp_path / "mqtt.password").write_text("secret\n")
    (tmp_path / "homeassistant").mkdir()
    with running("broker", "--password-file", str(tmp_path / "mqtt.password")) as server:
        url = server.wait_for(r"make demo BROKER=(\S+)$")[1]
        address = replace(broker.parse_url(url), user="umqtt5", password="secret")
        home_assistant = HomeAssistant(program, tmp_path / "homeassistant", address, "5")
        try:
            check_demo(home_assistant, url)
        finally:
            home_assistant.stop()
