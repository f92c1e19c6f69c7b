from .transport import WebSocket as WebSocket
from .transport import wrap as wrap

__all__ = ("WebSocket", "wrap")
