"""WebSocket transport, RFC 6455 and section 6 of MQTT 5.0: on a board it is one file, `websocket.mpy`."""

from .transport import WebSocket, wrap

__all__ = ("WebSocket", "wrap")
