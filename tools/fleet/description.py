"""Fleet description (`fleet.toml`): load, validate with pydantic, expand into a list of devices."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Optional

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tools.errors import UserError
from tools.text_files import read_toml

_SECRET_FIELDS = ("password", "wifi")  # fields whose values are never printed
_NUMBER = re.compile(r"\{number(:0?[0-9]{1,2}[dxX]?)?\}")  # in the pattern of the names
_NAME = re.compile(r"[A-Za-z0-9_-]{1,23}")
_HOST = r"^[A-Za-z0-9_]([A-Za-z0-9_.-]*)$|^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9]+)?$"
_BROKER_FOLDER = "broker"  # name of a generated folder, like the names of devices and operators
DASHBOARD = "dashboard"  # the operator of a fleet whose description names none
_EXAMPLE = "greenhouse-{number:03}"


class _Table(BaseModel):
    """A table of `fleet.toml`. Unknown fields are errors, because they are most likely misspelled."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


Heap = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0.1, le=86400, strict=False)]


class Broker(_Table):
    """`[broker]`: the broker to which the devices connect.

    With `tls` and without `ca`, the fleet's own CA issues the broker's certificate.
    """

    host: Annotated[str, Field(min_length=1, max_length=253, pattern=_HOST)]
    port: Annotated[Optional[int], Field(ge=1, le=65535)] = None
    operator_port: Annotated[Optional[int], Field(ge=1, le=65535)] = None
    keep_alive: Annotated[Optional[int], Field(ge=5, le=65535)] = None
    tls: bool = False
    ca: Optional[str] = None  # CA file of the broker's certificate, relative to the folder of fleet.toml

    @property
    def effective_port(self) -> int:
        """`port`, or by default 8883 with TLS and 1883 without."""
        return self.port or (8883 if self.tls else 1883)

    @property
    def effective_operator_port(self) -> int:
        """`operator_port`, or by default the port after that of the devices."""
        return self.operator_port or (self.effective_port % 65535) + 1


class Wifi(_Table):
    """`[wifi]`: the network that the devices join."""

    ssid: Annotated[str, Field(min_length=1, max_length=32)]
    password: Annotated[str, Field(max_length=64)] = ""


class Sensor(_Table):
    """`[[sensors]]`: a sensor. The device's own code later checks the fields specific to its kind."""

    model_config = ConfigDict(extra="allow", strict=True)

    kind: str
    name: Optional[str] = None
    period: Optional[Seconds] = None


class Actuator(_Table):
    """`[[actuators]]`: an actuator. The device's own code later checks the fields specific to its kind."""

    model_config = ConfigDict(extra="allow", strict=True)

    name: str
    pin: str
    kind: Optional[str] = None


class Credentials(_Table):
    """`[credentials]`: how devices authenticate: with a random password, a client certificate, or both."""

    password: bool = True
    certificate: bool = False
    years: Annotated[int, Field(ge=1, le=30)] = 10  # validity of a device's certificate


class Override(_Table):
    """`[[devices]]`: a device that differs from the others.

    `number` selects a numbered device, and `name` then renames it. Without `number`, the `name` of a
    numbered device selects it, and any other `name` adds a device.
    """

    number: Optional[int] = None
    name: Optional[str] = None
    board: Optional[str] = None
    wifi: Optional[Wifi] = None
    sensors: Optional[list[Sensor]] = None
    actuators: Optional[list[Actuator]] = None
    health: Optional[Seconds] = None
    heap: Optional[Heap] = None


class Fleet(_Table):
    """The content of `fleet.toml`."""

    name: str = _EXAMPLE
    count: Annotated[int, Field(ge=0, le=100000)] = 0
    first: Annotated[int, Field(ge=0)] = 1
    board: str
    prefix: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^+#]*$")] = "umqtt5"
    broker: Broker
    wifi: Optional[Wifi] = None
    credentials: Credentials = Credentials()
    sensors: Optional[list[Sensor]] = None  # None: everything that the board can measure
    actuators: Optional[list[Actuator]] = None  # None: all outputs of the board
    health: Seconds = 60
    heap: Optional[Heap] = None  # heap of the boards in bytes, None: that of the stock MicroPython
    ntp: Optional[list[str]] = None  # None: the device's default
    watchdog: Optional[bool] = None
    reset_after: Annotated[Optional[float], Field(ge=0, le=86400, strict=False)] = None
    devices: list[Override] = []
    # names of the persons or computers that may monitor, command and update all devices
    operators: Annotated[list[str], Field(min_length=1)] = [DASHBOARD]

    @field_validator("name")
    @classmethod
    def _check_name_pattern(cls, pattern: str) -> str:
        # anything else between braces could read attributes, or need gigabytes: {number:0999999999}
        rest, count = _NUMBER.subn("", pattern)
        if not count or "{" in rest or "}" in rest:
            raise ValueError(f"a name that contains {{number}}, such as {_EXAMPLE}")
        return pattern

    @model_validator(mode="after")
    def _check_certificate_has_tls(self) -> Fleet:
        if self.credentials.certificate and not self.broker.tls:
            raise ValueError("broker.tls = true, because credentials.certificate is true")
        if self.broker.effective_operator_port == self.broker.effective_port:
            raise ValueError("broker.operator_port other than broker.port")
        return self


class Device(BaseModel):
    """One device of the fleet. A setting missing in its `[[devices]]` entry has the value of the fleet."""

    name: str
    board: str
    wifi: Optional[Wifi]
    sensors: Optional[list[Sensor]]
    actuators: Optional[list[Actuator]]
    health: float
    heap: Optional[int]


def load_fleet(path: Path) -> Fleet:
    """Load and check a fleet description.

    Raises UserError with a one-line message: the file, the first wrong field, and the expected value.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist. Create it with `make fleet ARGS=init`")
    fleet = parse_fleet(read_toml(path), str(path))
    expand_devices(fleet, str(path))
    return fleet


def parse_fleet(found: dict[str, Any], file: str) -> Fleet:
    """Build a Fleet from parsed TOML. `file` names the file in errors.

    Raises a UserError that names the first wrong field.
    """
    try:
        return Fleet.model_validate(found)
    except ValidationError as error:
        raise UserError(f"{file}: {_format_error(error)}") from error


def _format_error(error: ValidationError) -> str:
    """Describe the first error as `field: value, expected ...`, without secret values."""
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
    expected = expected.replace(f"match pattern '{_HOST}'", "a host name or an IP address")
    if not field:  # an error of the whole file
        return f"expected {expected}"
    # a table or a list may contain a password, and so may a text in place of a table
    is_secret = field.rsplit(".", 1)[-1] in _SECRET_FIELDS or isinstance(first["input"], (dict, list))
    value = "" if is_secret else f"{first['input']!r}, "
    return f"{field}: {value}expected {expected}"


def _fields(steps: tuple[int | str, ...]) -> list[str]:
    """Return the names of the fields of the table at this location."""
    tables: dict[str, type[BaseModel]] = {
        "broker": Broker,
        "wifi": Wifi,
        "credentials": Credentials,
        "sensors": Sensor,
        "actuators": Actuator,
        "devices": Override,
    }
    keys = [step for step in steps if isinstance(step, str)]
    table = tables[keys[-1]] if keys else Fleet
    return sorted(table.model_fields)


def expand_devices(fleet: Fleet, file: str = "fleet.toml") -> list[Device]:
    """Return all devices: the numbered ones in order, then those that `[[devices]]` adds.

    Raises UserError if an entry of `[[devices]]` has a wrong number or no name, if a device name is invalid
    or not unique, or if there is no device.
    """
    numbered, added = _apply_overrides(fleet, file)
    devices = [_device(fleet, one, fleet.name.format(number=n)) for n, one in numbered.items()]
    devices += [_device(fleet, one, str(one.name)) for one in added]
    if not devices:
        raise UserError(f"{file}: count is 0 and there are no [[devices]], expected at least one device")
    _check_names(devices, fleet.operators, file)
    return devices


def _apply_overrides(fleet: Fleet, file: str) -> tuple[dict[int, Override], list[Override]]:
    """Return the override of each numbered device, and the overrides that add a device."""
    numbered = {n: Override() for n in range(fleet.first, fleet.first + fleet.count)}
    added: list[Override] = []
    names = {fleet.name.format(number=n): n for n in numbered}
    for index, one in enumerate(fleet.devices):
        number = one.number if one.number is not None else names.get(one.name or "")
        if number is not None and number in numbered:
            numbered[number] = one
        elif one.number is not None:
            last = fleet.first + fleet.count - 1
            raise UserError(
                f"{file}: devices[{index}].number: {one.number}, "
                + (
                    f"expected {fleet.first} to {last}"
                    if fleet.count
                    else "expected a name, because count is 0"
                )
            )
        elif one.name is None:
            raise UserError(f"{file}: devices[{index}]: expected number or name")
        else:
            added.append(one)
    return numbered, added


def _check_names(devices: list[Device], operators: list[str], file: str) -> None:
    """Check the names of devices and operators. Each is the name of a folder and a user of the broker."""
    seen: set[str] = set()
    named = [("device", device.name) for device in devices] + [("operator", name) for name in operators]
    for kind, name in named:
        if not _NAME.fullmatch(name):
            raise UserError(f"{file}: {kind} name {name!r}, expected 1 to 23 letters, digits, - or _")
        if name == _BROKER_FOLDER or (kind == "device" and name == DASHBOARD):
            raise UserError(f"{file}: {kind} name {name!r}, expected another name, because it is reserved")
        if name in seen:
            raise UserError(f"{file}: {kind} name {name!r} is used twice, expected unique names")
        seen.add(name)


def _device(fleet: Fleet, override: Override, name: str) -> Device:
    def setting(field: str) -> Any:
        own = getattr(override, field)
        return getattr(fleet, field) if own is None else own

    return Device(
        name=override.name or name,
        **{field: setting(field) for field in ("board", "wifi", "sensors", "actuators", "health", "heap")},
    )
