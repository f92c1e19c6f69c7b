"""MQTT 5.0 client library for MicroPython and CPython, in a fixed amount of memory.

    from umqtt5 import Client

The classes `Client`, `MQTTError`, `Message`, `Subscription` and `Topic` and the submodules are loaded when
they are first used. A program needs the last three only in annotations.
"""

from .core import Packet
from .core.client import Client as Client
from .core.errors import MQTTError as MQTTError
from .core.subscriptions import Subscription as Subscription
from .core.topics import Topic as Topic

__version__: str

Message = Packet

def loading() -> None: ...
def loaded() -> None: ...
