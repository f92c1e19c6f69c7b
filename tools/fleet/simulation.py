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
from tools.errors import Problem
from tools.fleet import generate, mosquitto_config, secret_files
from tools.fleet.description import Fleet
from tools.fleet.device_files import Outfit
from tools.fleet.store import Store
from tools.vm.device import Device
from umqtt5 import tls

# what every computer that runs the VM can tell of itself
_READINGS = ("load", "memory_available", "disk_free", "uptime")
PERIOD = 1.0  # s
_LOCAL = "localhost"  # bears a name: some mbedTLS check no addresses


@dataclass(frozen=True)
class Stage:
    """The broker of a simulated fleet, and how the desk gets to it."""

    address: Address  # with the desk's user and password
    ca: bytes | None = None  # TLS where there is one
    certificates: bool = False
    own: bool = True  # nobody else is there, and it is gone afterwards
    # user and password of every device, where they have none of their own
    everybody: bool = False


def described(count: int, guarded: bool, period: float = PERIOD) -> Fleet:
    """A fleet without a description: so many of this computer, with or without proof of who they are."""
    sensors = [{"kind": kind, "period": period} for kind in _READINGS]
    return Fleet.model_validate(
        {
            "name": "vm-{number:03}",
            "count": count,
            "board": "host",
            "broker": {"host": _LOCAL, "tls": guarded},
            "credentials": {"password": guarded, "certificate": guarded},
            "sensors": sensors,
            "health": 2 * period,
        }
    )


@contextlib.contextmanager
def stage(
    choice: str, fleet: Fleet, store: Store, names: list[str], ca: Path | None, folder: Path
) -> Iterator[Stage]:
    """A broker by its name or URL; mosquitto asks for what the description says. Raises Problem."""
    with contextlib.ExitStack() as stack:
        yield _stage(stack, choice, fleet, store, names, ca, folder)


def _stage(
    stack: contextlib.ExitStack,
    choice: str,
    fleet: Fleet,
    store: Store,
    names: list[str],
    ca: Path | None,
    folder: Path,
) -> Stage:
    desk = (
        store.passwords([mosquitto_config.DESK])[mosquitto_config.DESK]
        if fleet.credentials.password
        else None
    )
    user = mosquitto_config.DESK if desk else None
    if choice == "iotcore":
        address = stack.enter_context(broker.iotcore())
        return Stage(replace(address, user=user, password=desk))
    if choice == "mosquitto":
        secret_files.folder(folder)
        generate.guard_files(fleet, store, names, folder, _LOCAL)
        lines = mosquitto_config.lines(fleet.credentials, fleet.broker.tls, folder)
        anonymous = not generate.is_guarded(fleet)
        # a thousand devices come at once where a test begins
        running = stack.enter_context(
            broker.Mosquitto(*lines, "max_queued_messages 10000", anonymous=anonymous)
        )
        host = _LOCAL if fleet.broker.tls else running.address.host
        address = Address(host, running.address.port, user, desk)
        own_ca = store.authority.pem if fleet.broker.tls else None
        return Stage(address, own_ca, fleet.broker.tls and fleet.credentials.certificate)
    given = broker.parse(choice)
    if not broker.reachable(given, 5):
        raise Problem(f"{given}: nobody answers there; `make doctor BROKER=...` tells more")
    address = given if given.user else replace(given, user=user, password=desk)
    trusted = None
    if given.tls:
        try:
            trusted = ca.read_bytes() if ca else store.authority.pem
        except OSError as error:
            raise Problem(f"--ca {ca}: {error.strerror}") from error
    certificates = bool(trusted) and fleet.credentials.certificate
    return Stage(address, trusted, certificates, own=False, everybody=bool(given.user) and desk is None)


def desk_context(here: Stage, fleet: Fleet, store: Store) -> Any:
    """The SSLContext of the desk, None without TLS."""
    if not here.ca:
        return None
    pair = store.client(mosquitto_config.DESK, fleet.credentials.years) if here.certificates else None
    return tls.context(here.ca, pair.cert if pair else None, pair.key if pair else None)


def on_this_computer(one: Outfit, here: Stage) -> Outfit:
    """The same device with this computer as its board: its names and periods stay."""
    target = definition.load("host")
    config = copy.deepcopy(one.config)
    config.pop("wifi", None)
    config["ntp"] = []  # this computer's clock is right, and a hundred would ask at once
    where = config["broker"]
    where.update(host=here.address.host, port=here.address.port)
    if here.everybody:
        where.update(user=here.address.user, password=here.address.password)
    certificates = dict(one.certificates)
    where.pop("tls", None)
    if here.ca:
        certificates["ca.pem"] = here.ca
        where["tls"] = {"ca": "ca.pem"}
        if here.certificates:
            where["tls"].update(cert="cert.pem", key="key.pem")
    for index, sensor in enumerate(config["sensors"]):
        if sensor["kind"] not in _READINGS:
            # what else it says is of its own kind
            played = {"kind": _READINGS[index % len(_READINGS)], "name": sensor.get("name") or sensor["kind"]}
            config["sensors"][index] = {**played, "period": sensor.get("period", 10)}
    for index, actuator in enumerate(config["actuators"]):
        actuator["pin"] = target.outputs[index % len(target.outputs)]
    return Outfit(one.name, target, config, certificates)


def start(one: Outfit, folder: Path) -> Device:
    """Start a device. Raises vm.VmMissing, OSError."""
    secret_files.folder(folder)
    for name, data in one.certificates.items():
        secret_files.write(folder / name, data)
    return Device(folder, one.config)


def memory(device: Device) -> int | None:
    """Bytes that a device takes of this computer, with its share of what all share; None if unknown."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{device.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return None


def available() -> int | None:
    """Bytes of memory that this computer has left, None if unknown."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None
