"""Client for asyncio: one file on a board, `aio.mpy`."""

from .. import loaded, loading

loading()  # see `umqtt5`
from .client import Client  # noqa: E402
from .messages import Message  # noqa: E402

loaded()

__all__ = ("Client", "Message")
