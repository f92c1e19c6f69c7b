"""MQTT 5.0 for MicroPython in fixed memory.

    from umqtt5 import Client

Nothing is loaded before it is asked for: `umqtt5.Client` brings in the
blocking client, `umqtt5.MQTTError` only the error.
"""

import gc
import sys

if sys.implementation.name == "cpython":
    from .cpython import compat  # noqa: F401  gives CPython the few names it lacks


def _client():
    """Load the client, and have the heap tidied while its modules are compiled.

    What the compiler leaves behind would else lie between them as holes.
    """
    before = gc.threshold()
    gc.threshold(8192)
    try:
        from .core.client import Client
    finally:
        gc.threshold(before)
    return Client


def __getattr__(name):
    if name == "Client":
        if hasattr(gc, "threshold"):
            return _client()
        from .core.client import Client

        return Client
    if name == "MQTTError":
        from .core.errors import MQTTError

        return MQTTError
    try:
        # MicroPython asks here before it looks for a module of this name
        return __import__("umqtt5." + name, None, None, (name,))
    except ImportError:
        raise AttributeError(name)
