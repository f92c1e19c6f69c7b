"""WebSocket transport, RFC 6455 and section 6 of MQTT 5.0: one file on a board, `websocket.mpy`."""

from .transport import WebSocket, wrap

__all__ = ("WebSocket", "wrap")
