from .client import MQTTClient as MQTTClient
from .client import MQTTException as MQTTException

__all__ = ("MQTTClient", "MQTTException")
