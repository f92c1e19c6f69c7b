"""A fleet as processes on this computer: who plays the broker, and what each device becomes."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tools import broker
from tools.board import definition
from tools.broker import Address
from tools.errors import UserError
from tools.fleet import generate, mosquitto_config, secret_files
from tools.fleet.description import Fleet
from tools.fleet.device_files import DeviceFiles
from tools.fleet.store import FleetStore
from tools.vm.device import SimulatedDevice
from umqtt5 import tls

# what every computer that runs the VM can tell of itself
_READINGS = ("load", "memory_available", "disk_free", "uptime")
DEFAULT_PERIOD = 1.0  # s
_LOCAL = "localhost"  # bears a name: some mbedTLS check no addresses


@dataclass(frozen=True)
class SimulatedBroker:
    """The broker of a simulated fleet, and how the desk gets to it."""

    address: Address  # with the desk's user and password
    ca: bytes | None = None  # TLS where there is one
    certificates: bool = False
    is_ours: bool = True  # nobody else is there, and it is gone afterwards
    # user and password of every device, where they have none of their own
    shared_credentials: bool = False


def default_fleet(count: int, secured: bool, period: float = DEFAULT_PERIOD) -> Fleet:
    """A fleet without a description: so many of this computer, with or without proof of who they are."""
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
    broker_choice: str, fleet: Fleet, store: FleetStore, names: list[str], ca: Path | None, folder: Path
) -> Iterator[SimulatedBroker]:
    """A broker by its name or URL; mosquitto asks for what the description says. Raises UserError."""
    with contextlib.ExitStack() as stack:
        yield _open_broker(stack, broker_choice, fleet, store, names, ca, folder)


def _open_broker(
    stack: contextlib.ExitStack,
    broker_choice: str,
    fleet: Fleet,
    store: FleetStore,
    names: list[str],
    ca: Path | None,
    folder: Path,
) -> SimulatedBroker:
    password = (
        store.get_passwords([mosquitto_config.DASHBOARD_USER])[mosquitto_config.DASHBOARD_USER]
        if fleet.credentials.password
        else None
    )
    user = mosquitto_config.DASHBOARD_USER if password else None
    if broker_choice == "iotcore":
        address = stack.enter_context(broker.iotcore())
        return SimulatedBroker(replace(address, user=user, password=password))
    if broker_choice == "mosquitto":
        secret_files.make_folder(folder)
        generate.write_broker_files(fleet, store, names, folder, _LOCAL)
        lines = mosquitto_config.render_config_lines(fleet.credentials, fleet.broker.tls, folder)
        anonymous = not generate.requires_login(fleet)
        # a thousand devices come at once where a test begins
        running = stack.enter_context(
            broker.Mosquitto(*lines, "max_queued_messages 10000", anonymous=anonymous)
        )
        host = _LOCAL if fleet.broker.tls else running.address.host
        address = Address(host, running.address.port, user, password)
        own_ca = store.authority.certificate_pem if fleet.broker.tls else None
        return SimulatedBroker(address, own_ca, fleet.broker.tls and fleet.credentials.certificate)
    given = broker.parse_url(broker_choice)
    if not broker.is_reachable(given, 5):
        raise UserError(f"{given}: nobody answers there; `make doctor BROKER=...` tells more")
    address = given if given.user else replace(given, user=user, password=password)
    trusted = None
    if given.tls:
        try:
            trusted = ca.read_bytes() if ca else store.authority.certificate_pem
        except OSError as error:
            raise UserError(f"--ca {ca}: {error.strerror}") from error
    certificates = bool(trusted) and fleet.credentials.certificate
    return SimulatedBroker(
        address,
        trusted,
        certificates,
        is_ours=False,
        shared_credentials=bool(given.user) and password is None,
    )


def dashboard_ssl_context(broker: SimulatedBroker, fleet: Fleet, store: FleetStore) -> Any:
    """The SSLContext of the dashboard user, None without TLS."""
    if not broker.ca:
        return None
    pair = (
        store.client_certificate(mosquitto_config.DASHBOARD_USER, fleet.credentials.years)
        if broker.certificates
        else None
    )
    return tls.context(broker.ca, pair.cert if pair else None, pair.key if pair else None)


def for_host_board(one: DeviceFiles, broker: SimulatedBroker) -> DeviceFiles:
    """The same device with this computer as its board: its names and periods stay."""
    target = definition.load_board("host")
    config = copy.deepcopy(one.config)
    config.pop("wifi", None)
    config["ntp"] = []  # this computer's clock is right, and a hundred would ask at once
    where = config["broker"]
    where.update(host=broker.address.host, port=broker.address.port)
    if broker.shared_credentials:
        where.update(user=broker.address.user, password=broker.address.password)
    certificates = dict(one.certificates)
    where.pop("tls", None)
    if broker.ca:
        certificates["ca.pem"] = broker.ca
        where["tls"] = {"ca": "ca.pem"}
        if broker.certificates:
            where["tls"].update(cert="cert.pem", key="key.pem")
    for index, sensor in enumerate(config["sensors"]):
        if sensor["kind"] not in _READINGS:
            # what else it says is of its own kind
            played = {"kind": _READINGS[index % len(_READINGS)], "name": sensor.get("name") or sensor["kind"]}
            config["sensors"][index] = {**played, "period": sensor.get("period", 10)}
    for index, actuator in enumerate(config["actuators"]):
        actuator["pin"] = target.outputs[index % len(target.outputs)]
    return DeviceFiles(one.name, target, config, certificates)


def start_device(one: DeviceFiles, folder: Path) -> SimulatedDevice:
    """Start a device. Raises vm.VmMissing, OSError."""
    secret_files.make_folder(folder)
    for name, data in one.certificates.items():
        secret_files.write_file(folder / name, data)
    return SimulatedDevice(folder, one.config)


def memory_usage(device: SimulatedDevice) -> int | None:
    """Bytes that a device takes of this computer, with its share of what all share; None if unknown."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{device.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return None


def available_memory() -> int | None:
    """Bytes of memory that this computer has left, None if unknown."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None
