"""The real mosquitto with the generated files of a fleet: authentication and access control."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from host_tests.conftest import require_mosquitto
from tools import broker
from tools.fleet import generate, mosquitto_config
from tools.fleet.certificate_authority import CertificateAndKey, CertificateAuthority
from tools.fleet.description import Fleet
from tools.fleet.store import FleetStore
from umqtt5 import Client, MQTTError, tls

ONE, OTHER = "device-1", "device-2"
OPERATOR, OTHER_OPERATOR = "anna", "office"
CREDENTIALS = [
    pytest.param((True, True), id="password and certificate"),
    pytest.param((True, False), id="password"),
    pytest.param((False, True), id="certificate"),
]


@dataclass
class FleetBroker:
    """A running broker of a fleet, and the credentials of its devices."""

    port: int  # for devices
    operator_port: int
    store: FleetStore
    fleet: Fleet

    def client(
        self,
        name: str,
        pair: CertificateAndKey | None = None,
        password: str | None = None,
        client_id: str | None = None,
        port: int | None = None,
    ) -> Any:
        """Return a client with the credentials of a device or operator. Arguments replace single ones."""
        credentials = self.fleet.credentials
        is_operator = name in self.fleet.operators
        if credentials.certificate and pair is None:
            issue = self.store.operator_certificate if is_operator else self.store.client_certificate
            pair = issue(name, 1)
        if credentials.password and password is None:
            password = self.store.get_passwords([name])[name]
        context = tls.context(self.store.authority.certificate_pem, pair and pair.cert, pair and pair.key)
        user = name if credentials.password else None
        port = port or (self.operator_port if is_operator else self.port)
        return Client(
            "localhost", port, client_id=client_id or name, user=user, password=password, ssl=context
        )


def running_fleet_broker(folder: Path, password: bool, certificate: bool) -> Iterator[FleetBroker]:
    """Run mosquitto with the generated files of a fleet of two devices."""
    require_mosquitto()
    fleet = Fleet.model_validate(
        {
            "board": "host",
            "count": 2,
            "name": "device-{number}",
            "prefix": "farm",
            "broker": {"host": "localhost", "tls": True},
            "credentials": {"password": password, "certificate": certificate},
            "operators": [OPERATOR, OTHER_OPERATOR],
        }
    )
    store = FleetStore(folder / "private")
    files = folder / "broker"
    files.mkdir()
    generate.write_broker_files(fleet, store, [ONE, OTHER], files, "localhost")
    port = broker.free_port()
    lines = mosquitto_config.render_config_lines(fleet.credentials, True, files)
    lines += mosquitto_config.render_operator_lines(fleet.credentials, True, files, f"{port} 127.0.0.1")
    with broker.Mosquitto(*lines, anonymous=False, global_lines=mosquitto_config.GLOBAL_LINES) as running:
        yield FleetBroker(running.address.port, port, store, fleet)


@pytest.fixture
def fleet_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FleetBroker]:
    yield from running_fleet_broker(tmp_path, *request.param)


@pytest.fixture
def password_and_certificate_broker(tmp_path: Path) -> Iterator[FleetBroker]:
    yield from running_fleet_broker(tmp_path, True, True)


def wait_until(condition: Any, *clients: Any) -> None:
    """Poll the clients until `condition()` is true, for up to 20 s."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        for client in clients:
            client.poll(20)


@pytest.mark.parametrize("fleet_broker", CREDENTIALS, indirect=True)
def test_an_operator_may_connect_several_times_and_two_operators_at_once(fleet_broker: FleetBroker) -> None:
    connects: list[Any] = []
    clients = [
        fleet_broker.client(name, client_id=f"{name}-{number}")
        for name in (OPERATOR, OTHER_OPERATOR)
        for number in range(3)
    ]
    received: list[str] = []
    for client in clients:
        client.on_state = lambda client, connected, error: connects.append((connected, error))
        client.subscribe("farm/#", lambda message: received.append(message.topic), qos=1)
        client.connect()
    clients[0].publish(f"farm/{ONE}/switch/pump/set", b"ON", qos=1)
    wait_until(lambda: len(received) == len(clients), *clients)
    assert connects == [(True, None)] * len(clients)
    for client in clients:
        client.disconnect()


@pytest.mark.parametrize("fleet_broker", CREDENTIALS, indirect=True)
def test_a_device_cannot_connect_as_an_operator_does_nor_an_operator_as_a_device(
    fleet_broker: FleetBroker,
) -> None:
    for client_id in (ONE, OTHER, OPERATOR):
        assert is_refused(fleet_broker.client(ONE, client_id=client_id, port=fleet_broker.operator_port))
    assert is_refused(fleet_broker.client(OPERATOR, client_id=ONE, port=fleet_broker.port))
    assert not is_refused(fleet_broker.client(ONE)) and not is_refused(fleet_broker.client(OPERATOR))


@pytest.mark.parametrize("fleet_broker", CREDENTIALS, indirect=True)
def test_a_device_may_publish_only_under_its_own_base_topic(fleet_broker: FleetBroker) -> None:
    device, dashboard = fleet_broker.client(ONE), fleet_broker.client(OPERATOR)
    received: list[str] = []
    reasons: dict[int, int] = {}
    device.on_ack = lambda answer: reasons.update({answer.packet_id: answer.reason})
    dashboard.subscribe("farm/#", lambda message: received.append(message.topic), qos=1)
    dashboard.connect()
    device.connect()
    foreign = (f"farm/{OTHER}/status", f"farm/{OTHER}/switch/pump/set", "farm/status", "other")
    packet_ids = [device.publish(topic, b"online", qos=1) for topic in (*foreign, f"farm/{ONE}/status")]
    wait_until(lambda: set(packet_ids) <= set(reasons) and received, device, dashboard)
    assert received == [f"farm/{ONE}/status"]
    assert [reasons[packet_id] for packet_id in packet_ids[:4]] == [0x87] * 4  # Not authorized
    for client in (device, dashboard):
        client.disconnect()


def test_a_device_receives_only_its_own_commands(password_and_certificate_broker: FleetBroker) -> None:
    device, dashboard = (
        password_and_certificate_broker.client(ONE),
        password_and_certificate_broker.client(OPERATOR),
    )
    received: list[str] = []
    for name in (ONE, OTHER):
        device.subscribe(f"farm/{name}/switch/+/set", lambda message: received.append(message.topic), qos=1)
    device.subscribe("farm/#", lambda message: received.append("all " + message.topic), qos=1)
    device.connect()
    dashboard.connect()
    for name in (OTHER, ONE):
        dashboard.publish(f"farm/{name}/status", b"online", qos=1)
        dashboard.publish(f"farm/{name}/switch/pump/set", b"ON", qos=1)
    wait_until(lambda: f"farm/{ONE}/switch/pump/set" in received, device, dashboard)
    device.poll(200)
    assert {topic.removeprefix("all ") for topic in received} == {f"farm/{ONE}/switch/pump/set"}
    for client in (device, dashboard):
        client.disconnect()


def is_refused(client: Any) -> bool:
    """Return True if the client cannot connect."""
    try:
        client.connect()
    except (OSError, MQTTError):
        return True
    client.disconnect()
    return False


def test_a_client_without_valid_password_and_certificate_is_refused(
    password_and_certificate_broker: FleetBroker, tmp_path: Path
) -> None:
    other_authority = CertificateAuthority(tmp_path / "other").issue_client(ONE, 1)
    assert not is_refused(password_and_certificate_broker.client(ONE))
    assert is_refused(password_and_certificate_broker.client(ONE, password="wrong"))
    assert is_refused(password_and_certificate_broker.client(ONE, pair=other_authority))
    password = password_and_certificate_broker.store.get_passwords([ONE])[ONE]
    without_certificate = tls.context(password_and_certificate_broker.store.authority.certificate_pem)
    assert is_refused(
        Client(
            "localhost",
            password_and_certificate_broker.port,
            client_id=ONE,
            user=ONE,
            password=password,
            ssl=without_certificate,
        )
    )
    assert is_refused(Client("localhost", password_and_certificate_broker.port, client_id=ONE))


def test_a_device_cannot_take_over_the_session_of_another_by_its_client_id(
    password_and_certificate_broker: FleetBroker,
) -> None:
    device, intruder = (
        password_and_certificate_broker.client(ONE),
        password_and_certificate_broker.client(OTHER, client_id=ONE),
    )
    errors: list[Any] = []
    device.on_state = lambda client, connected, error: errors.append(error)
    device.connect()
    intruder.connect()
    intruder.publish(f"farm/{OTHER}/status", b"online", qos=1, wait=True)
    device.publish(f"farm/{ONE}/status", b"online", qos=1, wait=True)
    assert errors == [None] and device.is_connected  # the device connected once and was not disconnected
    for client in (device, intruder):
        client.disconnect()


def test_password_hashes_are_compatible_with_mosquitto_passwd(tmp_path: Path) -> None:
    program = shutil.which("mosquitto_passwd")
    if not program:
        pytest.skip("mosquitto_passwd is not installed")
    path = tmp_path / "passwords"
    path.write_text("me:some words\n")
    subprocess.run([program, "-U", str(path)], check=True, capture_output=True)
    hashed = path.read_text().strip().split(":", 1)[1]
    assert mosquitto_config.verify_password("some words", hashed) and not mosquitto_config.verify_password(
        "other words", hashed
    )
    # a hash that matches the password is not replaced
    assert mosquitto_config.render_password_file({"me": "some words"}, path.read_text()) == path.read_text()
