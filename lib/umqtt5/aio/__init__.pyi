from .client import Client as Client
from .messages import Message as Message

__all__ = ("Client", "Message")
