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
from tools.update import Update, build_update

_CHUNK = 512  # bytes
_INTERVAL = 40  # ms between chunks

# code that is appended to a module of the version
_CHANGES = {
    "good": ("app/node.py", "_MARK = 1"),
    "crash at import": ("app/node.py", "raise ValueError('chaos: bad version')"),
    "hang at import": ("app/node.py", "while True:\n    pass"),
    "exit": ("app/node.py", "import sys\nsys.exit()"),
    "rejects the config": (
        "app/config.py",
        "def load(path, pins):\n    raise ConfigError('config.json: chaos: missing, expected a new field')",
    ),
    "crash later": (
        "app/node.py",
        "def _fail(self, now):\n    raise ValueError('chaos: late')\nHealth.run = _fail",
    ),
    "never connects": ("app/node.py", "def _never(self):\n    return False\nWifi.connect = _never"),
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
    return build_update(folder, 0)


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
        self.outcomes: dict[str, int] = {}
        self._update: Update | None = None
        self._chunks_left = 1 << 30  # for truncated updates
        self._request = (0, 0)
        self._turn = 0
        self._offers: list[str] = []
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
                self._send_offer(self.rng.choice(self._offers).encode())
            return
        version = self._next_version
        self._next_version += 1
        self._update = update = build(self.board, "good" if how in REFUSED else how)
        update.version = version
        offer = self._build_offer(update)
        if how == "bad signature":
            digest = str(offer["signature"])
            offer["signature"] = ("0" if digest[0] != "0" else "1") + digest[1:]
            self._send_offer(json.dumps(offer).encode())
            return
        self._chunks_left = self.rng.randint(0, 30) if how == "truncated" else 1 << 30
        self.offered[version] = how
        text = json.dumps(offer)
        self._offers.append(text)
        for i in range(3):  # repeated, because the device may be offline
            self.world.after(i * 20000, lambda: self._offer_if_needed(text, version))

    def _build_offer(self, update: Update) -> dict[str, object]:
        return dict(update.build_offer(DEVICE, KEY, self.board))

    def _offer_if_needed(self, text: str, version: int) -> None:
        if version == self._next_version - 1 and self.state.get("offered") != version:
            self._send_offer(text.encode())

    def _send_offer(self, payload: bytes) -> None:
        self.broker.publish(Message(f"{BASE}/update/set", payload, 1, False, b"", self.world.now + 60000))

    # ---- from the device

    def _observe(self, publish: Publish) -> None:
        if publish.topic == f"{BASE}/update/request":
            try:
                number, at = json.loads(publish.payload)
            except ValueError:
                self._on_finding(f"an update request is not JSON: {publish.payload!r}")
                return
            self._request = number, at
            self._turn += 1
            self._send_chunk(self._turn)
        elif publish.topic == f"{BASE}/update":
            self._follow(json.loads(publish.payload))

    def _send_chunk(self, turn: int) -> None:
        update = self._update
        number, at = self._request
        if turn != self._turn or not update or number >= len(update.files) or self._chunks_left <= 0:
            return
        data = update.files[number]
        if at >= len(data):
            return
        self._chunks_left -= 1
        payload = number.to_bytes(2, "big") + at.to_bytes(4, "big") + data[at : at + _CHUNK]
        self.broker.publish(Message(f"{BASE}/update/chunk", payload, 1, False, b"", self.world.now + 60000))
        self._request = number, at + _CHUNK
        self.world.after(_INTERVAL, lambda: self._send_chunk(turn))

    def _follow(self, state: dict[str, object]) -> None:
        if state != self.state:
            self._log(f"update: {json.dumps(state)}")
            word = str(state.get("state"))
            self.outcomes[word] = self.outcomes.get(word, 0) + 1
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
