"""Home Assistant is told what this device has, and what it has no more.

It is told at `<prefix>/device/<device>/config`, retained: at the start, when the broker has lost the
session, when Home Assistant has started. What makes and sends an announcement is loaded for it and
let go after it.
"""

import gc
import sys
from random import getrandbits
from time import ticks_add, ticks_diff, ticks_ms

_IDLE = 1000  # ms
_LISTENS = 5000  # ms after which Home Assistant has subscribed to what it was told of


class Discovery:
    """`prefix` is Home Assistant's; None to withdraw what was announced.

    `what` are the arguments of `Entities`. `listened(now)` is called when somebody new listens to them.
    `woken`: from deep sleep, before which it was told.
    """

    def __init__(self, client, prefix, what, listened, woken=False):
        self._client = client
        self._what = what
        self._topic = prefix and "%s/device/%s/config" % (prefix, what[0])
        self._listened = listened
        self._due = None if woken else ticks_ms()
        self._work = None  # an Announcement
        self._packet = 0  # the packet identifier of what is on its way
        self._listens = None  # ticks
        if prefix:
            client.subscribe(prefix + "/status", self._heard, qos=1, retain_handling=2)

    def again(self):
        """The broker has lost the session, perhaps more: it is announced again."""
        self._due = ticks_ms()

    def run(self, now):
        """Announce or withdraw where it is due; returns the ms until it may be."""
        if self._listens is not None and ticks_diff(self._listens, now) <= 0:
            self._listens = None
            self._listened(now)
        if self._due is None or self._packet or not self._client.connected:
            return _IDLE
        wait = ticks_diff(self._due, now)
        if wait > 0:
            return min(wait, _IDLE)
        try:
            self._due = None if self._begin() else ticks_add(now, _IDLE)
        except Exception as error:
            self._failed("%s: %s" % (type(error).__name__, error))
        return _IDLE

    def acknowledged(self, answer):
        """True where it was of ours."""
        if not self._packet or answer.packet_id != self._packet:
            return False
        self._packet = 0
        if answer.reason >= 0x80:
            from umqtt5.reasons import name

            self._failed(name(answer.reason))
            return True
        try:
            self._arrived()
        except Exception as error:
            self._failed("%s: %s" % (type(error).__name__, error))
        else:
            self._let_go()
        return True

    def _begin(self):
        """False where there is no room now."""
        from . import announcement

        before = announcement.announced()[0]
        if before and before != self._topic:  # it had another name, or is announced no more
            self._packet = self._client.publish(before, b"", qos=1, retain=True)
        elif self._topic:
            from .entities import Entities

            self._work = announcement.Announcement(Entities(*self._what), self._topic)
            self._packet = self._work.send(self._client)
        else:
            self._let_go()
            return True
        return self._packet

    def _arrived(self):
        if self._work:
            self._work.arrived()
            self._listens = ticks_add(ticks_ms(), _LISTENS)
        else:
            from .announcement import forget

            forget()
            self._due = ticks_ms()

    def _failed(self, why):
        """The device goes on without: it is tried again when it is due again."""
        self._due = None
        self._let_go()
        print("%s: discovery: %s" % (self._what[0], why))

    def _let_go(self):
        """The heap that an announcement takes is given back."""
        self._work = None
        _unload("app", "announcement")
        _unload("app", "entities")
        if not hasattr(self._client.session.framer, "sinks"):  # nobody receives streams
            _unload("umqtt5", "stream")
        gc.collect()

    def _heard(self, message):
        """Home Assistant has started. All devices hear it at once, so each waits a while of its own."""
        if not message.retain and message.equals(b"online"):
            self._due = ticks_add(ticks_ms(), getrandbits(12))


def _unload(package, module):
    if sys.modules.pop(package + "." + module, None) and hasattr(sys.modules[package], module):
        delattr(sys.modules[package], module)
