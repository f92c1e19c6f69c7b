"""Protocol core and client: wire format, packets, session, connection. One file on a board: `core.mpy`."""

from .. import loaded
from .client import Client
from .errors import MQTTError

loaded()

__all__ = ("Client", "MQTTError")
