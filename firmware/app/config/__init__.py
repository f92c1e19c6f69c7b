"""Reading and checking `config.json`: one file on a board, `config.mpy`."""

from .config import ConfigError, load

__all__ = ("ConfigError", "load")
