"""Publishes the traceback of the last crash; the module is unloaded afterwards."""

import gc

from micropython import const

from umqtt5 import MQTTError

_MIN_SIZE = const(100)  # bytes


def publish(client, topic, path="crash.txt", size=1500):
    """Publish the last `size` bytes of a file, retained, at QoS 1.

    Publishes less if this is more than heap, outbox or broker allow. Returns the packet identifier, 0 if the
    outbox is full, -1 if there is nothing to publish or if it cannot be published.
    """
    while size >= _MIN_SIZE:
        try:
            text = _read_end(path, size)
            return client.publish(topic, text, qos=1, retain=True) if text else -1
        except OSError:  # no file, or a damaged one
            return -1
        except (MemoryError, ValueError, MQTTError) as error:
            why = "%s: %s" % (type(error).__name__, error)
        size //= 2
        gc.collect()
    print("%s: not published: %s" % (path, why))
    return -1


def _read_end(path, size):
    with open(path, "rb") as file:
        total = file.seek(0, 2)
        file.seek(max(0, total - size))
        return file.read(min(size, total))
