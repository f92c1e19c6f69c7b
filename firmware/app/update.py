"""Over-the-air (OTA) updates: publishes the update state, confirms new versions, rolls back failing ones.

The state is published to `<base>/update`, retained: {"version": 7, "state": "installed", "nonce": "..."}.
`<base>/update/set` accepts offers of a new version. `update_offer` checks an offer, and `update_download`
downloads the version in chunks. Both are loaded when they are needed.

Each offer must contain the nonce, a random number that the device has published. It is replaced at each start
and after each offer with a valid signature, so nobody can send a recorded offer again.
"""

import gc
import json
from time import ticks_add, ticks_diff

from micropython import const

import slot

from .node.files import exists
from .node.modules import release_modules
from .node.publishing import publish

_ROLL_BACK = const(600000)  # ms after which a version that was not confirmed is rolled back
_IDLE = const(1000)  # ms
_PAUSE = const(60000)  # ms between attempts to write `slot`


class Update:
    """The update state of the device. `config` is the config's `update`, `reset()` resets the board.

    A new version is confirmed when the device has been connected for `confirm` seconds without interruption.
    `is_deep` is True if the device sleeps deeply between its readings, `is_wake` if this start ends such a
    sleep. These devices store the nonce on flash, because an offer waits at the broker while they sleep.
    """

    _download = None  # UpdateDownload while an update is being downloaded
    _connected_at = None  # ticks, None while offline
    _reason = ""  # why the last version was rolled back
    _nonce = None  # hexadecimal digits, None before the first use
    last_tag = ""  # tag of the last offer with a valid signature and nonce

    def __init__(self, client, base, name, board, config, reset, now, is_deep=False, is_wake=False):
        self._client = client
        self._base = base
        self.name = name
        self.board = board
        self.key = bytes.fromhex(config["key"])
        self._confirm = int(config["confirm"] * 1000)
        self._reset = reset
        self._is_deep = is_deep
        self._is_wake = is_wake
        self._started_at = now
        self._due = now  # ticks of the next attempt to write `slot`
        self._is_published = False
        current, previous, tries = slot.read()
        self.version = slot.read_version(current)
        self.trying = tries >= 0
        self._state = {"state": "trying" if self.trying else "installed"}
        self._load_rolled_back(previous if tries == slot.ROLLED_BACK else None)
        client.subscribe(base + "/update/set", self._on_offer, qos=1, retain_handling=2)

    def _load_rolled_back(self, folder):
        """Set the versions that were rolled back; `folder` contains the last one, None if unknown."""
        highest = recorded = last = 0
        if exists("rolled_back") or exists("rolled_back.new"):
            import rollback

            highest, last, self._reason = rollback.read()
            recorded = highest
            # older than this version if power was lost while this version was confirmed
            if highest <= self.version and not self.trying:
                rollback.clear()
                highest = last = 0
        if folder:
            failed = slot.read_version(folder)
            last = failed or last
            highest = max(highest, failed)
        self._is_recorded = highest <= recorded
        release_modules("rollback")
        self.rolled_back = highest  # this version and older ones are refused
        self._last_rolled_back = last

    @property
    def is_busy(self):
        """True while the board must not sleep."""
        unpublished = self._connected_at is not None and not self._is_published
        return self._download is not None or self.trying or unpublished

    def run(self, now):
        """Publish the state; confirm, roll back or download a version; returns the ms until the next call."""
        if not self._client.is_connected:
            self._connected_at = None
            self._is_published = False
        elif self._connected_at is None:
            self._connected_at = now
        if self.trying and ticks_diff(now, self._due) >= 0:
            try:
                self._confirm_or_roll_back(now)
            except OSError as error:  # the device keeps running: a restart would not repair the flash
                print("update: slot: %s" % error)
                self._due = ticks_add(now, _PAUSE)
        if self._connected_at is not None and not self._is_published:
            self._publish()
        return self._download.run(now) if self._download else _IDLE

    def _confirm_or_roll_back(self, now):
        if self._connected_at is not None and ticks_diff(now, self._connected_at) >= self._confirm:
            current, previous, _ = slot.read()
            slot.write(current, previous, slot.CONFIRMED)
            self.trying = False
            self._load_rolled_back(None)
            self.set_state("installed")
        elif ticks_diff(now, self._started_at) >= _ROLL_BACK:
            print("update: version %d was not confirmed within 10 min, rolling back" % self.version)
            slot.roll_back("not confirmed within 10 min")
            self._reset()

    def _publish(self):
        """Publish the state, if the outbox has room."""
        state = {"version": self.version}
        state.update(self._state)
        if self._last_rolled_back:
            state["rolled_back"] = self._last_rolled_back
            state["rolled_back_reason"] = self._reason
        state["nonce"] = self.load_nonce()
        packet_id = publish(self._client, self._base + "/update", json.dumps(state), qos=1, retain=True)
        self._is_published = packet_id > 0

    def load_nonce(self):
        """Return the nonce that the next offer must contain."""
        if self._nonce is None:
            if self._is_deep:
                from . import update_offer

                self._nonce = update_offer.load_nonce(self._is_wake)
                release_modules("app.update_offer")
            else:
                self._nonce = make_nonce()
        return self._nonce

    def replace_nonce(self, tag):
        """Make the offer with this tag, and all earlier ones, invalid. Raises OSError if flash fails."""
        self.last_tag = tag
        self._nonce = make_nonce()
        self._is_published = False
        if self._is_deep:
            from . import update_offer

            update_offer.save_nonce(self._nonce)

    def set_state(self, state, **more):
        """Print a state and publish it at the next `run`; `more` are additional fields."""
        self._state = {"state": state}
        self._state.update(more)
        self._is_published = False
        print("update: %s" % json.dumps(self._state))

    def download_ended(self, tag, error=None):
        """Restart into the new version, or report `error`. `tag` is that of the offer.

        UpdateDownload calls this at its end.
        """
        self._download = None
        release_modules("app.update_download")
        if error:
            self.set_state("failed", reason=str(error) or repr(error), offer=tag)
            return
        self.set_state("restarting", offer=tag)
        try:
            self.run(self._connected_at)
            self._client.disconnect()  # sends buffered packets, too, such as the state
        except OSError:
            pass
        self._reset()

    def _on_offer(self, message):
        if message.retain:  # a retained offer may be old
            return
        tag = ""
        try:
            offer, tag, reason = self._check_offer(message)
            release_modules("app.update_offer")
            gc.collect()  # the next module may not fit into the heap beside this one
            if offer:
                self._start_download(offer)
        except (ValueError, OSError, MemoryError) as error:
            reason = str(error) or repr(error)
        if reason:
            self._refuse(reason, tag)

    def _check_offer(self, message):
        from . import update_offer

        return update_offer.check(self, message)

    def _start_download(self, offer):
        download, self._download = self._download, None
        if download:  # the sender may have been restarted
            download.close()
        from .update_download import UpdateDownload

        self._download = UpdateDownload(self._client, self._base, offer, self)

    def record_rolled_back(self):
        """Store on flash which versions were rolled back, and which folder is in use. Raises OSError.

        After a rollback, `slot` alone may say so, but the folder of that version is going to be replaced.
        """
        if not self._is_recorded:
            import rollback

            rollback.write(self.rolled_back, self._last_rolled_back, self._reason)
        current, previous, tries = slot.read()
        if tries == slot.ROLLED_BACK:
            slot.write(current, previous, slot.CONFIRMED)
        slot.save()

    def _refuse(self, reason, tag):
        if self._download or self.trying:  # the state of the version remains
            self._state["refused"] = reason
            self._state["refused_offer"] = tag
            self._is_published = False
            print("update: refused: %s" % reason)
        else:
            self.set_state("refused", reason=reason, offer=tag)


def make_nonce():
    """Return 32 random hexadecimal digits, "" if the port has no source of random numbers."""
    try:
        from os import urandom
    except ImportError:
        return ""
    return urandom(16).hex()
