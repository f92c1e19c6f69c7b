"""MQTT discovery tested with the real Home Assistant, installed from PyPI and run without a browser."""
