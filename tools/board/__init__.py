"""Boards at a cable: definitions, serial ports, MicroPython firmware, and the programs that write it."""
