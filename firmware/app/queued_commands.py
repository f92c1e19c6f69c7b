"""Queued commands: refuses commands that may have waited at the broker for too long during an absence.

A message does not have the time at which it was sent. But a broker delivers the messages that it has queued
for a session before those that it receives later. So after the device has resumed its session, it subscribes
to `<base>/session` and publishes a random number there. Until this message comes back, each received command
may have been sent at any time since the device was last known to be connected.

If the message does not come back, for example because the access control list of the broker forbids it, no
queued command is expected any more when no command has arrived for 5 s, or after a minute.

`Commands` loads this module after an absence that was longer than the maximum age of commands, and unloads
it when no queued command is expected any more.
"""

from random import getrandbits
from time import ticks_diff

from micropython import const

from .node.publishing import publish

_QUIET = const(5000)  # ms without a command
_LONGEST = const(60000)  # ms
_HOUR = const(3600000)  # ms


class QueuedCommands:
    """The commands in the queue of a resumed session; `now` is the time of the connection in ticks.

    `absence` is the maximum age of a queued command at that time, `max_age` is the maximum age of a command
    that is executed; both are in ms.
    """

    def __init__(self, client, base, now, absence, max_age):
        self._client = client
        self._topic = base + "/session"
        self._connected_at = self._last_command = now
        self._absence = absence
        self._max_age = max_age
        # a marker of an earlier connection may be in the queue, too
        self._marker = b"%d" % getrandbits(30)
        self._is_published = self._has_returned = False
        client.subscribe(self._topic, self._on_marker, qos=1, retain_handling=2)
        self._publish_marker()

    def run(self, now):
        """Publish the marker if this has not succeeded yet; returns True if no queued command is expected."""
        if not self._is_published:
            self._publish_marker()
        return (
            self._has_returned
            or ticks_diff(now, self._last_command) >= _QUIET
            or ticks_diff(now, self._connected_at) >= _LONGEST
        )

    def check(self, now):
        """Raise ValueError if a command that is received now may be too old."""
        age = self._absence + ticks_diff(now, self._connected_at)
        if self._has_returned or age <= self._max_age:
            return
        self._last_command = now
        text = "%d s" % (age // 1000) if age < 24 * _HOUR else "more than a day"
        raise ValueError(
            "not executed: the device was offline, so this command may be up to %s old; send it again, "
            "or with `expires` or a Message Expiry Interval" % text
        )

    def close(self):
        """End the subscription."""
        subscription = self._client.unsubscribe(self._topic)
        subscription.handler = len  # it does nothing, and does not keep this object on the heap

    def _publish_marker(self):
        self._is_published = bool(publish(self._client, self._topic, self._marker, qos=1))

    def _on_marker(self, message):
        if message.payload == self._marker:
            self._has_returned = True
