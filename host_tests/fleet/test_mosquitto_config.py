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
from tools.fleet.certificate_authority import Authority, Pair
from tools.fleet.description import Fleet
from tools.fleet.store import Store
from umqtt5 import Client, MQTTError, tls

ONE, OTHER = "device-1", "device-2"
LEGS = [
    pytest.param((True, True), id="password and certificate"),
    pytest.param((True, False), id="password"),
    pytest.param((False, True), id="certificate"),
]


@dataclass
class Guarded:
    """A broker of a fleet, and the keys to it."""

    port: int
    store: Store
    fleet: Fleet

    def client(
        self,
        name: str,
        pair: Pair | None = None,
        password: str | None = None,
        client_id: str | None = None,
    ) -> Any:
        """A client with what the device of that name has, or with something else."""
        credentials = self.fleet.credentials
        if credentials.certificate and pair is None:
            pair = self.store.client(name, 1)
        if credentials.password and password is None:
            password = self.store.passwords([name])[name]
        context = tls.context(self.store.authority.pem, pair and pair.cert, pair and pair.key)
        user = name if credentials.password else None
        return Client(
            "localhost", self.port, client_id=client_id or name, user=user, password=password, ssl=context
        )


def guarded(folder: Path, password: bool, certificate: bool) -> Iterator[Guarded]:
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
    store = Store(folder / "private")
    files = folder / "broker"
    files.mkdir()
    generate.guard_files(fleet, store, [ONE, OTHER], files, "localhost")
    lines = mosquitto_config.lines(fleet.credentials, True, files)
    with broker.Mosquitto(*lines, anonymous=False) as running:
        yield Guarded(running.address.port, store, fleet)


@pytest.fixture
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guarded]:
    yield from guarded(tmp_path, *request.param)


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Guarded]:
    yield from guarded(tmp_path, True, True)


def until(condition: Any, *clients: Any) -> None:
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends
        for client in clients:
            client.poll(20)


@pytest.mark.parametrize("here", LEGS, indirect=True)
def test_a_device_writes_below_its_own_base_and_nowhere_else(here: Guarded) -> None:
    device, desk = here.client(ONE), here.client(mosquitto_config.DESK)
    heard: list[str] = []
    answers: dict[int, int] = {}
    device.on_ack = lambda answer: answers.update({answer.packet_id: answer.reason})
    desk.subscribe("farm/#", lambda message: heard.append(message.topic), qos=1)
    desk.connect()
    device.connect()
    foreign = (f"farm/{OTHER}/status", f"farm/{OTHER}/switch/pump/set", "farm/status", "other")
    asked = [device.publish(topic, b"online", qos=1) for topic in (*foreign, f"farm/{ONE}/status")]
    until(lambda: set(asked) <= set(answers) and heard, device, desk)
    assert heard == [f"farm/{ONE}/status"]
    assert [answers[packet] for packet in asked[:4]] == [0x87] * 4  # Not authorized
    for client in (device, desk):
        client.disconnect()


def test_a_device_hears_its_own_commands_and_no_others(both: Guarded) -> None:
    device, desk = both.client(ONE), both.client(mosquitto_config.DESK)
    heard: list[str] = []
    for name in (ONE, OTHER):
        device.subscribe(f"farm/{name}/switch/+/set", lambda message: heard.append(message.topic), qos=1)
    device.subscribe("farm/#", lambda message: heard.append("all " + message.topic), qos=1)
    device.connect()
    desk.connect()
    for name in (OTHER, ONE):
        desk.publish(f"farm/{name}/status", b"online", qos=1)
        desk.publish(f"farm/{name}/switch/pump/set", b"ON", qos=1)
    until(lambda: f"farm/{ONE}/switch/pump/set" in heard, device, desk)
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


def test_who_lacks_one_of_the_two_is_refused(both: Guarded, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger").device(ONE, 1)
    assert not refused(both.client(ONE))
    assert refused(both.client(ONE, password="wrong"))
    assert refused(both.client(ONE, pair=stranger))
    password = both.store.passwords([ONE])[ONE]
    bare = tls.context(both.store.authority.pem)
    assert refused(Client("localhost", both.port, client_id=ONE, user=ONE, password=password, ssl=bare))
    assert refused(Client("localhost", both.port, client_id=ONE))


def test_nobody_throws_another_out_by_his_client_identifier(both: Guarded) -> None:
    device, thief = both.client(ONE), both.client(OTHER, client_id=ONE)
    ended: list[Any] = []
    device.on_state = lambda client, connected, error: ended.append(error)
    device.connect()
    thief.connect()
    thief.publish(f"farm/{OTHER}/status", b"online", qos=1, wait=True)
    device.publish(f"farm/{ONE}/status", b"online", qos=1, wait=True)
    assert ended == [None] and device.connected  # it has come, and not gone
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
    assert mosquitto_config.fits("some words", hashed) and not mosquitto_config.fits("other words", hashed)
    # and so it stays as it is
    assert mosquitto_config.password_file({"me": "some words"}, path.read_text()) == path.read_text()
