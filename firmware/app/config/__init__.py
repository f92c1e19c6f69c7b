"""Loads and checks `config.json`; on a board this folder is one file, `app/config.mpy`."""

from .config import ConfigError, load

__all__ = ("ConfigError", "load")
