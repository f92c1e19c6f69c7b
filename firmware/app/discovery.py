"""Home Assistant MQTT discovery: decides when the device publishes its discovery message.

The message is published at the start, when the broker has lost the session, and when Home Assistant has
restarted. `discovery_message` builds the message and `discovery_publisher` publishes it; both modules are
loaded only while they are needed.
"""

import gc
from random import getrandbits
from time import ticks_add, ticks_diff, ticks_ms

from micropython import const

from .node.modules import release_modules

_IDLE = const(1000)  # ms
_SUBSCRIBED = const(5000)  # ms in which Home Assistant should have subscribed to all topics in the message


class Discovery:
    """The discovery message of a device.

    `prefix` is the discovery prefix of Home Assistant; if it is None, messages sent earlier are removed.
    `entity_args` are the arguments of `discovery_message.prepare` after `device`. `sent` is True if the
    message was already sent before a deep sleep. `values` is a tuple of the Telemetry and the Health, which
    publish their values again 5 s after the broker has acknowledged the message; None if that is not
    necessary.
    """

    def __init__(self, client, device, prefix, entity_args, sent, values=None):
        self._client = client
        self._device = device
        self._topic = topic = prefix and "%s/device/%s/config" % (prefix, device)
        self._values = values
        self._entity_args = None if sent else entity_args  # None after the message has been prepared
        self._due = None if sent else ticks_ms()
        self._publisher = None  # DiscoveryPublisher while a message is being published
        self._republish_at = None  # ticks at which `values` are published again
        if topic:
            client.subscribe(prefix + "/status", self._on_homeassistant_status, qos=1, retain_handling=2)

    def publish_now(self):
        """Publish the message at the next `run`, even if it was sent before."""
        self._due = ticks_ms()

    def run(self, now):
        """Prepare, publish or remove the message if due; returns the time in ms until the next call."""
        if self._republish_at is not None and ticks_diff(self._republish_at, now) <= 0:
            self._republish_at = None
            self._republish(now)
        if self._entity_args:
            self._prepare()
        elif self._due is not None and ticks_diff(self._due, now) <= 0:
            self._due = now  # ticks wrap around: later this past time would look like a future time
            if not self._publisher and self._client.is_connected:
                self._due = None
                self._publish(now)
        return _IDLE

    def _republish(self, now):
        if self._values:
            telemetry, health = self._values
            for sensor in telemetry.sensors:
                sensor.publish_now(now)
            health.publish_now()

    def _prepare(self):
        entity_args, self._entity_args = self._entity_args, None
        try:
            if self._topic:
                from .discovery_message import prepare

                prepare(self._topic, self._device, *entity_args)
        except Exception as error:
            self._print_error(error)
        _release_modules()

    def _publish(self, now):
        try:
            from .discovery_publisher import DiscoveryPublisher

            self._publisher = DiscoveryPublisher(self._client, self._topic)
            if self._publisher.packet_id:
                return
            if self._publisher.packet_id == 0:  # no room in the outbox
                self._due = ticks_add(now, _IDLE)
        except Exception as error:
            self._print_error(error)
        self._finish()

    def on_ack(self, answer):
        """Handle an acknowledgement from the broker; returns False if it is for another message."""
        if not self._publisher or answer.packet_id != self._publisher.packet_id:
            return False
        now = ticks_ms()
        try:
            if self._publisher.on_ack(answer.reason):
                self._due = now
            else:
                self._republish_at = ticks_add(now, _SUBSCRIBED)
        except Exception as error:  # the message is published again when it is next due
            self._print_error(error)
        self._finish()
        return True

    def _finish(self):
        if self._publisher:
            self._publisher.close()
            self._publisher = None
        _release_modules()

    def _on_homeassistant_status(self, message):
        """Publish the message if Home Assistant has started, after a random delay of up to 4 s.

        All devices receive the status at the same time; the delay spreads their messages over time.
        """
        if not message.retain and message.equals(b"online"):
            self._due = ticks_add(ticks_ms(), getrandbits(12))

    def _print_error(self, error):
        text = error
        if hasattr(error, "code"):
            from umqtt5.reason_codes import reason_name  # the whole text of the error takes more heap

            text = reason_name(error.code)
        print("%s: discovery: %s: %s" % (self._device, type(error).__name__, text))


def _release_modules():
    """Unload the modules that are needed only to publish the message."""
    release_modules("app.discovery_message", "app.discovery_files", "app.discovery_publisher")
    release_modules("umqtt5.streaming_send", "umqtt5.reason_codes")
    gc.collect()
