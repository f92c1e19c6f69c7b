"""MQTT 5.0 client library for MicroPython and CPython, in a fixed amount of memory.

    from umqtt5 import Client

`umqtt5.Client`, `umqtt5.MQTTError` and the submodules are loaded when they are first used.
"""

import gc
import sys

if sys.implementation.name == "cpython":
    from .cpython import compat  # noqa: F401  adds the MicroPython features that CPython lacks


_OFTEN = 4096  # bytes allocated between two garbage collections while modules load
_threshold = -1  # value of `gc.threshold` to restore when they are loaded
_depth = 0  # number of calls of `loading` without `loaded`


def loading():
    """Collect garbage often until `loaded` is called.

    If the modules are source files, the compiler leaves garbage that would otherwise fragment the heap.
    """
    global _threshold, _depth
    _depth += 1
    if hasattr(gc, "threshold") and gc.threshold() != _OFTEN:
        _threshold = gc.threshold()
        gc.threshold(_OFTEN)


def loaded():
    """Restore the threshold of the program, at the end of the outermost `loading`."""
    global _depth
    _depth -= 1
    if not _depth and hasattr(gc, "threshold") and gc.threshold() == _OFTEN:
        gc.threshold(_threshold)


# MicroPython runs this file before it compiles any other of the package. `core` calls `loaded`.
loading()


def __getattr__(name):
    if name == "Client":
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
