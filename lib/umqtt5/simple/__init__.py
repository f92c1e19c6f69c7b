"""API compatible with umqtt.simple, over MQTT 5.0: only the import line of a program changes.

    from umqtt5.simple import MQTTClient

On a board it is one file, `simple.mpy`. docs/from-umqtt-simple.md compares each attribute and method with
those of umqtt.simple 1.8.0.
"""

from .. import loaded, loading

loading()  # see `umqtt5`
from .client import MQTTClient, MQTTException  # noqa: E402

loaded()

__all__ = ("MQTTClient", "MQTTException")
