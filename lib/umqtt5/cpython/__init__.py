"""Replacements on CPython for features that only MicroPython has. This package is never used on a board."""
