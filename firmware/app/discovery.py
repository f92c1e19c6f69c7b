"""Home Assistant is told what this device has, and what it has no more: when.

At the start, where the broker has lost the session, and when Home Assistant has started. `announcement`
makes what it is told, `delivery` brings it there; both are loaded for that, and let go.
"""

import gc
import sys
from random import getrandbits
from time import ticks_add, ticks_diff, ticks_ms

from micropython import const

_IDLE = const(1000)  # ms
_LISTENS = const(5000)  # ms after which Home Assistant has subscribed to what it was told of


class Discovery:
    """`prefix` None withdraws what was announced. `entity_args` are the last arguments of `announcement.prepare`.

    already_sent: it was announced before a deep sleep. `republish_targets`: the telemetry and the health, whose values are
    told again when somebody new listens.
    """

    republish_targets = None

    def __init__(self, client, device, prefix, entity_args, already_sent):
        self._client = client
        self._device = device
        self._topic = topic = prefix and "%s/device/%s/config" % (prefix, device)
        self._entity_args = None if already_sent else entity_args  # what has to be prepared
        self._due = None if already_sent else ticks_ms()
        self._publisher = None  # a DiscoveryPublisher
        self._listens = None  # ticks
        if topic:
            client.subscribe(prefix + "/status", self._on_homeassistant_status, qos=1, retain_handling=2)

    def request_send(self):
        """The broker has lost the session, perhaps more."""
        self._due = ticks_ms()

    def run(self, now):
        """Announce or withdraw where it is due; returns the ms until it may be."""
        if self._listens is not None and ticks_diff(self._listens, now) <= 0:
            self._listens = None
            self._again(now)
        if self._entity_args:
            self._prepare()
        elif self._due is not None and not self._publisher and self._client.is_connected:
            if ticks_diff(self._due, now) <= 0:
                self._due = None
                self._begin(now)
        return _IDLE

    def _again(self, now):
        if self.republish_targets:
            telemetry, health = self.republish_targets
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
            _failed(self._device, error)
        _release_modules()

    def _begin(self, now):
        try:
            from .discovery_publisher import DiscoveryPublisher

            self._publisher = DiscoveryPublisher(self._client, self._topic)
            if self._publisher.packet_id:
                return
            if self._publisher.packet_id == 0:  # no room
                self._due = ticks_add(now, _IDLE)
        except Exception as error:
            _failed(self._device, error)
        self._over()

    def acknowledged(self, answer):
        """True where it was of ours."""
        if not self._publisher or answer.packet_id != self._publisher.packet_id:
            return False
        now = ticks_ms()
        try:
            if self._publisher.on_ack(answer.reason):
                self._due = now
            else:
                self._listens = ticks_add(now, _LISTENS)
        except Exception as error:  # it is tried again when it is due again
            _failed(self._device, error)
        self._over()
        return True

    def _over(self):
        if self._publisher:
            self._publisher.close()
            self._publisher = None
        _release_modules()

    def _on_homeassistant_status(self, message):
        """Home Assistant has started. All devices hear it at once, so each waits a while of its own."""
        if not message.retain and message.equals(b"online"):
            self._due = ticks_add(ticks_ms(), getrandbits(12))


def _failed(device, error):
    print("%s: discovery: %s: %s" % (device, type(error).__name__, error))


def _release_modules():
    for name in (
        "app.discovery_message",
        "app.discovery_files",
        "app.discovery_publisher",
        "umqtt5.streaming_send",
        "umqtt5.reason_codes",
    ):
        package, _, module = name.partition(".")
        if sys.modules.pop(name, None) and hasattr(sys.modules[package], module):
            delattr(sys.modules[package], module)
    gc.collect()
