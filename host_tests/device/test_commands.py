"""Commands with real brokers: bursts, commands that the broker has queued, and restarts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from host_tests.device.command_sender import CommandSender, sending
from host_tests.device.observer import PREFIX, Observer, observe, running_device, wait_for_line
from host_tests.faults.proxy import Fault, Proxy, fault_proxy
from tools import broker
from tools.vm.device import SimulatedDevice, host_config


def wait_for_health(observer: Observer) -> None:
    """Wait for health metrics that the device measures from now on."""
    for _ in range(2):
        observer.dut.health.clear()
        observer.wait_until(lambda: observer.dut.health)


@pytest.mark.parametrize(("count", "qos"), [(100, 1), (1000, 1), (100, 0), (100, 2)])
def test_each_command_of_a_burst_is_answered_once(
    count: int, qos: int, mosquitto: object, tmp_path: Path
) -> None:
    with (
        broker.Mosquitto("max_queued_messages 5000") as server,
        observe(server.address) as observer,
        running_device(tmp_path, server.address) as running,
        sending(server.address) as sender,
    ):
        observer.wait_until(lambda: len(observer.dut.switches) == 2)
        heap_used = []
        for size in (50, count):  # the first burst loads what each later one needs
            for i in range(size):
                sender.send("switch/lamp", "OFF" if i % 2 else "TOGGLE", qos=qos)
            sender.wait_until(lambda: all(sender.responses.values()), timeout=60)
            sender.poll(0.3)
            assert {len(responses) for responses in sender.responses.values()} == {1}
            assert all(responses[0]["ok"] for responses in sender.responses.values())
            assert running.read_output("lamp") == "OFF"
            observer.wait_until(lambda: observer.dut.switches["lamp"] == "OFF")
            wait_for_health(observer)
            heap_used.append(observer.dut.health["heap_used"])
        assert heap_used[1] - heap_used[0] < 512
        assert observer.dut.health["connects"] == 1


@contextmanager
def device_behind_proxy(
    folder: Path, address: broker.Address, **settings: Any
) -> Iterator[tuple[Proxy, Observer, CommandSender, SimulatedDevice]]:
    """Yield a device that executes commands which are at most 2 s old, unless `settings` says otherwise."""
    with fault_proxy(address, lambda number: Fault()) as proxy:
        config = {**host_config("dut", proxy.address, PREFIX), "health": 0.5, "command_max_age": 2}
        with (
            observe(address) as observer,
            sending(address) as sender,
            SimulatedDevice(folder, {**config, **settings}) as running,
        ):
            observer.wait_until(lambda: len(observer.dut.switches) == 2)
            # iotcore keeps the session of a client only after a connection without Clean Start
            proxy.reset_all()
            wait_for_line(running, "no connection to")
            observer.wait_until(lambda: observer.dut.health.get("connects") == 2)
            yield proxy, observer, sender, running


def test_commands_that_were_queued_for_too_long_are_refused_and_answered(
    any_broker: broker.Address, tmp_path: Path
) -> None:
    with device_behind_proxy(tmp_path, any_broker) as (proxy, observer, sender, running):
        assert sender.execute("switch/lamp", "ON")["ok"]
        sender.poll(0.5)
        proxy.refuse()
        queued = [sender.send("switch/lamp", "TOGGLE") for _ in range(15)]
        queued.append(sender.send("switch/relay", '{"state": "ON", "for": 60}'))
        restart = sender.send("restart", "restart")
        sender.flush()
        time.sleep(3)
        proxy.accept()
        sender.wait_until(lambda: all(sender.responses[key] for key in [*queued, restart]))
        for key in [*queued, restart]:
            (response,) = sender.responses[key]
            assert not response["ok"]
            assert "may be up to " in response["error"] and "s old; send it again" in response["error"]
        assert sender.responses[queued[0]][0]["state"] == "ON"
        assert (running.read_output("lamp"), running.read_output("relay")) == ("ON", "OFF")
        # the queue has been received, so new commands are executed
        sender.wait_until(lambda: sender.execute("switch/lamp", "OFF")["ok"], timeout=2)
        assert sender.execute("switch/lamp", "TOGGLE")["state"] == "ON"
        wait_for_health(observer)
        assert observer.dut.health["connects"] == 3 and running.is_running


def test_the_sender_decides_how_old_a_queued_command_may_be(
    any_broker: broker.Address, tmp_path: Path
) -> None:
    with device_behind_proxy(tmp_path, any_broker) as (proxy, _, sender, running):
        proxy.refuse()
        now = int(time.time())
        keys = [
            sender.send("switch/lamp", "TOGGLE", message_expiry=3600),
            sender.send("switch/relay", "TOGGLE", user_properties=[("expires", str(now + 3600))]),
            sender.send("switch/relay", "TOGGLE", user_properties=[("expires", str(now + 1))]),
        ]
        sender.flush()
        time.sleep(3)
        proxy.accept()
        sender.wait_until(lambda: all(sender.responses[key] for key in keys))
        assert [sender.responses[key][0]["ok"] for key in keys] == [True, True, False]
        assert sender.responses[keys[2]][0]["error"] == "the command has expired"
        assert (running.read_output("lamp"), running.read_output("relay")) == ("ON", "ON")


@pytest.mark.parametrize("max_age", [0, 3600])
def test_queued_commands_are_executed_if_the_config_allows_their_age(
    max_age: int, any_broker: broker.Address, tmp_path: Path
) -> None:
    with device_behind_proxy(tmp_path, any_broker, command_max_age=max_age) as (proxy, _, sender, running):
        proxy.refuse()
        keys = [sender.send("switch/lamp", "TOGGLE") for _ in range(3)]
        sender.flush()
        time.sleep(3)
        proxy.accept()
        sender.wait_until(lambda: all(sender.responses[key] for key in keys))
        assert [sender.responses[key][0]["state"] for key in keys] == ["ON", "OFF", "ON"]


def test_a_command_to_restart_is_answered_and_executed_once(
    any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    with sending(any_broker) as sender:
        config = host_config("dut", any_broker, PREFIX)
        config["actuators"][1]["safe"] = "OFF"
        with SimulatedDevice(tmp_path, config) as running:
            observer.wait_until(lambda: len(observer.dut.switches) == 2)
            for payload, options, error in (
                ("", {}, "expected a payload that is not empty, such as restart"),
                ("restart", {"user_properties": [("expires", "1")]}, "the command has expired"),
            ):
                response = sender.execute("restart", payload, **options)
                assert response == {"ok": False, "name": "restart", "error": error}
            sender.execute("switch/relay", '{"state": "ON", "for": 60}')
            key = sender.send("restart", "restart")
            running.wait(10)
            sender.wait_until(lambda: sender.responses[key])
            assert sender.responses[key] == [{"ok": True, "name": "restart"}]
            assert running.read_output("relay") == "OFF"
        sender.send("restart", "restart", retain=True)
        sender.flush()
        observer.dut.status = ""
        with running_device(tmp_path, any_broker) as running:
            observer.wait_until(lambda: observer.dut.status == "online")
            sender.send("restart", "restart", correlation_data=key)  # a duplicate
            sender.wait_until(lambda: len(sender.responses[key]) == 2)
            sender.poll(1)
            assert sender.responses[key][1] == {"ok": True, "name": "restart"}
            assert running.is_running
            wait_for_line(running, "command to restart: a duplicate, ignored")
        sender.clear_retained("restart")
