"""`fleet.toml`: what a fleet is. Read, checked field by field, and spread out into its devices."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Optional

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from tomlkit.exceptions import TOMLKitError

from tools.errors import UserError

_SECRETS = ("password",)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,23}")
_TAKEN = ("broker", "dashboard")  # who else has a password, and a folder beside the devices
_EXAMPLE = "greenhouse-{number:03}"


class _Table(BaseModel):
    """A table of the file: a field that nobody knows is a mistake in writing."""

    model_config = ConfigDict(extra="forbid", strict=True)


Seconds = Annotated[float, Field(ge=0.1, le=86400, strict=False)]


class Broker(_Table):
    """Where the devices find their broker. With TLS and no `ca` the fleet's own signs for it."""

    host: Annotated[str, Field(min_length=1, max_length=253)]
    port: Annotated[Optional[int], Field(ge=1, le=65535)] = None
    keep_alive: Annotated[Optional[int], Field(ge=5, le=65535)] = None
    tls: bool = False
    ca: Optional[str] = None  # beside the description

    @property
    def effective_port(self) -> int:
        return self.port or (8883 if self.tls else 1883)


class Wifi(_Table):
    ssid: Annotated[str, Field(min_length=1, max_length=32)]
    password: Annotated[str, Field(max_length=64)] = ""


class Sensor(_Table):
    """Its other fields are those of its kind, which the device's own check knows."""

    model_config = ConfigDict(extra="allow", strict=True)

    kind: str
    name: Optional[str] = None
    period: Optional[Seconds] = None


class Actuator(_Table):
    """Its other fields are those of its kind, which the device's own check knows."""

    model_config = ConfigDict(extra="allow", strict=True)

    name: str
    pin: str
    kind: Optional[str] = None


class Credentials(_Table):
    """How a device proves who it is: by a random password, by a certificate, or by both."""

    password: bool = True
    certificate: bool = False
    years: Annotated[int, Field(ge=1, le=30)] = 10  # of a device's certificate


class Override(_Table):
    """One device that differs: one of the numbered ones by `number`, or one with a name of its own."""

    number: Optional[int] = None
    name: Optional[str] = None
    board: Optional[str] = None
    wifi: Optional[Wifi] = None
    sensors: Optional[list[Sensor]] = None
    actuators: Optional[list[Actuator]] = None
    health: Optional[Seconds] = None


class Fleet(_Table):
    """The whole file."""

    name: str = _EXAMPLE
    count: Annotated[int, Field(ge=0, le=100000)] = 0
    first: Annotated[int, Field(ge=0)] = 1
    board: str
    prefix: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^+#]*$")] = "umqtt5"
    broker: Broker
    wifi: Optional[Wifi] = None
    credentials: Credentials = Credentials()
    sensors: Optional[list[Sensor]] = None  # None: all that the board can measure
    actuators: Optional[list[Actuator]] = None
    health: Seconds = 60
    ntp: Optional[list[str]] = None  # None: as the device has it by itself
    watchdog: Optional[bool] = None
    reset_after: Annotated[Optional[float], Field(ge=0, le=86400, strict=False)] = None
    devices: list[Override] = []

    @field_validator("name")
    @classmethod
    def _names_many(cls, pattern: str) -> str:
        try:
            different = pattern.format(number=1) != pattern.format(number=2)
        except (KeyError, IndexError, ValueError, AttributeError):
            different = False
        if not different:
            raise ValueError(f"a name with the number in it, such as {_EXAMPLE}")
        return pattern

    @model_validator(mode="after")
    def _proof_over_tls(self) -> Fleet:
        if self.credentials.certificate and not self.broker.tls:
            raise ValueError("broker.tls = true where credentials.certificate is")
        return self


class Device(BaseModel):
    """One device of the fleet, with what is its own and what it shares."""

    name: str
    board: str
    wifi: Optional[Wifi]
    sensors: Optional[list[Sensor]]
    actuators: Optional[list[Actuator]]
    health: float


def load_fleet(path: Path) -> Fleet:
    """The description in a file. Raises UserError: one line with the file, the field, what was expected."""
    try:
        found = tomlkit.parse(path.read_text()).unwrap()
    except FileNotFoundError as error:
        raise UserError(f"{path}: not there; `make fleet ARGS=init` writes one to begin with") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not TOML: {error}") from error
    fleet = parse_fleet(found, str(path))
    expand_devices(fleet, str(path))
    return fleet


def parse_fleet(found: dict[str, Any], where: str) -> Fleet:
    """Raises UserError with the first field that is wrong."""
    try:
        return Fleet.model_validate(found)
    except ValidationError as error:
        raise UserError(f"{where}: {_line(error)}") from error


def _line(error: ValidationError) -> str:
    first = error.errors()[0]
    field = ""
    for step in first["loc"]:
        field += f"[{step}]" if isinstance(step, int) else f".{step}" if field else str(step)
    if first["type"] == "missing":
        return f"{field}: missing"
    if first["type"] == "extra_forbidden":
        return f"{field}: unknown, expected one of {', '.join(_fields(first['loc'][:-1]))}"
    expected = re.sub(r"^(Input|String|Value|List)\b( error,)?( should)?( be)? ?", "", first["msg"])
    expected = expected.replace("have at", "at").replace(
        "match pattern '^[^+#]*$'", "a topic without + and #"
    )
    if not field:  # of the file as a whole
        return f"expected {expected}"
    value = "" if field.rsplit(".", 1)[-1] in _SECRETS else f"{first['input']!r}, "
    return f"{field}: {value}expected {expected}"


def _fields(steps: tuple[int | str, ...]) -> list[str]:
    """The fields of the table at this place."""
    tables: dict[str, type[BaseModel]] = {
        "broker": Broker,
        "wifi": Wifi,
        "credentials": Credentials,
        "sensors": Sensor,
        "actuators": Actuator,
        "devices": Override,
    }
    named = [step for step in steps if isinstance(step, str)]
    table = tables[named[-1]] if named else Fleet
    return sorted(table.model_fields)


def expand_devices(fleet: Fleet, where: str = "fleet.toml") -> list[Device]:
    """Each device, in order. Raises UserError for a name that can't be, or is there twice."""
    numbered = {n: Override() for n in range(fleet.first, fleet.first + fleet.count)}
    named: list[Override] = []
    names = {fleet.name.format(number=n): n for n in numbered}
    for index, one in enumerate(fleet.devices):
        number = one.number if one.number is not None else names.get(one.name or "")
        if number is not None and number in numbered:
            numbered[number] = one
        elif one.number is not None:
            last = fleet.first + fleet.count - 1
            raise UserError(
                f"{where}: devices[{index}].number: {one.number}, "
                + (f"expected {fleet.first} to {last}" if fleet.count else "expected a name: count is 0")
            )
        elif one.name is None:
            raise UserError(f"{where}: devices[{index}]: missing, expected number or name")
        else:
            named.append(one)
    made = [_device(fleet, one, fleet.name.format(number=n)) for n, one in numbered.items()]
    made += [_device(fleet, one, str(one.name)) for one in named]
    if not made:
        raise UserError(f"{where}: count: 0, and no [[devices]]; expected at least one device")
    seen: set[str] = set()
    for device in made:
        if not _NAME.fullmatch(device.name):
            raise UserError(
                f"{where}: name: {device.name!r} of a device, expected 1 to 23 letters, digits, - or _"
            )
        if device.name in _TAKEN:
            raise UserError(
                f"{where}: name: {device.name!r}, expected another: {' and '.join(_TAKEN)} are taken"
            )
        if device.name in seen:
            raise UserError(f"{where}: name: {device.name!r} twice, expected a name that no other has")
        seen.add(device.name)
    return made


def _device(fleet: Fleet, one: Override, name: str) -> Device:
    def either(field: str) -> Any:
        own = getattr(one, field)
        return getattr(fleet, field) if own is None else own

    return Device(
        name=one.name or name,
        **{field: either(field) for field in ("board", "wifi", "sensors", "actuators", "health")},
    )
