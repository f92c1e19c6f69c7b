"""What the monitor knows and says, whatever is sent to it."""

from __future__ import annotations

import csv
import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from host_tests.board.rig import problem
from tools import broker
from tools.broker import Address
from tools.errors import Problem
from tools.monitor import alerts, device_state
from tools.monitor.device_state import DeviceState
from tools.monitor.model import Hub
from umqtt5 import Client

PREFIX = "test"


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with broker.running("iotcore") as found:
        yield found


@pytest.fixture
def hub(address: Address, tmp_path: Path) -> Iterator[Hub]:
    made = Hub(address, PREFIX, [alerts.parse("*/load>2")], tmp_path / "readings.csv")
    made.connect()
    yield made
    made.close()


@pytest.fixture
def stranger(address: Address) -> Iterator[Client]:
    """Somebody who may publish whatever they like."""
    client = Client(address.host, address.port, client_id="stranger", tx=4096, outbox=60000, inflight=64)
    client.connect()
    yield client
    client.disconnect()


def until(hub: Hub, condition: Callable[[], object], *others: Client) -> None:
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends, list(hub.events)[-5:]
        hub.poll(10)
        for other in others:
            other.poll(0)


HOSTILE = [
    ("sensor/load", b"NaN"),
    ("sensor/load", b"inf"),
    ("sensor/load", b"1e400"),
    ("sensor/load", b"\xff\xfe"),
    ("sensor/load", b"9" * 4000),
    ("sensor/load", b""),
    ("health", b"{"),
    ("health", b"[1]"),
    ("health", b'{"a": {"b": 1}, "c": 1e999, "d": null}'),
    ("health", b'{"x": ' + b"[" * 3000),
    ("status", b"\x1b[2J\x07<script>alert(1)</script>"),
    ("switch/lamp", b"[red]ON[/red]" * 100),
    ("light/lamp", b'{"state": {"state": "ON"}}'),
    ("light/lamp", b'{"a":' * 700),
]


@pytest.mark.parametrize("topic, payload", HOSTILE)
def test_what_strangers_send_is_taken_or_left(hub: Hub, stranger: Client, topic: str, payload: bytes) -> None:
    stranger.publish(f"{PREFIX}/odd/{topic}", payload)
    stranger.publish(f"{PREFIX}/odd/sensor/load", b"1.5", qos=1)
    until(hub, lambda: hub.watch.devices.get("odd") and hub.watch.devices["odd"].readings, stranger)
    state = json.loads(json.dumps(hub.state(), allow_nan=False))
    odd = state["devices"]["odd"]
    assert [value for _, value in odd["readings"]["load"]["points"]] == [1.5]
    said = json.dumps(state)
    assert "\\u001b" not in said and "\\u0007" not in said
    assert all(len(text) <= device_state.MAX_NAME for text in (odd["status"], *odd["switches"].values()))


def test_its_memory_is_bounded(hub: Hub, stranger: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_state, "MAX_DEVICES", 5)
    monkeypatch.setattr(device_state, "MAX_NAMES", 3)
    for i in range(20):
        stranger.publish(f"{PREFIX}/d{i}/sensor/r", b"1", qos=1)
        stranger.publish(f"{PREFIX}/d0/sensor/r{i}", b"1", qos=1)
        hub.poll(1)
        stranger.poll(1)
    stranger.publish(f"{PREFIX}/d0/status", b"last", qos=1)
    until(hub, lambda: hub.watch.devices["d0"].status == "last", stranger)
    assert len(hub.watch.devices) == 5
    assert all(len(device.readings) <= 3 for device in hub.watch.devices.values())
    assert hub.state()["dropped"] > 20


def test_a_command_goes_only_to_a_switch_that_there_is(hub: Hub, stranger: Client) -> None:
    stranger.publish(f"{PREFIX}/real/switch/lamp", b"OFF", qos=1)
    until(hub, lambda: "real" in hub.watch.devices, stranger)
    assert hub.switch("real", "lamp", "ON") is None
    assert "no such switch" in str(hub.switch("real", "lamp/../../x", "ON"))
    assert "no such switch" in str(hub.switch("nobody", "lamp", "ON"))
    assert "expected ON" in str(hub.switch("real", "lamp", "EXPLODE"))


def test_a_reading_out_of_its_range_is_told_once_and_its_return(hub: Hub, stranger: Client) -> None:
    for value in (b"1", b"3", b"4", b"1"):
        stranger.publish(f"{PREFIX}/kitchen/sensor/load", value, qos=1)
    until(
        hub,
        lambda: len(hub.watch.devices.get("kitchen", DeviceState()).readings.get("load", ())) == 4,
        stranger,
    )
    said = [text for _, text in hub.events if "load" in text]
    assert said == ["ALERT kitchen: load 3 > 2", "kitchen: load again as it should be"]
    assert hub.alerts.of("kitchen") == []


def test_readings_are_recorded(hub: Hub, stranger: Client, tmp_path: Path) -> None:
    stranger.publish(f"{PREFIX}/logged/sensor/load", b"0.25", qos=1)
    until(hub, lambda: "logged" in hub.watch.devices, stranger)
    rows = list(csv.reader((tmp_path / "readings.csv").open()))
    assert rows[-1][1:] == ["logged", "load", "0.25"]


def test_a_device_that_falls_silent_is_told_on_a_simulated_clock() -> None:
    said: list[str] = []
    here = alerts.Alerts([], said.append)
    device = DeviceState(status="online")
    for second in range(0, 100, 20):
        device.heard = 1000.0 + second
        here.look({"d": device}, 1000.0 + second)
    here.look({"d": device}, 1080.0 + 5 * 20 - 1)
    assert not said
    here.look({"d": device}, 1080.0 + 5 * 20 + 1)
    assert said == ["ALERT d: says nothing any more"]
    device.status = "offline"
    here.look({"d": device}, 1300.0)
    assert here.of("d") == ["offline"]
    device.status, device.heard = "online", 1400.0
    here.look({"d": device}, 1400.0)
    assert here.of("d") == []


def test_what_the_options_take(address: Address) -> None:
    assert alerts.parse("kitchen/load>2") == alerts.Rule("kitchen", "load", ">", 2)
    assert alerts.parse("*/t<-3.5") == alerts.Rule("*", "t", "<", -3.5)
    for wrong in ("load>2", "a/b", "a/b>x", ""):
        with pytest.raises(Problem, match="expected device/reading>number"):
            alerts.parse(wrong)
    gone = broker.free_port()
    said = problem("monitor", "--broker", f"mqtt://u:secret@127.0.0.1:{gone}")
    assert (
        f"mqtt://127.0.0.1:{gone} does not take us" in said and "make doctor" in said and "secret" not in said
    )
    assert "expected iotcore" in problem("monitor", "--broker", "http://x")


def test_only_what_is_new_is_told_again(hub: Hub, stranger: Client) -> None:
    stranger.publish(f"{PREFIX}/one/sensor/load", b"1", qos=1)
    until(hub, lambda: "one" in hub.watch.devices, stranger)
    first = hub.state()
    assert "one" not in hub.state(first["now"])["devices"]
    stranger.publish(f"{PREFIX}/one/sensor/load", b"2", qos=1)
    until(hub, lambda: hub.watch.devices["one"].readings["load"] == deque([1, 2]), stranger)
    assert [v for _, v in hub.state(first["now"])["devices"]["one"]["readings"]["load"]["points"]] == [2]


def test_lights_and_valves_are_switched_at_their_own_topics(hub: Hub, stranger: Client) -> None:
    heard: list[str] = []
    stranger.subscribe(f"{PREFIX}/house/+/+/set", lambda message: heard.append(message.topic), qos=1)
    stranger.publish(f"{PREFIX}/house/light/desk", b'{"state": "ON", "brightness": 9}', qos=1)
    stranger.publish(f"{PREFIX}/house/valve/garden", b"open", qos=1)
    until(hub, lambda: len(hub.watch.devices.get("house", DeviceState()).switches) == 2, stranger)
    assert hub.watch.devices["house"].switches == {"desk": "ON", "garden": "ON"}
    for name in ("desk", "garden"):
        assert hub.switch("house", name, "OFF") is None
    until(hub, lambda: len(heard) == 2, stranger)
    assert heard == [f"{PREFIX}/house/light/desk/set", f"{PREFIX}/house/valve/garden/set"]
