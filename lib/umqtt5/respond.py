"""The responder of request and response (section 4.10): publishes responses to requests.

`Client.respond` and `Client.responder` load this module.
"""

from micropython import const

from .core.wire import prefix_u16_length

_MASK = const(0x3FFFFFFF)
_MAX_WAITING = const(8)  # maximum number of responses that wait for a connection or for room


class PendingResponses:
    """The responses of a client that wait to be published; `poll` is a poll hook."""

    def __init__(self, client):
        self._client = client
        self._waiting = []
        client._poll_hooks.append(self.poll)

    def add(self, topic, payload, qos, properties):
        """Publish a response, now or later; return False if too many responses wait."""
        if not self._waiting and self._client.publish(topic, payload, qos, properties=properties):
            return True
        if len(self._waiting) >= _MAX_WAITING:
            return False
        self._waiting.append((topic, payload, qos, properties))
        return True

    def poll(self, now):
        """Publish waiting responses while there is room."""
        if self._waiting:
            with self._client.session.catch_errors:
                self._publish()
        return _MASK

    def _publish(self):
        client = self._client
        while self._waiting and client.is_connected:
            response = self._waiting.pop(0)
            topic, payload, qos, properties = response
            if not client.publish(topic, payload, qos, properties=properties):
                self._waiting.insert(0, response)
                return


def respond(client, message, payload, qos=None, topic=None, properties=b""):
    """Publish a response to the response topic of `message`, with its correlation data.

    None for `qos` means the QoS of the message. `topic` is used if the message has no response topic. Returns
    True if the response is sent or waits for a connection or for room. Returns False if there is no topic,
    if the topic has wildcards, or if too many responses wait. Raises what `publish` raises.
    """
    target = message.property(0x08) or topic
    if not target or "+" in target or "#" in target:  # [MQTT-3.3.2-14]
        return False
    key = message.property(0x09)
    if key is not None:
        properties += b"\x09" + prefix_u16_length(bytes(key))
    if not hasattr(client, "_pending_responses"):
        client._pending_responses = PendingResponses(client)
    return client._pending_responses.add(target, payload, message.qos if qos is None else qos, properties)


def responder(client, topic_filter, function, qos=1, **options):
    """Subscribe, and respond to each message with the result of `function(message)`.

    If the result is None, no response is sent. Returns the Subscription.
    """

    def handle(message):
        payload = function(message)
        if payload is not None:
            respond(client, message, payload)

    return client.subscribe(topic_filter, handle, qos, **options)
