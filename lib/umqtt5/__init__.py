"""MQTT 5.0 client library for MicroPython and CPython, in a fixed amount of memory.

    from umqtt5 import Client

`umqtt5.Client`, `umqtt5.MQTTError` and the submodules are loaded when they are first used.
"""

import gc
import sys

if sys.implementation.name == "cpython":
    from .cpython import compat  # noqa: F401  adds the MicroPython features that CPython lacks


def _client():
    """Load the client with frequent garbage collection.

    If the modules are source files, the compiler leaves garbage that would otherwise fragment the heap.
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
        # `from umqtt5 import tls`: MicroPython calls this before it looks for a submodule
        return __import__("umqtt5." + name, None, None, (name,))
    except ImportError:
        raise AttributeError(name)
