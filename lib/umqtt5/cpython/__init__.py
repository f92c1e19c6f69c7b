"""What CPython lacks of MicroPython; never on a board."""
