"""Replacements on CPython for features that only MicroPython has. Never on a board."""
