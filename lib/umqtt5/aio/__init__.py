"""Client for asyncio: one file on a board, `aio.mpy`."""

from .client import Client

__all__ = ("Client",)
