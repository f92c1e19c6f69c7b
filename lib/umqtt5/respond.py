"""Answers to requests (4.10). Loaded by `client.respond` and `client.responder`."""

from micropython import const

from .core.wire import prefix_u16_length

_MASK = const(0x3FFFFFFF)
_MOST = const(8)  # answers that wait for a link or for room in the outbox


class PendingResponses:
    """What waits for its turn; `poll` is one of the client's chores."""

    def __init__(self, client):
        self._client = client
        self._waiting = []
        client._poll_hooks.append(self.poll)

    def add(self, topic, payload, qos, properties):
        """Publish an answer, now or when it can; False where too many wait."""
        if not self._waiting and self._client.publish(topic, payload, qos, properties=properties):
            return True
        if len(self._waiting) >= _MOST:
            return False
        self._waiting.append((topic, payload, qos, properties))
        return True

    def poll(self, now):
        """Publish what waits, as far as there is room."""
        if self._waiting:
            with self._client.session.catch_errors:
                self._publish()
        return _MASK

    def _publish(self):
        client = self._client
        while self._waiting and client.is_connected:
            answer = self._waiting.pop(0)
            topic, payload, qos, properties = answer
            if not client.publish(topic, payload, qos, properties=properties):
                self._waiting.insert(0, answer)
                return


def respond(client, message, payload, qos=None, topic=None, properties=b""):
    """Answer a message, at its own QoS or `qos`: to its response topic, with its correlation data.

    A message without one is answered to `topic`, or not at all. True where the answer is on its
    way or waits for a link or for room, False where there is nowhere to send it or too many wait.
    Raises what `publish` raises.
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
    """Subscribe, and answer each message with what `function(message)` returns, None for nothing."""

    def handle(message):
        payload = function(message)
        if payload is not None:
            respond(client, message, payload)

    return client.subscribe(topic_filter, handle, qos, **options)
