"""The examples with TLS. Those for clouds use a mosquitto that asks for what the cloud asks for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from host_tests.conftest import NO_MOSQUITTO
from host_tests.examples.running import Example, observe, write_project
from host_tests.examples.tls_front import tls_front
from host_tests.transports.conftest import Certificates, tls_lines
from tools import broker
from tools.fleet import mosquitto_config

on_each_interpreter = pytest.mark.parametrize("interpreter", ["vm", "cpython"])


@pytest.fixture(autouse=True)
def needs_mosquitto() -> None:
    if not broker.find_mosquitto():
        pytest.skip(NO_MOSQUITTO)


@pytest.fixture
def project(tmp_path: Path, certificates: Certificates) -> Path:
    """A folder with the certificates that settings.py names."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(certificates.ca, folder / "ca.pem")
    for name in ("device.crt", "device.key"):
        shutil.copy(certificates.client, folder / name)
    return folder


def start(folder: Path, name: str, interpreter: str, port: int, **settings: object) -> Example:
    write_project(folder, name, TLS_PORT=port, **settings)
    return Example(folder, name, interpreter)


@on_each_interpreter
def test_tls_ca(interpreter: str, project: Path, certificates: Certificates) -> None:
    plain = broker.free_port()
    lines = [*tls_lines(certificates), f"listener {plain} 127.0.0.1", "allow_anonymous true"]
    with broker.Mosquitto(*lines) as running_broker:
        port = running_broker.address.port
        with (
            observe(broker.Address("127.0.0.1", plain)) as observer,
            start(project, "tls_ca", interpreter, port) as running,
        ):
            running.wait_for_line("connected, encrypted")
            observer.wait_for("greenhouse/temperature", b"21.5", running)
        shutil.copy(certificates.other_ca, project / "ca.pem")  # a broker that is not ours
        with start(project, "tls_ca", interpreter, port) as running:
            wait_for_error(running, "certificate")
            assert "connected, encrypted" not in running.lines


def wait_for_error(running: Example, text: str) -> None:
    """Wait until the example has ended with an exception whose text contains `text`."""
    running.wait()
    assert any("Error" in line and text in line for line in running.lines), list(running.lines)


# ---- clouds that ask for user name and password


@pytest.fixture(scope="module")
def password_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[broker.Address]:
    if not broker.find_mosquitto():
        pytest.skip(NO_MOSQUITTO)
    path = tmp_path_factory.mktemp("passwords") / "passwords"
    path.write_text(mosquitto_config.render_password_file({"shed": "open sesame"}, ""))
    path.chmod(0o644)
    with broker.Mosquitto(f"password_file {path}", anonymous=False) as running:
        yield broker.Address("127.0.0.1", running.address.port, "shed", "open sesame")


@on_each_interpreter
@pytest.mark.parametrize("name", ["hivemq_cloud", "emqx_cloud"])
def test_a_cloud_with_passwords(
    name: str, interpreter: str, project: Path, certificates: Certificates, password_broker: broker.Address
) -> None:
    login = {"USER": password_broker.user, "PASSWORD": password_broker.password}
    with (
        tls_front(certificates.server, "localhost", password_broker) as front,
        observe(password_broker) as observer,
    ):
        with start(project, name, interpreter, front.port, **login) as running:
            observer.wait_for("example/temperature", b"21.5", running)
            assert set(front.names) == {"localhost"}
            observer.publish("example/set", b"ON")
            running.wait_for_line("received b'ON'")
        with start(project, name, interpreter, front.port, USER="shed", PASSWORD="wrong") as running:
            wait_for_error(running, "0x87")
        # an address in place of the name: the cloud does not find the broker
        with start(project, name, interpreter, front.port, BROKER="127.0.0.1", **login) as running:
            wait_for_error(running, "")
            assert front.names[-1] != "localhost"


# ---- clouds that ask for a client certificate


def mutual_broker(certificates: Certificates, folder: Path, acl: str, port: int) -> broker.Mosquitto:
    """Return a mosquitto that demands client certificates, with this ACL; at `port` it has no TLS."""
    path = folder / "acl"
    path.write_text(acl)
    path.chmod(0o644)
    return broker.Mosquitto(
        *tls_lines(certificates),
        f"cafile {certificates.ca}",
        "require_certificate true",
        f"acl_file {path}",
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        global_lines=["per_listener_settings true"],
    )


@on_each_interpreter
def test_aws_iot_core(interpreter: str, project: Path, tmp_path: Path, certificates: Certificates) -> None:
    """The ACL is as the policy of a thing: only the topics of the client identifier."""
    shadow = "$aws/things/shed/shadow/update"
    acl = "pattern readwrite $aws/things/%c/shadow/#\n"
    settings = {"CLIENT_ID": "shed"}
    plain = broker.Address("127.0.0.1", broker.free_port())
    with mutual_broker(certificates, tmp_path, acl, plain.port) as running_broker:
        port = running_broker.address.port
        with (
            observe(plain, "$aws/#") as observer,
            start(project, "aws_iot_core", interpreter, port, **settings) as running,
        ):
            observer.wait_until(lambda: observer.payloads(shadow), running)
            state = json.loads(observer.payloads(shadow)[0])["state"]
            assert state == {"reported": {"temperature": 21.5}}
            observer.publish(shadow + "/delta", b'{"state": {"lamp": "ON"}, "version": 7}')
            running.wait_for_line("wanted {'lamp': 'ON'}")
            reported = {"state": {"reported": {"lamp": "ON"}}}
            observer.wait_until(lambda: reported in map(json.loads, observer.payloads(shadow)), running)
        for file in ("device.crt", "device.key"):
            shutil.copy(certificates.foreign_client, project / file)
        with start(project, "aws_iot_core", interpreter, port, **settings) as running:
            wait_for_error(running, "refuses")


@on_each_interpreter
def test_azure_event_grid(
    interpreter: str, project: Path, tmp_path: Path, certificates: Certificates
) -> None:
    """The ACL is as the permission bindings of a client, which the broker finds by the user name."""
    acl = "user shed-client\ntopic readwrite shed/#\n"
    plain = broker.Address("127.0.0.1", broker.free_port())
    with mutual_broker(certificates, tmp_path, acl, plain.port) as running_broker:
        port = running_broker.address.port
        with (
            observe(plain) as observer,
            start(project, "azure_event_grid", interpreter, port, USER="shed-client") as running,
        ):
            observer.wait_for("shed/temperature", b"21.5", running)
            observer.publish("shed/set", b"ON")
            running.wait_for_line("received b'ON'")
        for file in ("device.crt", "device.key"):
            shutil.copy(certificates.foreign_client, project / file)
        with start(project, "azure_event_grid", interpreter, port, USER="shed-client") as running:
            wait_for_error(running, "refuses")
