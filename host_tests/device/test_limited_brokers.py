"""The device with a real broker that does not support QoS 1 and retained messages, or only small packets."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from host_tests.conftest import require_mosquitto
from host_tests.device.observer import PREFIX
from tools import broker
from tools.vm.device import SimulatedDevice, host_config
from umqtt5 import Client


@pytest.mark.parametrize("max_packet_size", [None, 150])
def test_the_device_obeys_commands_and_publishes_what_the_broker_accepts(
    max_packet_size: int | None, tmp_path: Path
) -> None:
    require_mosquitto()
    limits = [f"max_packet_size {max_packet_size}"] if max_packet_size else []
    received: dict[str, str] = {}

    def on_message(message: Any) -> None:
        received[message.topic] = message.payload.decode()

    with broker.Mosquitto("max_qos 0", global_lines=["retain_available false", *limits]) as mosquitto:
        address = mosquitto.address
        client = Client(address.host, address.port, client_id="observer")
        client.subscribe("#", on_message)
        client.connect()

        def wait_until(topic: str, text: str) -> None:
            deadline = time.monotonic() + 20
            while text not in received.get(topic, ""):
                assert time.monotonic() < deadline, received
                client.poll(50)

        settings = {**host_config("dut", address, PREFIX), "health": 1}
        with SimulatedDevice(tmp_path, settings) as running:
            base = f"{PREFIX}/dut"
            wait_until(f"{base}/status", "online")
            client.publish(f"{base}/switch/relay/set", b"ON")
            wait_until(f"{base}/switch/relay", "ON")
            wait_until(f"{base}/answer", '"ok": true')
            assert running.read_output("relay") == "ON"
            if max_packet_size:
                deadline = time.monotonic() + 20
                while not any("message dropped" in line for line in running.console_lines):
                    assert time.monotonic() < deadline, running.console_lines
                    time.sleep(0.1)
            else:
                wait_until(f"{base}/health", "uptime")
            running._process.kill()
            wait_until(f"{base}/status", "offline")
        client.disconnect()
