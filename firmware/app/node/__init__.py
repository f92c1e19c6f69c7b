"""The modules that every device loads; on a board this package is a single file, `app/node.mpy`."""

from .node import Node, run

__all__ = ("Node", "run")
