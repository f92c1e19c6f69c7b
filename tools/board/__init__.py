"""Boards on USB: definitions, serial ports, MicroPython firmware, and the programs that write it."""
