"""The old name of `ssl`, which umqtt.simple 1.3.4 imports and MicroPython 1.29 does not have any more."""

from ssl import *  # noqa: F403
