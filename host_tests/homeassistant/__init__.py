"""The real Home Assistant, headless from PyPI, before devices that announce themselves."""
