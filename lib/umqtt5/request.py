"""Requests with answers (4.10): response topic, correlation data, deadlines. Loaded by `client.request`.

The response topic is below the broker's Response Information where there is one (ask for it
with `Client(properties=pack(request_response_information=1))`), else `reply/CLIENT_ID`. It is
subscribed to once, by the first request, and again by itself where the session is lost.
"""

from errno import ENOTCONN, ETIMEDOUT
from random import getrandbits

from micropython import const

from .core.errors import MQTTError
from .optional.property_rules import REQUEST, check_properties
from .properties import pack

_MASK = const(0x3FFFFFFF)


class Request:
    """One that is under way; `answer` is its payload when that has come."""

    def __init__(self, key, timeout, on_response):
        self.key = key
        self.since = -1  # of its first round
        self.timeout = timeout
        self.on_response = on_response
        self.response = None


class PendingRequests:
    """All of one client that are under way, as many as `inflight`; `poll` is one of the client's chores."""

    def __init__(self, client):
        self._client = client
        self._now = 0  # ticks in ms, of this round
        self._open = []
        self._count = 0
        # what no other run of this program has: an answer to a request of that one is dropped
        self._salt = b"%08x" % getrandbits(30)
        self._connects = 0  # the connection for which `_topic` holds
        self._topic = None
        self._subscription = None
        client._poll_hooks.append(self.poll)

    def wait(self, topic, payload, timeout, qos, properties):
        """Blocking: the payload of the answer."""
        client = self._client
        if client._is_polling:
            raise ValueError("a handler can't wait: give on_response")
        if not client._should_connect:
            raise OSError(ENOTCONN, "not connected")
        client._poll_once()  # `poll` gets the time
        start = self._now
        request = None
        left = timeout
        try:
            while left > 0:
                if request is None:
                    request = self.send(topic, payload, left, None, qos, properties)
                idle = client._poll_once()
                if request is not None and request.response is not None:
                    return request.response
                left = timeout - ((self._now - start) & _MASK)
                client._wait(max(0, min(idle, left)))
        finally:
            if request in self._open:
                self._open.remove(request)
        raise OSError(ETIMEDOUT, "no answer")

    def send(self, topic, payload, timeout, on_response, qos, properties):
        """Publish a request; None where it can't go out now."""
        client = self._client
        if not client.is_connected or len(self._open) >= client.session.receive_maximum:
            return None
        s = self._listen()
        if s.needs_send or s.expected_ack or s.reason is None:
            return None  # an answer could come before the broker knows that we want it
        if s.reason >= 0x80:
            raise MQTTError(s.reason, "response topic " + self._topic)
        self._count = self._count + 1 & 0xFFFF
        key = self._salt + b"%04x" % self._count
        properties += pack(
            response_topic=self._topic,
            correlation_data=key,
            # when nobody waits any more, nobody is to act on it
            message_expiry=(timeout + 999) // 1000 if check_properties(properties, REQUEST).find_property(0x02) < 0 else None,
        )
        if not client.publish(topic, payload, qos, properties=properties):
            return None
        request = Request(key, timeout, on_response)
        self._open.append(request)
        return request

    def poll(self, now):
        """Give up what has had its time; the ms until the next has."""
        self._now = now
        return self._next(now) if self._open else _MASK

    def _next(self, now):
        left = _MASK
        for request in self._open:
            if request.since < 0:
                request.since = now & _MASK
            if request.on_response:
                left = min(left, request.timeout - ((now - request.since) & _MASK))
        if left <= 0:
            self._expire(now)
            return 0
        return left

    def _expire(self, now):
        for request in list(self._open):
            if request.on_response and (now - request.since) & _MASK >= request.timeout:
                self._open.remove(request)
                with self._client.session.catch_errors:
                    request.on_response(None)

    def _listen(self):
        """The subscription to the response topic of this connection."""
        client = self._client
        if self._connects != client.connection_count:
            self._connects = client.connection_count
            topic = self._response_topic()
            if topic != self._topic:
                if self._topic:
                    client.unsubscribe(self._topic)
                self._subscription = client.subscribe(topic, self._came, 1)
                self._topic = topic
        return self._subscription

    def _response_topic(self):
        information = self._client.session.response_information
        if information and "+" not in information and "#" not in information:
            return information + ("reply" if information.endswith("/") else "/reply")
        client_id = str(self._client.session.client_id, "utf-8")
        return "reply/" + client_id.replace("+", "_").replace("#", "_")

    def _came(self, message):
        """An answer. What is late or another's has no open request, and is dropped."""
        key = message.property(0x09)
        for request in self._open:
            if request.key == key:
                self._open.remove(request)
                if request.on_response:
                    request.on_response(message)
                else:
                    request.response = message.payload
                return


def request(client, topic, payload, timeout=10000, on_response=None, qos=0, properties=b""):
    """Publish a request and wait for its answer, for `timeout` ms; returns the answer's payload.

    Raises OSError: ETIMEDOUT where none comes in time, ENOTCONN where `connect` was never
    called. MQTTError where the broker refuses our response topic or a limit of the broker forbids
    the request. While it waits handlers are called and the link is kept up.

    With `on_response` it returns at once: True where the request has gone out, False where it can't
    yet (no link, no room, as many as `inflight` under way, the response topic not yet subscribed):
    poll, and try again. `on_response(message)` is called from `poll`, with None where no answer
    came in time. This is the way in a handler.

    At QoS 0 a request is never sent late; at QoS 1 it may be, after a reconnect. It expires in the
    broker with its timeout, unless `properties` say otherwise. These are what `properties.pack`
    makes, without response topic and correlation data, else ValueError.
    """
    check_properties(properties, REQUEST)  # response topic and correlation data are ours
    if not hasattr(client, "_pending_requests"):
        client._pending_requests = PendingRequests(client)
    requests = client._pending_requests
    if on_response:
        return requests.send(topic, payload, timeout, on_response, qos, properties) is not None
    return requests.wait(topic, payload, timeout, qos, properties)
