"""Updates over the air: what is installed, whether it is good, and the ear for a new one.

`<base>/update` has the state, retained: {"version": 7, "state": "installed"}. `<base>/update/set` takes
the offer of a new version, which `receive` then asks for piece by piece:

    {"version": 8, "board": "esp32", "size": 2900, "sha256": "...", "signature": "..."}

`size` and `sha256` are those of its manifest, `signature` is the HMAC-SHA256 (RFC 2104) of the line

    umqtt5 update <device> <board> <version> <size> <sha256>

with the key that this device has for it, in hexadecimal. Older versions are refused, and one that was
given up; `"force": true` takes them, with ` force` at the end of the line.
"""

import json
from time import ticks_diff

from micropython import const

import slot

_GIVE_UP = const(600000)  # ms after which a version that was never good is given up
_LONGEST = const(600)  # bytes of an offer
_IDLE = const(1000)  # ms


class Update:
    """`config` is that of `update`; `reset` resets the board.

    A new version is confirmed when it has been connected for `confirm` s, without a crash.
    """

    def __init__(self, client, base, name, board, config, reset, now):
        self._client = client
        self._base = base
        self._name = name
        self._board = board
        self._key = bytes.fromhex(config["key"])
        self._confirm = int(config["confirm"] * 1000)
        self._reset = reset
        self._began = now
        self._linked = None  # ticks since when there is a link
        self._download = None
        self._told = False
        current, before, tries = slot.read()
        self._version = slot.read_version(current)
        self._trying = tries >= 0
        self._state = {"version": self._version, "state": "trying" if self._trying else "installed"}
        if tries == slot.ROLLED_BACK:
            self._state["given_up"] = slot.read_version(before)
        client.subscribe(base + "/update/set", self._offered, qos=1, retain_handling=2)

    @property
    def is_busy(self):
        """True where the board must not sleep."""
        return self._download is not None or self._trying or not self._told

    def run(self, now):
        """Tell, confirm, give up, go on; the ms until it is due again."""
        if not self._client.is_connected:
            self._linked = None
            self._told = False
        elif self._linked is None:
            self._linked = now
        if self._trying:
            self._confirm_or_roll_back(now)
        if self._linked is not None and not self._told:
            text = json.dumps(self._state)
            self._told = self._client.publish(self._base + "/update", text, qos=1, retain=True) > 0
        return self._download.run(now) if self._download else _IDLE

    def _confirm_or_roll_back(self, now):
        """Whether the new version is good."""
        if self._linked is not None and ticks_diff(now, self._linked) >= self._confirm:
            current, before, _ = slot.read()
            slot.write(current, before, slot.CONFIRMED)
            self._trying = False
            self.set_state("installed")
        elif ticks_diff(now, self._began) >= _GIVE_UP:
            print("update: version %d is given up, it was never connected" % self._version)
            slot.roll_back()
            self._reset()

    def set_state(self, state, **more):
        """Tell the state, and print it."""
        self._state = {"version": self._version, "state": state}
        self._state.update(more)
        self._told = False
        print("update: %s" % json.dumps(self._state))

    def download_ended(self, error=None):
        """The receiver has all of it, and the choice is made; or it has given up."""
        self._download = None
        if error:
            self.set_state("failed", reason=str(error))
            return
        self.set_state("restarting")
        self.run(self._linked)
        self._client.disconnect()  # when all is written
        self._reset()

    def _offered(self, message):
        if message.retain:  # who has offered it is not there any more
            return
        try:
            offer = self._check_offer(message)
            if self._download:
                if self._download.offer == offer:  # it has come twice
                    return
                self._download.close()
            from .update_download import UpdateDownload

            self._download = UpdateDownload(self._client, self._base, offer, self)
        except (ValueError, OSError, MemoryError) as error:
            self.set_state("refused", reason=str(error))

    def _check_offer(self, message):
        """The offer, where it is a good one. Raises ValueError."""
        if len(message) > _LONGEST:
            raise ValueError("%d bytes, expected %d at most" % (len(message), _LONGEST))
        try:
            offer = json.loads(message.payload)
            version, board, size = int(offer["version"]), str(offer["board"]), int(offer["size"])
            sha256, signature = str(offer["sha256"]), str(offer["signature"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError("not an offer of an update: see docs/update.md")
        force = offer.get("force") is True
        line = "umqtt5 update %s %s %d %d %s" % (self._name, board, version, size, sha256)
        if not compare_digest(
            hmac_sha256(self._key, (line + " force" if force else line).encode()), signature
        ):
            raise ValueError("the signature is wrong")
        if board != self._board:
            raise ValueError("it is for %s, this is %s" % (board, self._board))
        if not force and version <= max(self._version, self._state.get("given_up", 0)):
            raise ValueError("version %d is not newer" % version)
        if self._trying:
            raise ValueError("version %d is not confirmed yet" % self._version)
        return offer


def hmac_sha256(key, data):
    """HMAC-SHA256 of some bytes, in hexadecimal."""
    from hashlib import sha256

    if len(key) > 64:
        key = sha256(key).digest()
    key += bytes(64 - len(key))
    inner = sha256(bytes([c ^ 0x36 for c in key]))
    inner.update(data)
    outer = sha256(bytes([c ^ 0x5C for c in key]))
    outer.update(inner.digest())
    return "".join(["%02x" % c for c in outer.digest()])


def compare_digest(one, other):
    """Whether two texts are the same, in a time that does not tell where they differ."""
    different = len(one) ^ len(other)
    for i in range(min(len(one), len(other))):
        different |= ord(one[i]) ^ ord(other[i])
    return not different
