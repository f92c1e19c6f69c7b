"""Protocol core and client: wire format, packets, session, connection. One file on a board: `core.mpy`."""

from .. import loaded
from .client import Client
from .errors import MQTTError
from .packet import Packet
from .subscriptions import Subscription
from .topics import Topic

loaded()

__all__ = ("Client", "MQTTError", "Packet", "Subscription", "Topic")
