"""Run Home Assistant in a process with one account, and control it with commands over its WebSocket API."""

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
    """A Home Assistant that runs in `folder`, with MQTT configured for the broker at `address`."""

    def __init__(self, program: Path, folder: Path, address: broker.Address, protocol: str = "3.1.1") -> None:
        self.log = folder / "log"
        self._url = f"http://127.0.0.1:{broker.free_port()}"
        self._command_ids = itertools.count(1)
        self._configure(folder, address, protocol)
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(
                [program, "-c", folder, "--skip-pip"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._socket = self._log_in()
        except BaseException:
            self.stop()
            raise

    def _configure(self, folder: Path, address: broker.Address, protocol: str) -> None:
        text = (HERE / "configuration.yaml").read_text()
        (folder / "configuration.yaml").write_text(text.format(port=self._url.rpartition(":")[2]))
        data = {"broker": address.host, "port": address.port, "discovery": True, "protocol": protocol}
        if address.user:
            data |= {"username": address.user, "password": address.password}
        entries = {"entries": [{**_ENTRY, "data": data}]}
        stored = {"version": 1, "minor_version": 1, "key": "core.config_entries", "data": entries}
        (folder / ".storage").mkdir()
        (folder / ".storage" / "core.config_entries").write_text(json.dumps(stored))

    def _post(self, path: str, kind: str, data: bytes) -> Any:
        request = urllib.request.Request(self._url + path, data, {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def _log_in(self) -> ClientConnection:
        """Create the first account, as a user does in the browser, and open the WebSocket API with it."""
        account = json.dumps({**_ACCOUNT, "client_id": self._url}).encode()
        deadline = time.monotonic() + 150
        while True:
            try:
                code = self._post("/api/onboarding/users", "application/json", account)["auth_code"]
                break
            except (OSError, KeyError):
                is_running = self._process.poll() is None
                assert is_running and time.monotonic() < deadline, self.last_lines()
                time.sleep(0.5)
        grant = {"grant_type": "authorization_code", "code": code, "client_id": self._url}
        form = urllib.parse.urlencode(grant).encode()
        token = self._post("/auth/token", "application/x-www-form-urlencoded", form)["access_token"]
        socket = connect("ws" + self._url[4:] + "/api/websocket", max_size=None)
        socket.recv(30)
        socket.send(json.dumps({"type": "auth", "access_token": token}))
        assert json.loads(socket.recv(30))["type"] == "auth_ok"
        return socket

    def send_command(self, kind: str, **fields: Any) -> Any:
        """Send one command of the WebSocket API and return its result."""
        command_id = next(self._command_ids)
        self._socket.send(json.dumps({"id": command_id, "type": kind, **fields}))
        response = json.loads(self._socket.recv(30))
        assert response["id"] == command_id and response["success"], response
        return response["result"]

    def states(self) -> dict[str, dict[str, Any]]:
        """Return the state objects, by entity id."""
        return {state["entity_id"]: state for state in self.send_command("get_states")}

    def registry(self) -> dict[str, dict[str, Any]]:
        """Return the entries of the MQTT integration in the entity registry, by entity id."""
        entries = self.send_command("config/entity_registry/list")
        return {entry["entity_id"]: entry for entry in entries if entry["platform"] == "mqtt"}

    def state(self, entity: str) -> str:
        """Return the state of an entity, or "None" if the entity does not exist."""
        return str(self.states().get(entity, {}).get("state"))

    def numeric_state(self, entity: str) -> float:
        """Return the state of an entity as a number, or NaN if it is not a number."""
        try:
            return float(self.state(entity))
        except ValueError:  # unknown, unavailable
            return math.nan

    def wait_for_state(self, entity: str, state: str) -> None:
        """Wait until the entity has this state."""
        self.wait_until(lambda: self.state(entity) == state)

    def call_service(self, service: str, entity: str, **data: Any) -> None:
        """Call a service such as `switch.turn_on`, as a click in the user interface does."""
        domain, _, name = service.partition(".")
        self.send_command(
            "call_service", domain=domain, service=name, service_data=data, target={"entity_id": entity}
        )

    def wait_until(self, condition: Callable[[], object], timeout: float = 60) -> None:
        """Wait until the condition is true. Fail the test if it is still false after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, self.last_lines()
            time.sleep(0.1)

    def last_lines(self) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        """Kill the process: a clean shutdown takes ten seconds, and no test needs its data again."""
        self._process.kill()
        self._process.wait()
