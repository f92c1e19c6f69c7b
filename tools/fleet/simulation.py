"""Simulation of a fleet on this computer: its broker, and each device as a process of the MicroPython VM."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tools import broker, running_broker
from tools.board import definition
from tools.broker import Address
from tools.credentials import resolve_broker
from tools.errors import UserError
from tools.fleet import generate, mosquitto_config, secret_files
from tools.fleet.description import Fleet
from tools.fleet.device_files import DeviceFiles
from tools.fleet.store import FleetStore
from tools.text_files import read_bytes
from tools.vm.device import SimulatedDevice
from umqtt5 import tls

# readings that every computer can measure
_READINGS = ("load", "memory_available", "disk_free", "uptime")
DEFAULT_PERIOD = 1.0  # seconds between two readings
_LOCAL = "localhost"


@dataclass(frozen=True)
class SimulatedBroker:
    """The broker of a simulated fleet."""

    address: Address  # with user and password of the operator
    ca: bytes | None = None  # CA certificate (PEM); None: no TLS
    certificates: bool = False  # whether clients use client certificates
    is_ours: bool = True  # whether it runs only for this simulation
    shared_credentials: bool = False  # whether the devices use the user and password of `address`
    operator_port: int | None = None  # port for the operator, None if it is the port of the devices

    @property
    def operator_address(self) -> Address:
        """The address for the operator, who reads and commands all devices."""
        return replace(self.address, port=self.operator_port or self.address.port)


def default_fleet(count: int, secured: bool, period: float = DEFAULT_PERIOD) -> Fleet:
    """Return a fleet of `count` host boards, for a simulation without a description.

    `secured` turns on TLS, passwords and client certificates. `period` is in seconds.
    """
    sensors = [{"kind": kind, "period": period} for kind in _READINGS]
    return Fleet.model_validate(
        {
            "name": "vm-{number:03}",
            "count": count,
            "board": "host",
            "broker": {"host": _LOCAL, "tls": secured},
            "credentials": {"password": secured, "certificate": secured},
            "sensors": sensors,
            "health": 2 * period,
        }
    )


@contextlib.contextmanager
def open_broker(
    broker_choice: str,
    fleet: Fleet,
    store: FleetStore,
    names: list[str],
    ca: Path | None,
    folder: Path,
    password_file: Path | None = None,
) -> Iterator[SimulatedBroker]:
    """Start a broker for a simulated fleet until the end of the block, or check the broker at a URL.

    `broker_choice` is `iotcore`, `mosquitto` or a URL. `mosquitto` is configured in `folder` with the
    credentials that the fleet description requires. `names` are the device names. `ca` is the CA
    file and `password_file` the password for a broker at a URL. Raises UserError.
    """
    user = password = None
    if fleet.credentials.password:
        user = choose_operator(fleet, store)
        password = store.get_passwords([user])[user]
    if broker_choice == "iotcore":
        with broker.iotcore() as address:
            yield SimulatedBroker(replace(address, user=user, password=password))
    elif broker_choice == "mosquitto":
        operator_port = broker.free_port()
        with _configured_mosquitto(fleet, store, names, folder, operator_port) as running:
            # a name instead of an address, because some mbedTLS builds check only names in certificates
            host = _LOCAL if fleet.broker.tls else running.address.host
            address = Address(host, running.address.port, user, password)
            own_ca = store.authority.certificate_pem if fleet.broker.tls else None
            yield SimulatedBroker(
                address,
                own_ca,
                fleet.broker.tls and fleet.credentials.certificate,
                operator_port=operator_port if mosquitto_config.requires_login(fleet.credentials) else None,
            )
    else:
        yield _reach_broker(resolve_broker(broker_choice, password_file), user, password, fleet, store, ca)


def choose_operator(fleet: Fleet, store: FleetStore) -> str:
    """Return the operator whose login the load test uses. Raises UserError if all are revoked."""
    names = generate.admitted_operators(fleet, store)
    if not names:
        raise UserError('all operators are revoked. To admit one again: make fleet ARGS="renew NAME"')
    return names[0]


def _configured_mosquitto(
    fleet: Fleet, store: FleetStore, names: list[str], folder: Path, operator_port: int
) -> broker.Mosquitto:
    secret_files.make_folder(folder)
    generate.write_broker_files(fleet, store, names, folder, _LOCAL)
    login, tls_on = fleet.credentials, fleet.broker.tls
    has_login = mosquitto_config.requires_login(login)
    return broker.Mosquitto(
        # The default queue is too short for the many devices that publish at once when a test starts.
        "max_queued_messages 10000",
        *mosquitto_config.render_config_lines(login, tls_on, folder),
        *mosquitto_config.render_operator_lines(login, tls_on, folder, f"{operator_port} 127.0.0.1"),
        anonymous=not has_login,
        global_lines=mosquitto_config.GLOBAL_LINES if has_login else (),
    )


def _reach_broker(
    address: Address,
    user: str | None,
    password: str | None,
    fleet: Fleet,
    store: FleetStore,
    ca: Path | None,
) -> SimulatedBroker:
    """Check that a broker accepts connections. `user` and `password` are used if the URL has none."""
    if not broker.is_reachable(address, 5):
        raise UserError(f"{address}: no broker answers. Is it running? Try: make doctor BROKER={address}")
    ca_pem = None
    if address.tls:
        try:
            ca_pem = read_bytes(ca) if ca else store.authority.certificate_pem
        except UserError as error:
            raise UserError(f"--ca {error}. Expected a PEM file") from error
    # the login in the URL may be that of any user, whose port is the one in the URL
    is_operator = (
        not address.user
        and mosquitto_config.requires_login(fleet.credentials)
        and address.port == fleet.broker.effective_port
    )
    return SimulatedBroker(
        address if address.user else replace(address, user=user, password=password),
        ca_pem,
        certificates=bool(ca_pem) and fleet.credentials.certificate,
        is_ours=False,
        shared_credentials=bool(address.user) and password is None,
        operator_port=fleet.broker.effective_operator_port if is_operator else None,
    )


def operator_ssl_context(broker: SimulatedBroker, fleet: Fleet, store: FleetStore) -> Any:
    """Return the SSLContext of the operator, None without TLS."""
    if not broker.ca:
        return None
    pair = (
        store.operator_certificate(choose_operator(fleet, store), fleet.credentials.years)
        if broker.certificates
        else None
    )
    return tls.context(broker.ca, pair.cert if pair else None, pair.key if pair else None)


def announce(
    broker: SimulatedBroker, fleet: Fleet, store: FleetStore
) -> contextlib.AbstractContextManager[object]:
    """Let `make monitor` find the broker of a simulation until the end of the block.

    A login at a broker that does not end with the simulation is not stored a second time.
    """
    address = replace(broker.operator_address, tls=bool(broker.ca))
    files = {"ca.pem": broker.ca} if broker.ca else {}
    if broker.certificates:
        if not broker.is_ours:
            return contextlib.nullcontext()
        pair = store.operator_certificate(choose_operator(fleet, store), fleet.credentials.years)
        files |= {"cert.pem": pair.cert, "key.pem": pair.key}
    if not broker.is_ours:
        address = replace(address, password=None)
    return running_broker.announce("make fleet", address, fleet.prefix, files)


def for_host_board(one: DeviceFiles, broker: SimulatedBroker) -> DeviceFiles:
    """Adapt the files of a device to the host board and to this broker.

    Names and periods are kept. Sensors that this computer does not have are replaced, and all pins.
    """
    target = definition.load_board("host")
    config = copy.deepcopy(one.config)
    config.pop("wifi", None)
    config["ntp"] = []  # the clock of this computer is set, and many devices would query a server at once
    broker_config = config["broker"]
    broker_config.update(host=broker.address.host, port=broker.address.port)
    if broker.shared_credentials:
        broker_config.update(user=broker.address.user, password=broker.address.password)
    certificates = dict(one.certificates)
    broker_config.pop("tls", None)
    if broker.ca:
        certificates["ca.pem"] = broker.ca
        broker_config["tls"] = {"ca": "ca.pem"}
        if broker.certificates:
            broker_config["tls"].update(cert="cert.pem", key="key.pem")
    for index, sensor in enumerate(config["sensors"]):
        if sensor["kind"] not in _READINGS:
            # without the other fields, which belong to the replaced kind
            config["sensors"][index] = {
                "kind": _READINGS[index % len(_READINGS)],
                "name": sensor.get("name") or sensor["kind"],
                "period": sensor.get("period", 10),
            }
    for index, actuator in enumerate(config["actuators"]):
        actuator["pin"] = target.outputs[index % len(target.outputs)]
    return DeviceFiles(one.name, target, config, certificates)


def start_device(one: DeviceFiles, folder: Path) -> SimulatedDevice:
    """Write the certificates of a device into `folder`, and start it there. Raises VmNotFound or OSError."""
    secret_files.make_folder(folder)
    for name, data in one.certificates.items():
        secret_files.write_file(folder / name, data)
    return SimulatedDevice(folder, one.config)


def memory_usage(device: SimulatedDevice) -> int | None:
    """Return the memory of a device's process in bytes (PSS); None if unknown."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{device.pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return None


def available_memory() -> int | None:
    """Return the available memory of this computer in bytes, None if unknown."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None
