"""MQTT 5.0 client library for MicroPython and CPython, in a fixed amount of memory.

    from umqtt5 import Client

The classes `Client`, `MQTTError`, `Message`, `Subscription` and `Topic` and the submodules are loaded when
they are first used. A program needs the last three only in annotations.
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
    if name == "__version__":  # not a global: the dict of the package would grow
        return "0.1.0"  # written by `make package`
    if name[0] < "_":  # a capital letter, so it is a class
        from . import core

        return getattr(core, "Packet" if name == "Message" else name)
    try:
        # `from umqtt5 import tls`: MicroPython calls this before it looks for a submodule
        return __import__("umqtt5." + name, None, None, (name,))
    except ImportError:
        raise AttributeError(name)
