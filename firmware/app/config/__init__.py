"""Loads and checks `config.json`; on a board this package is a single file, `app/config.mpy`."""

from .config import ConfigError, load

__all__ = ("ConfigError", "load")
