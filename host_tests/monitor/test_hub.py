"""The monitor's model: device state from MQTT, hostile input, alerts, commands, recording, snapshots."""

from __future__ import annotations

import csv
import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from host_tests.board.rig import run_failing_tool
from tools import broker
from tools.broker import Address
from tools.monitor import alerts, device_state
from tools.monitor.device_state import DeviceState
from tools.monitor.model import MonitorModel
from umqtt5 import Client

PREFIX = "test"


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with broker.run_broker("iotcore") as broker_address:
        yield broker_address


@pytest.fixture
def model(address: Address, tmp_path: Path) -> Iterator[MonitorModel]:
    connected = MonitorModel(address, PREFIX, [alerts.parse_rule("*/load>2")], tmp_path / "readings.csv")
    connected.connect()
    yield connected
    connected.close()


@pytest.fixture
def other_client(address: Address) -> Iterator[Client]:
    """Another client of the broker, which may publish anything."""
    client = Client(address.host, address.port, client_id="stranger", tx=4096, outbox=60000, inflight=64)
    client.connect()
    yield client
    client.disconnect()


def wait_until(model: MonitorModel, condition: Callable[[], object], *others: Client) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, list(model.events)[-5:]
        model.poll(10)
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
def test_hostile_payloads_are_ignored_or_shown_safely(
    model: MonitorModel, other_client: Client, topic: str, payload: bytes
) -> None:
    other_client.publish(f"{PREFIX}/odd/{topic}", payload)
    other_client.publish(f"{PREFIX}/odd/sensor/load", b"1.5", qos=1)
    wait_until(
        model,
        lambda: model.monitor.devices.get("odd") and model.monitor.devices["odd"].readings,
        other_client,
    )
    state = json.loads(json.dumps(model.snapshot(), allow_nan=False))
    odd = state["devices"]["odd"]
    assert [value for _, value in odd["readings"]["load"]["points"]] == [1.5]
    text = json.dumps(state)
    assert "\\u001b" not in text and "\\u0007" not in text
    assert all(
        len(value) <= device_state.MAX_NAME_LENGTH for value in (odd["status"], *odd["switches"].values())
    )


def test_the_number_of_devices_and_readings_is_limited(
    model: MonitorModel, other_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_state, "MAX_DEVICES", 5)
    monkeypatch.setattr(device_state, "MAX_ITEMS_PER_DEVICE", 3)
    for i in range(20):
        other_client.publish(f"{PREFIX}/d{i}/sensor/r", b"1", qos=1)
        other_client.publish(f"{PREFIX}/d0/sensor/r{i}", b"1", qos=1)
        model.poll(1)
        other_client.poll(1)
    other_client.publish(f"{PREFIX}/d0/status", b"last", qos=1)
    wait_until(model, lambda: model.monitor.devices["d0"].status == "last", other_client)
    assert len(model.monitor.devices) == 5
    assert all(len(device.readings) <= 3 for device in model.monitor.devices.values())
    assert model.snapshot()["dropped"] > 20


def test_a_command_is_sent_only_to_an_existing_switch(model: MonitorModel, other_client: Client) -> None:
    other_client.publish(f"{PREFIX}/real/switch/lamp", b"OFF", qos=1)
    wait_until(model, lambda: "real" in model.monitor.devices, other_client)
    assert model.send_command("real", "lamp", "ON") is None
    assert "no such switch" in str(model.send_command("real", "lamp/../../x", "ON"))
    assert "no such switch" in str(model.send_command("nobody", "lamp", "ON"))
    assert "expected ON" in str(model.send_command("real", "lamp", "EXPLODE"))


def test_an_alert_and_its_end_are_each_reported_once(model: MonitorModel, other_client: Client) -> None:
    for value in (b"1", b"3", b"4", b"1"):
        other_client.publish(f"{PREFIX}/kitchen/sensor/load", value, qos=1)
    wait_until(
        model,
        lambda: len(model.monitor.devices.get("kitchen", DeviceState()).readings.get("load", ())) == 4,
        other_client,
    )
    reported = [text for _, text in model.events if "load" in text]
    assert reported == ["ALERT kitchen: load 3 is above 2", "kitchen: load is back to normal"]
    assert model.alerts.for_device("kitchen") == []


def test_readings_are_appended_to_the_csv_file(
    model: MonitorModel, other_client: Client, tmp_path: Path
) -> None:
    other_client.publish(f"{PREFIX}/logged/sensor/load", b"0.25", qos=1)
    wait_until(model, lambda: "logged" in model.monitor.devices, other_client)
    rows = list(csv.reader((tmp_path / "readings.csv").open()))
    assert rows[-1][1:] == ["logged", "load", "0.25"]


def test_a_device_is_reported_silent_after_five_times_its_usual_interval() -> None:
    reported: list[str] = []
    monitored = alerts.Alerts([], reported.append)
    device = DeviceState(status="online")
    for second in range(0, 100, 20):
        device.last_seen = 1000.0 + second
        monitored.check_devices({"d": device}, 1000.0 + second)
    monitored.check_devices({"d": device}, 1080.0 + 5 * 20 - 1)
    assert not reported
    monitored.check_devices({"d": device}, 1080.0 + 5 * 20 + 1)
    assert reported == ["ALERT d: silent"]
    device.status = "offline"
    monitored.check_devices({"d": device}, 1300.0)
    assert monitored.for_device("d") == ["offline"]
    device.status, device.last_seen = "online", 1400.0
    monitored.check_devices({"d": device}, 1400.0)
    assert monitored.for_device("d") == []


def test_invalid_options_and_an_unreachable_broker_are_reported(address: Address) -> None:
    closed_port = broker.free_port()
    output = run_failing_tool(
        "monitor", "--broker", f"mqtt://u@127.0.0.1:{closed_port}", MQTT_PASSWORD="secret"
    )
    assert (
        f"mqtt://127.0.0.1:{closed_port}: connection failed: " in output
        and "make doctor" in output
        and "secret" not in output
    )
    assert "expected iotcore" in run_failing_tool("monitor", "--broker", "http://x")
    for prefix in ("a#", "x" * 5000):
        output = run_failing_tool("monitor", "--broker", "mqtt://127.0.0.1:1", "--prefix", prefix)
        assert f"--prefix {prefix[:40]}: cannot be subscribed to" in output


def test_a_later_snapshot_contains_only_changes(model: MonitorModel, other_client: Client) -> None:
    other_client.publish(f"{PREFIX}/one/sensor/load", b"1", qos=1)
    wait_until(model, lambda: "one" in model.monitor.devices, other_client)
    first = model.snapshot()
    assert "one" not in model.snapshot(first["now"])["devices"]
    other_client.publish(f"{PREFIX}/one/sensor/load", b"2", qos=1)
    wait_until(model, lambda: model.monitor.devices["one"].readings["load"] == deque([1, 2]), other_client)
    assert [v for _, v in model.snapshot(first["now"])["devices"]["one"]["readings"]["load"]["points"]] == [2]


def test_commands_to_lights_and_valves_go_to_their_own_topics(
    model: MonitorModel, other_client: Client
) -> None:
    topics: list[str] = []
    other_client.subscribe(f"{PREFIX}/house/+/+/set", lambda message: topics.append(message.topic), qos=1)
    other_client.publish(f"{PREFIX}/house/light/desk", b'{"state": "ON", "brightness": 9}', qos=1)
    other_client.publish(f"{PREFIX}/house/valve/garden", b"open", qos=1)
    wait_until(
        model, lambda: len(model.monitor.devices.get("house", DeviceState()).switches) == 2, other_client
    )
    assert model.monitor.devices["house"].switches == {"desk": "ON", "garden": "ON"}
    for name in ("desk", "garden"):
        assert model.send_command("house", name, "OFF") is None
    wait_until(model, lambda: len(topics) == 2, other_client)
    assert topics == [f"{PREFIX}/house/light/desk/set", f"{PREFIX}/house/valve/garden/set"]
