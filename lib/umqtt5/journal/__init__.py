"""Journal, the outbox on flash: one file on a board, `journal.mpy`."""

from .journal import Journal

__all__ = ("Journal",)
