"""The simulated `network` module behaves as the ports of MicroPython do."""

from __future__ import annotations

from pathlib import Path

import pytest

from host_tests.simulated_hardware import SimulatedChip, SimulatedIO

JOIN = """
import network, time
wlan = network.WLAN(network.WLAN.IF_STA)
def status():
    return {getattr(network, n): n for n in dir(network) if n[:5] == "STAT_" }[wlan.status()]
def wait_until(wanted):
    while status() != wanted:
        time.sleep_ms(5)
    print(wanted, wlan.isconnected())
wlan.active(True)
wlan.connect("home", "secret word")
"""
HOME = {"ssid": "home", "password": "secret word"}


@pytest.mark.parametrize("chip", ["esp32", "rp2040"])
def test_a_station_connects_loses_the_link_and_reconnects_by_itself(chip: str, tmp_path: Path) -> None:
    SimulatedIO(tmp_path / "sim")["wlan"] = {**HOME, "delay": 200, "rssi": -71}
    code = (
        JOIN
        + """
wait_until("STAT_CONNECTING"); wait_until("STAT_GOT_IP")
print(wlan.ifconfig()[0], wlan.status("rssi"))
wait_until("STAT_NO_AP_FOUND"); wait_until("STAT_GOT_IP")
wlan.disconnect(); print(status(), wlan.isconnected(), wlan.ifconfig()[0])
"""
    )
    with SimulatedChip(tmp_path, ["-c", code], chip=chip) as device:
        device.wait_for_line("127.0.0.1 -71")
        device.io["wlan"] = {**HOME, "up": False}
        device.wait_for_line("STAT_NO_AP_FOUND False")
        device.io["wlan"] = HOME
        assert device.wait() == 0
        assert list(device.lines) == [
            "STAT_CONNECTING False",
            "STAT_GOT_IP True",
            "127.0.0.1 -71",
            "STAT_NO_AP_FOUND False",
            "STAT_GOT_IP True",
            "STAT_IDLE False 0.0.0.0",
        ]


@pytest.mark.parametrize(
    ("wlan", "status"),
    [({**HOME, "password": "other"}, "STAT_WRONG_PASSWORD"), ({**HOME, "ssid": "far"}, "STAT_NO_AP_FOUND")],
)
def test_the_status_says_why_a_station_cannot_connect(
    wlan: dict[str, str], status: str, tmp_path: Path
) -> None:
    SimulatedIO(tmp_path / "sim")["wlan"] = wlan
    with SimulatedChip(tmp_path, ["-c", JOIN + f"wait_until('{status}')"]) as device:
        assert device.wait() == 0
        assert list(device.lines) == [f"{status} False"]


def test_connect_raises_oserror_while_the_radio_is_off(tmp_path: Path) -> None:
    code = "import network\ntry:\n    network.WLAN().connect('x', 'y')\nexcept OSError as e: print(e)"
    with SimulatedChip(tmp_path, ["-c", code]) as device:
        assert device.wait() == 0
        assert list(device.lines) == ["Wifi Not Started"]
