"""Replacements on CPython for what only MicroPython has. Never on a board."""
