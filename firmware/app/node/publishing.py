"""Publishes a message of the device, or drops it if it exceeds a limit of the broker.

QoS and RETAIN are lowered to what the broker supports (`Session.adapts_to_limits`), so only a message that is
larger than the broker's Maximum Packet Size, or than a buffer of the client, is dropped.
"""

from umqtt5 import MQTTError

from .modules import release_reason_codes

dropped: list = []  # topics of the messages that were dropped since the start


def publish(client, topic, payload, **options):
    """Publish a message; `options` are those of `Client.publish`.

    Returns a false value if there is no connection or no room now, and True if the message was dropped. The
    first drop for a topic is printed.
    """
    try:
        return client.publish(topic, payload, **options)
    except (MQTTError, ValueError) as error:
        name = topic if isinstance(topic, str) else topic.name.decode()
        if name not in dropped:
            dropped.append(name)
            print("%s: message dropped: %s" % (name, error))
        release_reason_codes()
        return True
