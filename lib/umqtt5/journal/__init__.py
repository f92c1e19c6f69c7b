"""Journal, the outbox on flash: one file on a board, `journal.mpy`."""

from .. import loaded, loading

loading()  # see `umqtt5`
from .journal import Journal  # noqa: E402

loaded()

__all__ = ("Journal",)
