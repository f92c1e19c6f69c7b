"""The requester of request and response (section 4.10): response topic, correlation data, timeout.

`Client.request` loads this module. The response topic is below the broker's Response Information if there is
one (ask for it with `Client(properties=pack(request_response_information=1))`), otherwise it is
`reply/CLIENT_ID`. The first request subscribes to it. If the session is lost, the client subscribes again.
"""

from errno import ENOTCONN, ETIMEDOUT
from random import getrandbits

from micropython import const

from .core.errors import MQTTError
from .optional.property_rules import REQUEST, check_properties
from .properties import pack

_MASK = const(0x3FFFFFFF)


class Request:
    """A pending request; `response` is the payload after the response has arrived."""

    def __init__(self, key, timeout, on_response):
        self.key = key
        self.since = -1  # ticks of the first poll after it was sent, -1 before
        self.timeout = timeout
        self.on_response = on_response
        self.response = None


class PendingRequests:
    """The requests of a client that wait for a response, at most `inflight`; `poll` is a poll hook."""

    def __init__(self, client):
        self._client = client
        self._now = 0  # ticks (ms) when the last poll began
        self._open = []
        self._is_sending = False  # a scheduled function must not interrupt `send` with another request
        self._count = 0
        # prefix of the correlation data: responses to requests of an earlier run of the program are dropped
        self._salt = b"%08x" % getrandbits(30)
        self._connection_number = 0  # number of the connection for which `_topic` is valid
        self._topic = None
        self._subscription = None
        client._poll_hooks.append(self.poll)

    def wait(self, topic, payload, timeout, qos, properties):
        """Publish a request and wait for the response; return its payload."""
        client = self._client
        if client._is_polling:
            raise ValueError("a handler can't wait: pass on_response")
        if not client._should_connect:
            raise OSError(ENOTCONN, "not connected")
        if client.session.is_busy:
            raise RuntimeError("the client is busy: a scheduled function can't wait")
        client._poll_once()  # calls `poll`, which sets `_now`
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
        raise OSError(ETIMEDOUT, "no response")

    def send(self, topic, payload, timeout, on_response, qos, properties):
        """Publish a request; return it, or None if it can't be sent now."""
        if self._is_sending or self._client.session.is_busy:
            return None
        self._is_sending = True
        try:
            return self._send(topic, payload, timeout, on_response, qos, properties)
        finally:
            self._is_sending = False

    def _send(self, topic, payload, timeout, on_response, qos, properties):
        client = self._client
        if not client.is_connected or len(self._open) >= client.session.receive_maximum:
            return None
        s = self._subscribe()
        if s.needs_send or s.expected_ack or s.reason is None:
            return None  # a response might arrive before the subscription exists
        if s.reason >= 0x80:
            raise MQTTError(s.reason, "response topic " + self._topic)
        self._count = self._count + 1 & 0xFFFF
        key = self._salt + b"%04x" % self._count
        has_expiry = check_properties(properties, REQUEST).find_property(0x02) >= 0
        properties += pack(
            response_topic=self._topic,
            correlation_data=key,
            # an expired request must not be executed
            message_expiry=None if has_expiry else (timeout + 999) // 1000,
        )
        request = Request(key, timeout, on_response)
        self._open.append(request)  # before it is sent, because a scheduled function may receive the response
        sent = False
        try:
            sent = client.publish(topic, payload, qos, properties=properties)
        finally:
            if not sent:
                self._open.remove(request)
        return request if sent else None

    def poll(self, now):
        """Expire requests; return the ms until the next timeout."""
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

    def _subscribe(self):
        """Return the subscription to the response topic that is valid for this connection."""
        client = self._client
        if self._connection_number != client.connection_count:
            self._connection_number = client.connection_count
            topic = self._response_topic()
            if topic != self._topic:
                if self._topic:
                    client.unsubscribe(self._topic)
                self._subscription = client.subscribe(topic, self._on_message, 1)
                self._topic = topic
        return self._subscription

    def _response_topic(self):
        information = self._client.session.response_information
        if information and "+" not in information and "#" not in information:
            return information + ("reply" if information.endswith("/") else "/reply")
        client_id = str(self._client.session.client_id, "utf-8")
        return "reply/" + client_id.replace("+", "_").replace("#", "_")

    def _on_message(self, message):
        """Handle a response. A response that is late or belongs to another client is dropped."""
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
    """Publish a request and wait up to `timeout` ms for the response; returns its payload.

    Raises OSError(ETIMEDOUT) if no response arrives in time, OSError(ENOTCONN) if `connect` was not called,
    MQTTError if the broker refuses the response topic or a limit of the broker forbids the request. Handlers
    are called while the call waits.

    With `on_response` the call does not wait. It returns True if the request is accepted for sending, and
    False if not: there is no connection, there is no room, `inflight` requests wait for a response, or the
    broker has not yet confirmed the subscription to the response topic. After False, poll and try again.
    `poll` calls `on_response(message)`, or `on_response(None)` after `timeout` ms. A handler must use this
    form.

    A request of QoS 0 is never sent late. A request of QoS 1 may be sent after a reconnect. In the broker a
    request expires after `timeout`, unless `properties` has a message expiry. `properties` comes from
    `properties.pack` and must not have a response topic or correlation data; otherwise ValueError is raised.
    """
    check_properties(properties, REQUEST)
    if not hasattr(client, "_pending_requests"):
        with client.session:
            if not hasattr(client, "_pending_requests"):
                client._pending_requests = PendingRequests(client)
    requests = client._pending_requests
    if on_response:
        return requests.send(topic, payload, timeout, on_response, qos, properties) is not None
    return requests.wait(topic, payload, timeout, qos, properties)
