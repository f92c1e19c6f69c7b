"""The protocol core and the client: one file on a board, `core.mpy`."""

from .client import Client
from .errors import MQTTError

__all__ = ("Client", "MQTTError")
