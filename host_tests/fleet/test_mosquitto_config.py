"""The real mosquitto with a fleet's files: who gets in, and what he may do there."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from host_tests.conftest import NO_MOSQUITTO
from tools import broker
from tools.fleet import generate, mosquitto_config
from tools.fleet.certificate_authority import CertificateAndKey, CertificateAuthority
from tools.fleet.description import Fleet
from tools.fleet.store import FleetStore
from umqtt5 import Client, MQTTError, tls

ONE, OTHER = "device-1", "device-2"
CREDENTIALS = [
    pytest.param((True, True), id="password and certificate"),
    pytest.param((True, False), id="password"),
    pytest.param((False, True), id="certificate"),
]


@dataclass
class FleetBroker:
    """A broker of a fleet, and the keys to it."""

    port: int
    store: FleetStore
    fleet: Fleet

    def client(
        self,
        name: str,
        pair: CertificateAndKey | None = None,
        password: str | None = None,
        client_id: str | None = None,
    ) -> Any:
        """A client with what the device of that name has, or with something else."""
        credentials = self.fleet.credentials
        if credentials.certificate and pair is None:
            pair = self.store.client_certificate(name, 1)
        if credentials.password and password is None:
            password = self.store.get_passwords([name])[name]
        context = tls.context(self.store.authority.certificate_pem, pair and pair.cert, pair and pair.key)
        user = name if credentials.password else None
        return Client(
            "localhost", self.port, client_id=client_id or name, user=user, password=password, ssl=context
        )


def running_fleet_broker(folder: Path, password: bool, certificate: bool) -> Iterator[FleetBroker]:
    if not broker.find_mosquitto():
        pytest.skip(NO_MOSQUITTO)
    fleet = Fleet.model_validate(
        {
            "board": "host",
            "count": 2,
            "name": "device-{number}",
            "prefix": "farm",
            "broker": {"host": "localhost", "tls": True},
            "credentials": {"password": password, "certificate": certificate},
        }
    )
    store = FleetStore(folder / "private")
    files = folder / "broker"
    files.mkdir()
    generate.write_broker_files(fleet, store, [ONE, OTHER], files, "localhost")
    lines = mosquitto_config.render_config_lines(fleet.credentials, True, files)
    with broker.Mosquitto(*lines, anonymous=False) as running:
        yield FleetBroker(running.address.port, store, fleet)


@pytest.fixture
def fleet_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FleetBroker]:
    yield from running_fleet_broker(tmp_path, *request.param)


@pytest.fixture
def password_and_certificate_broker(tmp_path: Path) -> Iterator[FleetBroker]:
    yield from running_fleet_broker(tmp_path, True, True)


def wait_until(condition: Any, *clients: Any) -> None:
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends
        for client in clients:
            client.poll(20)


@pytest.mark.parametrize("fleet_broker", CREDENTIALS, indirect=True)
def test_a_device_writes_below_its_own_base_and_nowhere_else(fleet_broker: FleetBroker) -> None:
    device, desk = fleet_broker.client(ONE), fleet_broker.client(mosquitto_config.DASHBOARD_USER)
    heard: list[str] = []
    answers: dict[int, int] = {}
    device.on_ack = lambda answer: answers.update({answer.packet_id: answer.reason})
    desk.subscribe("farm/#", lambda message: heard.append(message.topic), qos=1)
    desk.connect()
    device.connect()
    foreign = (f"farm/{OTHER}/status", f"farm/{OTHER}/switch/pump/set", "farm/status", "other")
    asked = [device.publish(topic, b"online", qos=1) for topic in (*foreign, f"farm/{ONE}/status")]
    wait_until(lambda: set(asked) <= set(answers) and heard, device, desk)
    assert heard == [f"farm/{ONE}/status"]
    assert [answers[packet] for packet in asked[:4]] == [0x87] * 4  # Not authorized
    for client in (device, desk):
        client.disconnect()


def test_a_device_hears_its_own_commands_and_no_others(password_and_certificate_broker: FleetBroker) -> None:
    device, desk = (
        password_and_certificate_broker.client(ONE),
        password_and_certificate_broker.client(mosquitto_config.DASHBOARD_USER),
    )
    heard: list[str] = []
    for name in (ONE, OTHER):
        device.subscribe(f"farm/{name}/switch/+/set", lambda message: heard.append(message.topic), qos=1)
    device.subscribe("farm/#", lambda message: heard.append("all " + message.topic), qos=1)
    device.connect()
    desk.connect()
    for name in (OTHER, ONE):
        desk.publish(f"farm/{name}/status", b"online", qos=1)
        desk.publish(f"farm/{name}/switch/pump/set", b"ON", qos=1)
    wait_until(lambda: f"farm/{ONE}/switch/pump/set" in heard, device, desk)
    device.poll(200)
    assert {topic.removeprefix("all ") for topic in heard} == {f"farm/{ONE}/switch/pump/set"}
    for client in (device, desk):
        client.disconnect()


def refused(client: Any) -> bool:
    try:
        client.connect()
    except (OSError, MQTTError):
        return True
    client.disconnect()
    return False


def test_who_lacks_one_of_the_two_is_refused(
    password_and_certificate_broker: FleetBroker, tmp_path: Path
) -> None:
    stranger = CertificateAuthority(tmp_path / "stranger").issue_client(ONE, 1)
    assert not refused(password_and_certificate_broker.client(ONE))
    assert refused(password_and_certificate_broker.client(ONE, password="wrong"))
    assert refused(password_and_certificate_broker.client(ONE, pair=stranger))
    password = password_and_certificate_broker.store.get_passwords([ONE])[ONE]
    bare = tls.context(password_and_certificate_broker.store.authority.certificate_pem)
    assert refused(
        Client(
            "localhost",
            password_and_certificate_broker.port,
            client_id=ONE,
            user=ONE,
            password=password,
            ssl=bare,
        )
    )
    assert refused(Client("localhost", password_and_certificate_broker.port, client_id=ONE))


def test_nobody_throws_another_out_by_his_client_identifier(
    password_and_certificate_broker: FleetBroker,
) -> None:
    device, thief = (
        password_and_certificate_broker.client(ONE),
        password_and_certificate_broker.client(OTHER, client_id=ONE),
    )
    ended: list[Any] = []
    device.on_state = lambda client, connected, error: ended.append(error)
    device.connect()
    thief.connect()
    thief.publish(f"farm/{OTHER}/status", b"online", qos=1, wait=True)
    device.publish(f"farm/{ONE}/status", b"online", qos=1, wait=True)
    assert ended == [None] and device.is_connected  # it has come, and not gone
    for client in (device, thief):
        client.disconnect()


def test_the_hashes_are_those_of_mosquitto_passwd(tmp_path: Path) -> None:
    program = shutil.which("mosquitto_passwd")
    if not program:
        pytest.skip("mosquitto_passwd is not here")
    path = tmp_path / "passwords"
    path.write_text("me:some words\n")
    subprocess.run([program, "-U", str(path)], check=True, capture_output=True)
    hashed = path.read_text().strip().split(":", 1)[1]
    assert mosquitto_config.verify_password("some words", hashed) and not mosquitto_config.verify_password(
        "other words", hashed
    )
    # and so it stays as it is
    assert mosquitto_config.render_password_file({"me": "some words"}, path.read_text()) == path.read_text()
