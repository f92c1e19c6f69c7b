"""`make update` with the update part of the device: answers, restarts, old devices, other senders, forgeries.

Sender and device run in one process. A simulated client passes messages between them, and everything that
they sent can be read and sent again, as by an attacker who may publish to all topics.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tools import broker
from tools import update as command
from tools.errors import UserError
from tools.update import Update, UpdateSender, build_update
from tools.update_offer import MAX_VERSION

KEY = "0f" * 32
BASE = "p/dut"


class Network:
    """The broker: clients of senders, and a device. `on_poll` is called in each round of a sender."""

    def __init__(self) -> None:
        import update_device

        self.module = update_device
        self.retained: bytes | None = None
        self.log: list[tuple[str, bytes]] = []
        self.clients: list[Any] = []
        self.on_poll: Callable[[], None] = lambda: None
        self.device: Any = None

    def start_device(self, **options: Any) -> None:
        self.device = self.module.Device(confirm=1, **options)

    def publish(self, topic: str, payload: bytes) -> None:
        """Deliver a message to the device or to the senders."""
        self.log.append((topic, payload))
        if topic == f"{BASE}/update":
            self.retained = payload
        elif self.device and topic in self.device.client.handlers:
            self.device.client.handlers[topic](self.module.Message(payload))
        for client in self.clients:
            if topic in client.handlers:
                client.handlers[topic](self.module.Message(payload))

    def run(self) -> None:
        """Run one iteration of the device, and restart it if it resets."""
        self.on_poll()
        if not self.device:
            return
        try:
            self.device.run(100)
        except self.module.Resets:
            self.flush()
            self.start_device()
        self.flush()

    def flush(self) -> None:
        sent, self.device.client.sent = self.device.client.sent, []
        for topic, payload in sent:
            self.publish(topic, payload.encode())

    def payloads(self, name: str) -> list[bytes]:
        return [payload for topic, payload in self.log if topic == f"{BASE}/{name}"]

    @property
    def states(self) -> list[dict[str, Any]]:
        return [json.loads(payload) for payload in self.payloads("update")]


class FakeClient:
    """The part of the client that a sender uses."""

    network: Network

    def __init__(self, *args: Any, **options: Any) -> None:
        self.handlers: dict[str, Any] = {}

    def subscribe(self, topic: str, handler: Any, qos: int = 0) -> None:
        self.handlers[topic] = handler

    def connect(self) -> None:
        self.network.clients.append(self)
        if self.network.retained:
            self.handlers[f"{BASE}/update"](self.network.module.Message(self.network.retained))

    def disconnect(self) -> None:
        self.network.clients.remove(self)

    def publish(self, topic: str, payload: bytes, **options: Any) -> int:
        self.network.publish(topic, payload)
        return 1

    def poll(self, ms: int) -> None:
        self.network.run()


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    monkeypatch.chdir(tmp_path)
    started = Network()
    monkeypatch.setattr(FakeClient, "network", started, raising=False)
    monkeypatch.setattr(command, "Client", FakeClient)
    monkeypatch.setattr(command, "_OFFER_INTERVAL", 0.02)
    started.module.clean()
    started.start_device()
    started.run()
    yield started


def make_update(tmp_path: Path, version: int, data: bytes = b"new" * 500) -> Update:
    folder = tmp_path / f"image-{version}"
    (folder / "app").mkdir(parents=True)
    (folder / "app" / "new.mpy").write_bytes(data)
    (folder / "app.mpy").write_bytes(b"sorted before app/")
    (folder / "main.py").write_text("excluded")
    return build_update(folder, version)


def make_sender(update: Update, force: bool = False, key: str = KEY) -> UpdateSender:
    address = broker.Address("127.0.0.1", 1883)
    return UpdateSender(
        address, BASE, update, lambda nonce: update.build_offer("dut", key, "esp32", nonce, force)
    )


def explain(sender: UpdateSender) -> str:
    return command._explain_failure(sender.state, sender.update.version, BASE)


def test_an_update_is_installed_and_confirmed(network: Network, tmp_path: Path) -> None:
    sender = make_sender(make_update(tmp_path, 7))
    assert sender.send(5)
    assert [state["state"] for state in network.states if "offered" not in state][-2:] == [
        "trying",
        "installed",
    ]
    assert sender.state["version"] == 7 and sender.sent_bytes == sum(map(len, sender.update.files))
    # the same offer and chunks, sent again by somebody else
    offers, chunks = network.payloads("update/set"), network.payloads("update/chunk")
    for start in ({}, {"is_deep": True}):
        network.start_device(**start)
        for payload in offers:
            network.publish(f"{BASE}/update/set", payload)
        for payload in chunks:
            network.publish(f"{BASE}/update/chunk", payload)
        network.run()
        assert network.states[-1]["reason"].startswith("old nonce") and not network.device.download


def test_the_largest_version_is_accepted_and_larger_ones_are_not_sent(
    network: Network, tmp_path: Path
) -> None:
    sender = make_sender(make_update(tmp_path, MAX_VERSION))
    assert sender.send(5) and sender.state["version"] == 10**20 - 1
    for version in (0, -1, MAX_VERSION + 1):
        with pytest.raises(UserError, match="not a version number, expected 1 to 20 digits"):
            build_update(tmp_path, version)


def test_a_recorded_offer_with_force_is_refused_after_a_deployment_by_cable(
    network: Network, tmp_path: Path
) -> None:
    assert make_sender(make_update(tmp_path, 3), force=True).send(5)
    network.module.clean()  # `make deploy` deletes these files
    network.start_device()
    for payload in network.payloads("update/set"):
        network.publish(f"{BASE}/update/set", payload)
        network.run()
        assert network.states[-1]["reason"].startswith("old nonce") and not network.device.download
    assert network.states[-1]["version"] == 0


def test_a_device_that_restarts_before_the_offer_gets_a_new_one(network: Network, tmp_path: Path) -> None:
    sender = make_sender(make_update(tmp_path, 7))
    network.start_device()  # the retained state still has the nonce of the start before
    assert sender.send(5)
    assert len(sender._offers) == 2


def test_offers_with_an_old_nonce_are_not_repeated_forever(network: Network, tmp_path: Path) -> None:
    sender = make_sender(make_update(tmp_path, 7))
    publish = network.publish

    def restart_first(topic: str, payload: bytes) -> None:
        if topic == f"{BASE}/update/set":
            network.start_device()
        publish(topic, payload)

    network.publish = restart_first  # type: ignore[method-assign]
    assert not sender.send(5) and len(sender._offers) == 5
    assert explain(sender).startswith("the device refused the update: old nonce")


def test_an_older_device_and_an_older_tool_get_a_readable_answer(network: Network, tmp_path: Path) -> None:
    old_offer = {"version": 8, "board": "esp32", "size": 9, "sha256": "00" * 32, "signature": "00" * 32}
    network.publish(f"{BASE}/update/set", json.dumps(old_offer).encode())
    network.run()
    assert network.states[-1]["state"] == "refused" and "has an old format" in network.states[-1]["reason"]
    network.device = None
    network.publish(f"{BASE}/update", b'{"version": 7, "state": "installed"}')
    with pytest.raises(UserError, match="an older version, .* by cable once: make deploy"):
        make_sender(make_update(tmp_path, 8)).send(1)
    assert len(network.payloads("update/set")) == 1


@pytest.mark.parametrize(
    "nonce", ["", "0" * 31, "0" * 32 + " force", "A" * 32, 7, None, "0" * 31 + "\n", ["x"]]
)
def test_a_nonce_that_is_not_32_hexadecimal_digits_is_not_signed(
    nonce: Any, network: Network, tmp_path: Path
) -> None:
    network.device = None
    network.publish(
        f"{BASE}/update", json.dumps({"version": 7, "state": "installed", "nonce": nonce}).encode()
    )
    with pytest.raises(UserError, match="no valid nonce"):
        make_sender(make_update(tmp_path, 8)).send(1)
    assert not network.payloads("update/set")


def test_refusals_and_failures_are_explained(network: Network, tmp_path: Path) -> None:
    sender = make_sender(make_update(tmp_path, 7), key="00" * 32)
    assert not sender.send(5)
    assert explain(sender) == "the device refused the update: wrong signature: check update.key"
    bad = make_update(tmp_path, 8)
    bad.files[1] = b"!" + bad.files[1][1:]
    sender = make_sender(bad)
    assert not sender.send(5)
    assert explain(sender) == "the device could not install the update: file 1 has the wrong SHA-256"
    assert make_sender(make_update(tmp_path, 9)).send(5)
    sender = make_sender(make_update(tmp_path, 6))
    assert not sender.send(5)
    assert explain(sender) == "the device refused the update: version 6 is not newer than 9"


def test_a_rollback_is_reported_with_its_reason(network: Network, tmp_path: Path) -> None:
    import slot

    sender = make_sender(make_update(tmp_path, 7))

    def fail() -> None:
        if network.device.update.trying:
            slot.roll_back("ConfigError: bad")
            network.start_device()

    network.on_poll = fail
    assert not sender.send(5)
    assert explain(sender).startswith("the device rolled back to version 0: ConfigError: bad.")
    # the record survives, and --force installs the version after all
    assert not make_sender(sender.update).send(5)
    network.on_poll = lambda: None
    assert make_sender(sender.update, force=True).send(5)
    assert "rolled_back" not in network.states[-1]


def test_a_restart_during_the_download_is_reported(network: Network, tmp_path: Path) -> None:
    sender = make_sender(make_update(tmp_path, 7))

    def cut_power() -> None:
        if sender.sent_bytes and network.device.download:
            network.start_device()

    network.on_poll = cut_power
    assert not sender.send(5)
    assert explain(sender) == "the device was restarted during the update, and runs version 0"


def test_the_newest_offer_wins_and_the_other_sender_ends(network: Network, tmp_path: Path) -> None:
    first = make_sender(make_update(tmp_path, 7))
    second = make_sender(make_update(tmp_path, 8, b"other" * 500))

    def start_second() -> None:
        if first.sent_bytes:
            network.on_poll = lambda: None
            offer = second.update.build_offer("dut", KEY, "esp32", network.states[-1]["nonce"])
            network.publish(f"{BASE}/update/set", offer.payload)

    network.on_poll = start_second
    with pytest.raises(UserError, match="newer offer of another sender"):
        first.send(5)
    assert second.send(5) and network.states[-1]["version"] == 8


def test_an_attacker_who_sees_and_sends_everything_cannot_disturb_an_update(
    network: Network, tmp_path: Path
) -> None:
    update = make_update(tmp_path, 7, bytes(range(256)) * 20)
    recorded = make_sender(make_update(tmp_path, 6))
    assert recorded.send(5)
    sender = make_sender(update)
    old_offers, old_chunks = network.payloads("update/set"), network.payloads("update/chunk")

    def attack() -> None:
        if not network.device.download:
            return
        download = network.device.download
        head = b"\0" * 8 + download._number.to_bytes(2, "big") + download._at.to_bytes(4, "big")
        for payload in [*old_offers, b"garbage", b'{"version": 9}']:
            network.publish(f"{BASE}/update/set", payload)
        for payload in [*old_chunks, head + b"evil code", b""]:
            network.publish(f"{BASE}/update/chunk", payload)
        for payload in (b"[0, 0]", b'[1, 0, "00000000"]', b"[[1], 2, 3]", b"\xff", b"9" * 5000, b"[" * 9000):
            network.publish(f"{BASE}/update/request", payload)

    network.on_poll = attack
    assert sender.send(20), network.states
    folder = Path("b" if Path("b/version").exists() else "a")
    assert (folder / "files").read_bytes() == b"".join(update.files[1:])
