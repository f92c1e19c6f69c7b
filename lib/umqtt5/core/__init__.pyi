from .client import Client as Client
from .errors import MQTTError as MQTTError
from .packet import Packet as Packet
from .subscriptions import Subscription as Subscription
from .topics import Topic as Topic

__all__ = ("Client", "MQTTError", "Packet", "Subscription", "Topic")
