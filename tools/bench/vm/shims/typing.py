"""Replacement for `typing`: names that MiniMQTT imports. MicroPython does not evaluate annotations."""

List = Optional = Tuple = Type = Union = None
