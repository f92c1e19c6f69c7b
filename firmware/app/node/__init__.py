"""The modules that every device loads; on a board this package is a single file, `app/node.mpy`."""

from .name_table import grow_name_table
from .node import Node, run

__all__ = ("Node", "run")

grow_name_table()  # after all permanent modules, and before the temporary ones that check the config
