"""The device with Tasmota topics (cmnd, stat, tele) and a real broker."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from host_tests.device.observer import PREFIX
from tools import broker
from tools.vm.device import SimulatedDevice, host_config
from umqtt5 import Client


def test_tasmota_commands_are_executed_and_answered_and_lwt_reports_offline(
    any_broker: broker.Address, tmp_path: Path
) -> None:
    received: dict[str, str] = {}

    def on_message(message: Any) -> None:
        received[message.topic] = message.payload.decode()

    client = Client(any_broker.host, any_broker.port, client_id="tasmota-user")
    client.subscribe("stat/dut/+", on_message, qos=1)
    client.subscribe("tele/dut/LWT", on_message, qos=1)
    client.connect()

    def wait_until(topic: str, text: str) -> None:
        deadline = time.monotonic() + 20
        while received.get(topic) != text:
            assert time.monotonic() < deadline, received
            client.poll(50)

    settings = {**host_config("dut", any_broker, PREFIX), "tasmota": True}
    with SimulatedDevice(tmp_path, settings) as running:
        wait_until("tele/dut/LWT", "Online")
        client.publish("cmnd/dut/POWER2", b"ON", qos=1)
        wait_until("stat/dut/RESULT", '{"POWER2":"ON"}')
        wait_until("stat/dut/POWER2", "ON")
        assert running.read_output("relay") == "ON" and running.read_output("lamp") == "OFF"
        client.publish("cmnd/dut/POWER1", b"", qos=1)
        wait_until("stat/dut/RESULT", '{"POWER1":"OFF"}')
        running._process.kill()
        wait_until("tele/dut/LWT", "Offline")
    client.disconnect()
