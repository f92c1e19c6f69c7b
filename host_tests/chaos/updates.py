"""Updates over the air: good versions, versions that fail in each way, and offers that must be refused."""

from __future__ import annotations

import functools
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path

from host_tests.chaos.broker import Broker
from host_tests.chaos.configs import BASE, DEVICE, KEY
from host_tests.chaos.packets import Message, Publish
from host_tests.chaos.world import World
from tools.bundle import image
from tools.paths import BUILD
from tools.update_offer import Offer, Update, build_update

_CHUNK = 512  # bytes
_INTERVAL = 40  # ms between chunks

# code that is appended to a module of the version
_CHANGES = {
    "good": ("app/node.py", "_MARK = 1"),
    "crash at import": ("app/node.py", "raise ValueError('chaos: bad version')"),
    "hang at import": ("app/node.py", "while True:\n    pass"),
    "exit": ("app/node.py", "import sys\nsys.exit('chaos: exit')"),
    "rejects the config": (
        "app/config.py",
        "def load(path, pins):\n    raise ConfigError('config.json: chaos: missing, expected a new field')",
    ),
    "crash later": (
        "app/node.py",
        "def _fail(self, now):\n    raise ValueError('chaos: late')\nHealth.run = _fail",
    ),
    "never connects": ("umqtt5/wifi.py", "def _never(self, *args):\n    return False\nWifi.poll = _never"),
    "syntax of another version": ("app/health_check.py", "raise SystemExit"),
}
BAD = [name for name in _CHANGES if name not in ("good", "syntax of another version")]
REFUSED = ("bad signature", "replayed", "garbage", "truncated")


@functools.cache
def build(board: str, change: str) -> Update:
    """Return the update of a board with a change. The version is set when it is offered."""
    sources = image.collect_sources(board)
    path, code = _CHANGES[change]
    sources[path] = sources.get(path, "") + "\n\n" + code + "\n"
    digest = hashlib.sha256("".join(sources.values()).encode()).hexdigest()[:16]
    folder = BUILD / "chaos" / f"{board}-{change.replace(' ', '-')}-{digest}"
    if not folder.is_dir():
        import os
        import shutil
        import tempfile

        folder.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=folder.parent))
        image.compile_image(sources, new)
        try:
            os.rename(new, folder)
        except OSError:
            shutil.rmtree(new)
    return build_update(folder, 1)


class UpdateServer:
    """The sender of updates. It sends what the device requests, and follows the versions that may run."""

    def __init__(
        self,
        world: World,
        broker: Broker,
        rng: random.Random,
        board: str,
        on_finding: Callable[[str], None],
        log: Callable[[str], None],
    ) -> None:
        self.world, self.broker, self.rng, self.board = world, broker, rng, board
        self._on_finding, self._log = on_finding, log
        self.confirmed = 0
        self.rolled_back: set[int] = set()
        self.offered: dict[int, str] = {}  # change by version, of valid offers
        self.count: dict[str, int] = {}
        self._update: Update | None = None
        self._offer_version = 0
        self._chunks_left = 1 << 30  # for truncated updates
        self._request = (0, 0)
        self._turn = 0
        self._offer: Offer | None = None  # the last one that was sent
        self._offers: dict[str, Offer] = {}  # all valid ones, by tag
        self._next_version = 1
        self.state: dict[str, object] = {}
        broker.observers.append(self._observe)

    def offer(self, how: str) -> None:
        """Offer an update of a kind in `_CHANGES` or `REFUSED`."""
        self.count[how] = self.count.get(how, 0) + 1
        if how == "garbage":
            data = bytes(self.rng.randrange(256) for _ in range(self.rng.choice((3, 100, 700))))
            payload = self.rng.choice((b"{}", b"null", b'{"version":"7"}', b'{"version":{}}', b"[1,2]", data))
            self._send_offer(payload)
            return
        if how == "replayed":
            if self._offers:
                self._send_offer(self.rng.choice(list(self._offers.values())).payload)
            return
        version = self._next_version
        self._next_version += 1
        update = build(self.board, "good" if how in REFUSED else how)
        self._update = update = Update(version, update.names, update.files)
        self._chunks_left = self.rng.randint(0, 30) if how == "truncated" else 1 << 30
        if how != "bad signature":
            self.offered[version] = how
        for i in range(6):  # repeated, because the device may be offline, or the nonce may be old
            self.world.after(i * 20000, lambda: self._offer_if_needed(version, how == "bad signature"))

    def _offer_if_needed(self, version: int, is_forged: bool) -> None:
        """Offer the newest version with the nonce of the device, unless the device has accepted it."""
        update = self._update
        nonce = str(self.state.get("nonce", ""))
        is_accepted = self._offer and self._offer.tag == self.state.get("offer")
        is_accepted = is_accepted and self.state.get("state") != "refused"
        if not update or version != update.version or len(nonce) != 32:
            return
        if (is_accepted and self._offer_version == version) or self.state.get("version") == version:
            return
        self._offer = offer = update.build_offer(DEVICE, KEY, self.board, nonce)
        self._offer_version = version
        payload = offer.payload
        if is_forged:
            payload = payload[:-1] + (b"0" if payload[-1:] != b"0" else b"1")
        else:
            self._offers[offer.tag] = offer
        self._send_offer(payload)

    def _send_offer(self, payload: bytes) -> None:
        self.broker.publish(Message(f"{BASE}/update/set", payload, 1, False, b"", self.world.now + 60000))

    # ---- from the device

    def _observe(self, publish: Publish) -> None:
        if publish.topic == f"{BASE}/update/request":
            try:
                number, at, tag = json.loads(publish.payload)
            except ValueError:
                self._on_finding(f"an update request is not JSON: {publish.payload!r}")
                return
            if self._offer and tag == self._offer.tag:
                self._request = number, at
                self._turn += 1
                self._send_chunk(self._turn)
        elif publish.topic == f"{BASE}/update":
            self._follow(json.loads(publish.payload))

    def _send_chunk(self, turn: int) -> None:
        update, offer = self._update, self._offer
        number, at = self._request
        if (
            turn != self._turn
            or not update
            or not offer
            or number >= len(update.files)
            or self._chunks_left <= 0
        ):
            return
        data = update.files[number]
        if at >= len(data):
            return
        self._chunks_left -= 1
        payload = offer.build_chunk(number, at, data[at : at + _CHUNK])
        self.broker.publish(Message(f"{BASE}/update/chunk", payload, 1, False, b"", self.world.now + 60000))
        self._request = number, at + _CHUNK
        self.world.after(_INTERVAL, lambda: self._send_chunk(turn))

    def _follow(self, state: dict[str, object]) -> None:
        if state != self.state:
            shown = {key: value for key, value in state.items() if key not in ("nonce", "offer")}
            self._log(f"update: {json.dumps(shown)}")
        self.state = state
        version = int(str(state.get("version", 0)))
        rolled_back = state.get("rolled_back")
        if rolled_back:
            self.rolled_back.add(int(str(rolled_back)))
        if state.get("state") == "installed":
            self.confirmed = version

    def check_running(self, version: int) -> None:
        """Check the version that the device has selected at its start."""
        if version in self.rolled_back:
            self._on_finding(f"version {version} runs, although it was rolled back")
        elif version and version not in self.offered:
            self._on_finding(f"version {version} runs, although no valid offer had it")
        elif version and self.offered[version] == "truncated":
            self._on_finding(f"version {version} runs, although it was never sent completely")
