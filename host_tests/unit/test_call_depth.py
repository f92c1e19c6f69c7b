"""Nested calls of the device: an RP2 has 8 KB of stack, of which each nested call takes some 300 bytes."""

import sys

from long_uptime import Device

# An emulated Pico W executes commands at this depth. Three calls more, and each command ended with "maximum
# recursion depth exceeded". The calls above `Node.step` are not counted: main.py, its `main`, and `node.run`.
MAX_DEPTH = 23
COMMANDS = (
    b"ON",
    b"TOGGLE",
    b'{"state": "ON", "for": 5}',
    b'{"state": null}',
    b"1.0",
    b"nonsense",
)


def calls_of_command(device, payload):
    """Return the names of the calls in the deepest place below `Node.step` while a command is executed."""
    deepest = []

    def profile(frame, event, argument):
        if event != "call":
            return
        names = []
        while frame and frame.f_code.co_name != "step":
            # what the tests simulate is C code on a board; so are the functions of the standard library
            if "host_tests" not in frame.f_code.co_filename and "/lib/python" not in frame.f_code.co_filename:
                if "importlib" not in frame.f_code.co_filename:
                    names.append(frame.f_code.co_name)
            frame = frame.f_back
        if frame and len(names) > len(deepest):
            deepest[:] = names[::-1]

    sys.setprofile(profile)
    try:
        device.command(payload)
    finally:
        sys.setprofile(None)
    return deepest


def test_a_command_does_not_use_up_the_stack_of_an_rp2():
    if sys.implementation.name != "cpython":
        return
    device = Device(0)
    try:
        device.run(60_000)
        for command in COMMANDS:
            calls = calls_of_command(device, command)
            assert 10 < len(calls) <= MAX_DEPTH, calls
    finally:
        device.close()
