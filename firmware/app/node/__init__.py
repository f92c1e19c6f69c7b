"""The parts that every device loads; on a board they are one file, `app/node.mpy`."""

from .node import Node, run

__all__ = ("Node", "run")
