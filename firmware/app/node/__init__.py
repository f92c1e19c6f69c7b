"""What every device runs: one file on a board, `node.mpy`."""

from .node import Node, run

__all__ = ("Node", "run")
