"""Runs the device application of a board on a simulated clock, and measures the heap that it holds.

The 32-bit VM collects garbage only between two pieces of code, and only if `gc.collect` was called. So each
function here is one piece that calls it.
"""

import binascii  # noqa: F401  these modules are in C on a board: they are loaded before the measurement
import errno  # noqa: F401
import gc
import hashlib  # noqa: F401
import json  # noqa: F401
import os  # noqa: F401
import random  # noqa: F401
import struct  # noqa: F401
import sys

import micropython  # noqa: F401
import stand_ins

_names = {"__name__": "__main__"}
_folder = ""
_config = None
_check = 0
_node = None
_before = 0


class _Stop(Exception):
    """The application is ready to run."""


def prepare_board(folder, is_rp2):
    """Replace what is outside of the program. `folder` has the image of the board."""
    global _folder
    stand_ins.install(is_rp2)
    sys.path.insert(0, folder)
    _folder = folder
    gc.collect()


def begin_measurement():
    """Begin the measurement, when `prepare_board` has left no garbage."""
    global _before
    _before = gc.mem_alloc()
    with open(_folder + "/boot.py") as file:
        exec(file.read(), _names)
    with open(_folder + "/main.py") as file:
        exec(file.read().rpartition("\n\n\n")[0], _names)  # without the call at its end
    gc.collect()


def check_config():
    """Read and check config.json, as main.py does. Its modules stay loaded: the heap is fullest now."""
    global _config
    import pins
    import slot  # noqa: F401
    from app import (
        config,
        crash,  # noqa: F401
        node,  # noqa: F401
    )

    _config = config.load("config.json", pins)
    gc.collect()


def load_config():
    """Run main.py until the device is created."""
    global _config, _check
    from app import node

    gc.collect()
    _check = gc.mem_alloc() - _before
    _config = None
    original = node.run

    def capture(*args):
        _names["args"] = args
        raise _Stop

    node.run = capture
    try:
        _names["main"]()
    except _Stop:
        pass
    node.run = original
    gc.collect()


def create_device():
    """Create the device, as `node.run` does."""
    global _node
    args = _names.pop("args")
    _node = sys.modules["app.node"].Node()
    _node.create(*args)
    args[0].clear()
    _node._release_constructors()
    gc.collect()


def run_device(seconds):
    """Run the device for this time of the simulated clock."""
    end = stand_ins.Time.now + seconds * 1000
    while stand_ins.Time.now < end:
        _node.step()
    gc.collect()


def fill_dedup():
    """Execute as many commands as the device remembers."""
    dedup = _node._commands._dedup
    for number in range(dedup._size):
        dedup.set(number.to_bytes(12, "big"), '{"ok": true, "name": "greenhouse-fan", "state": "ON"}')
    gc.collect()


def print_report():
    """Print the heap that the device holds, and what it does without."""
    gc.collect()
    client = _node._client
    missing = " ".join(_node._health.missing) or "-"
    print("held", _check, gc.mem_alloc() - _before, client.is_connected, missing)
