"""Home Assistant as a process with one account, and what a test asks it over its WebSocket."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from host_tests.homeassistant.installation import HERE
from tools import broker

_ENTRY: dict[str, Any] = {
    "created_at": "2026-01-01T00:00:00+00:00",
    "modified_at": "2026-01-01T00:00:00+00:00",
    "disabled_by": None,
    "discovery_keys": {},
    "domain": "mqtt",
    "entry_id": "mqtt",
    "version": 1,
    "minor_version": 2,
    "options": {},
    "pref_disable_new_entities": False,
    "pref_disable_polling": False,
    "source": "user",
    "title": "mqtt",
    "unique_id": None,
}
_ACCOUNT = {"name": "test", "username": "test", "password": "test", "language": "en"}


class HomeAssistant:
    """It runs in `folder`, with an account; MQTT is set up for the broker at `address`."""

    def __init__(self, program: Path, folder: Path, address: broker.Address) -> None:
        self.log = folder / "log"
        self._url = f"http://127.0.0.1:{broker.free_port()}"
        self._numbers = itertools.count(1)
        self._configure(folder, address)
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(
                [program, "-c", folder, "--skip-pip"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._socket = self._enter()
        except BaseException:
            self.stop()
            raise

    def _configure(self, folder: Path, address: broker.Address) -> None:
        text = (HERE / "configuration.yaml").read_text()
        (folder / "configuration.yaml").write_text(text.format(port=self._url.rpartition(":")[2]))
        data = {"broker": address.host, "port": address.port, "discovery": True}
        entries = {"entries": [{**_ENTRY, "data": data}]}
        stored = {"version": 1, "minor_version": 1, "key": "core.config_entries", "data": entries}
        (folder / ".storage").mkdir()
        (folder / ".storage" / "core.config_entries").write_text(json.dumps(stored))

    def _post(self, path: str, kind: str, data: bytes) -> Any:
        request = urllib.request.Request(self._url + path, data, {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def _enter(self) -> ClientConnection:
        """The first to come makes the account, as a person does in the browser."""
        account = json.dumps({**_ACCOUNT, "client_id": self._url}).encode()
        ends = time.monotonic() + 150
        while True:
            try:
                code = self._post("/api/onboarding/users", "application/json", account)["auth_code"]
                break
            except (OSError, KeyError):
                running = self._process.poll() is None
                assert running and time.monotonic() < ends, self.last_lines()
                time.sleep(0.5)
        grant = {"grant_type": "authorization_code", "code": code, "client_id": self._url}
        form = urllib.parse.urlencode(grant).encode()
        token = self._post("/auth/token", "application/x-www-form-urlencoded", form)["access_token"]
        socket = connect("ws" + self._url[4:] + "/api/websocket", max_size=None)
        socket.recv(30)
        socket.send(json.dumps({"type": "auth", "access_token": token}))
        assert json.loads(socket.recv(30))["type"] == "auth_ok"
        return socket

    def ask(self, kind: str, **fields: Any) -> Any:
        """One command of its WebSocket API; returns the result."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "type": kind, **fields}))
        answer = json.loads(self._socket.recv(30))
        assert answer["id"] == number and answer["success"], answer
        return answer["result"]

    def states(self) -> dict[str, dict[str, Any]]:
        """What it shows, by entity."""
        return {state["entity_id"]: state for state in self.ask("get_states")}

    def registry(self) -> dict[str, dict[str, Any]]:
        """What it knows of MQTT's entities, by their unique ids."""
        entities = self.ask("config/entity_registry/list")
        return {one["entity_id"]: one for one in entities if one["platform"] == "mqtt"}

    def state(self, entity: str) -> str:
        return str(self.states().get(entity, {}).get("state"))

    def number(self, entity: str) -> float:
        """Its state as a number, nan where it is none."""
        try:
            return float(self.state(entity))
        except ValueError:  # unknown, unavailable
            return math.nan

    def shows(self, entity: str, state: str) -> None:
        """Wait until it shows this state."""
        self.wait_until(lambda: self.state(entity) == state)

    def call(self, service: str, entity: str, **data: Any) -> None:
        """Call a service such as `switch.turn_on`, as a click in its window does."""
        domain, _, name = service.partition(".")
        self.ask("call_service", domain=domain, service=name, service_data=data, target={"entity_id": entity})

    def wait_until(self, condition: Callable[[], object], timeout: float = 60) -> None:
        """Wait until the condition holds; fails the test where it does not."""
        ends = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < ends, self.last_lines()
            time.sleep(0.1)

    def last_lines(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        """At once: gently it takes ten seconds, and nothing of it is kept."""
        self._process.kill()
        self._process.wait()
