"""Over-the-air (OTA) updates: accepts signed offers, confirms new versions, rolls back failing ones.

The state is published to `<base>/update`, retained: {"version": 7, "state": "installed"}. `<base>/update/set`
accepts offers of a new version, which `update_download` then downloads in chunks:

    {"version": 8, "board": "esp32", "size": 2900, "sha256": "...", "signature": "..."}

`size` and `sha256` describe the manifest. `signature` is, in hexadecimal, the HMAC-SHA256 (RFC 2104) of the
following line with the key of this device:

    umqtt5 update <device> <board> <version> <size> <sha256>

The device refuses versions that are not newer or that were rolled back, unless the offer has `"force": true`.
The signed line of such an offer also ends with ` force`.
"""

import json
from time import ticks_diff

from micropython import const

import slot

_ROLL_BACK = const(600000)  # ms after which a version that was not confirmed is rolled back
_MAX_OFFER = const(600)  # bytes
_IDLE = const(1000)  # ms


class Update:
    """The update state of the device. `config` is the config's `update`, `reset()` resets the board.

    A new version is confirmed when the device has been connected for `confirm` seconds without interruption.
    """

    def __init__(self, client, base, name, board, config, reset, now):
        self._client = client
        self._base = base
        self._name = name
        self._board = board
        self._key = bytes.fromhex(config["key"])
        self._confirm = int(config["confirm"] * 1000)
        self._reset = reset
        self._started_at = now
        self._connected_at = None  # ticks, None while offline
        self._download = None  # UpdateDownload while an update is being downloaded
        self._is_published = False
        current, previous, tries = slot.read()
        self._version = slot.read_version(current)
        self._trying = tries >= 0
        self._state = {"version": self._version, "state": "trying" if self._trying else "installed"}
        if tries == slot.ROLLED_BACK:
            self._state["rolled_back"] = slot.read_version(previous)
        client.subscribe(base + "/update/set", self._on_offer, qos=1, retain_handling=2)

    @property
    def is_busy(self):
        """True while the board must not sleep."""
        unpublished = self._connected_at is not None and not self._is_published
        return self._download is not None or self._trying or unpublished

    def run(self, now):
        """Publish the state; confirm, roll back or download a version; returns the ms until the next call."""
        if not self._client.is_connected:
            self._connected_at = None
            self._is_published = False
        elif self._connected_at is None:
            self._connected_at = now
        if self._trying:
            self._confirm_or_roll_back(now)
        if self._connected_at is not None and not self._is_published:
            text = json.dumps(self._state)
            packet_id = self._client.publish(self._base + "/update", text, qos=1, retain=True)
            self._is_published = packet_id > 0
        return self._download.run(now) if self._download else _IDLE

    def _confirm_or_roll_back(self, now):
        if self._connected_at is not None and ticks_diff(now, self._connected_at) >= self._confirm:
            current, previous, _ = slot.read()
            slot.write(current, previous, slot.CONFIRMED)
            self._trying = False
            self.set_state("installed")
        elif ticks_diff(now, self._started_at) >= _ROLL_BACK:
            print("update: version %d was not confirmed within 10 min, rolling back" % self._version)
            slot.roll_back()
            self._reset()

    def set_state(self, state, **more):
        """Print a state and publish it at the next `run`; `more` are additional fields."""
        self._state = {"version": self._version, "state": state}
        self._state.update(more)
        self._is_published = False
        print("update: %s" % json.dumps(self._state))

    def download_ended(self, error=None):
        """Restart into the new version, or report `error`; UpdateDownload calls this at its end."""
        self._download = None
        if error:
            self.set_state("failed", reason=str(error))
            return
        self.set_state("restarting")
        self.run(self._connected_at)
        self._client.disconnect()  # sends buffered packets, too, such as the state
        self._reset()

    def _on_offer(self, message):
        if message.retain:  # a retained offer may be old
            return
        try:
            offer = self._check_offer(message)
            if self._download:
                if self._download.offer == offer:  # a repeated offer
                    return
                self._download.close()
            from .update_download import UpdateDownload

            self._download = UpdateDownload(self._client, self._base, offer, self)
        except (ValueError, OSError, MemoryError) as error:
            self.set_state("refused", reason=str(error))

    def _check_offer(self, message):
        """Return the offer as a dict. Raises ValueError if it is refused."""
        if len(message) > _MAX_OFFER:
            raise ValueError("%d bytes, expected at most %d" % (len(message), _MAX_OFFER))
        try:
            offer = json.loads(message.payload)
            version, board, size = int(offer["version"]), str(offer["board"]), int(offer["size"])
            sha256, signature = str(offer["sha256"]), str(offer["signature"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError("not an update offer: see docs/update.md")
        force = offer.get("force") is True
        line = "umqtt5 update %s %s %d %d %s" % (self._name, board, version, size, sha256)
        if force:
            line += " force"
        if not compare_digest(hmac_sha256(self._key, line.encode()), signature):
            raise ValueError("wrong signature: check update.key")
        if board != self._board:
            raise ValueError("the update is for %s, this board is %s" % (board, self._board))
        if not force and version <= max(self._version, self._state.get("rolled_back", 0)):
            raise ValueError("version %d is not newer" % version)
        if self._trying:
            raise ValueError("version %d is not confirmed yet" % self._version)
        return offer


def hmac_sha256(key, data):
    """Return the HMAC-SHA256 of `data` (RFC 2104), in hexadecimal."""
    from hashlib import sha256

    if len(key) > 64:
        key = sha256(key).digest()
    key += bytes(64 - len(key))
    inner = sha256(bytes([c ^ 0x36 for c in key]))
    inner.update(data)
    outer = sha256(bytes([c ^ 0x5C for c in key]))
    outer.update(inner.digest())
    return "".join(["%02x" % c for c in outer.digest()])


def compare_digest(a, b):
    """Return True if two strings are equal. The run time does not depend on where they differ."""
    difference = len(a) ^ len(b)
    for i in range(min(len(a), len(b))):
        difference |= ord(a[i]) ^ ord(b[i])
    return not difference
