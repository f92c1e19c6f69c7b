"""`MQTTClient`: the attributes and methods of umqtt.simple.

All other state is in `MQTTClient.umqtt5_link`, so a subclass may use any other name.

Unlike in umqtt.simple, each wait except `wait_msg` has a time limit. With a `keepalive`, the client sends
pings while it waits for messages. Unacknowledged messages of QoS 1 and 2 are sent again after
`connect(clean_session=False)`. `umqtt5.robust` reconnects by itself.
"""

from .link import SimpleLink


class MQTTException(Exception):
    """The broker refused a request. `reason` is its MQTT 5.0 reason code (section 2.4).

    `args[0]` is the code that umqtt.simple raises: 1 to 5 if the broker refuses the connection, 0x80 if it
    refuses a subscription. For a refusal that MQTT 3.1.1 does not have, it is the reason code.
    """

    def __init__(self, code, reason=None):
        super().__init__(code)
        self.reason = code if reason is None else reason

    def __repr__(self):
        from ..reason_codes import reason_name

        return "MQTTException(%d): %s" % (self.args[0], reason_name(self.reason))


class MQTTClient:
    """Client with the API of umqtt.simple.

    `ssl` is an SSLContext, see `tls.context`, or True with `ssl_params` for older programs. The attributes
    with the names of the arguments, `pswd` and `lw_...` may be changed; the next `connect` uses the new
    values.

    `umqtt5_options` contains keyword arguments for the `umqtt5.Client` below. By default `rx` and `tx` are
    2048 bytes, `outbox` is 4096 bytes, and `timeout`, the maximum of each wait, is 10000 ms. Set this
    attribute of the class or of a client before `connect`.
    """

    umqtt5_options: dict = {}

    def __init__(
        self,
        client_id,
        server,
        port=0,
        user=None,
        password=None,
        keepalive=0,
        ssl=None,
        ssl_params={},  # noqa: B006  as in umqtt.simple
    ):
        self.client_id = client_id
        self.server = server
        self.port = port or (8883 if ssl else 1883)
        self.ssl = ssl
        self.ssl_params = ssl_params
        self.pid = 0  # number of packets that had a packet identifier
        self.cb = None
        self.user = user
        self.pswd = password
        self.keepalive = keepalive
        self.lw_topic = self.lw_msg = None
        self.lw_qos = 0
        self.lw_retain = False
        self.umqtt5_link = SimpleLink(self, MQTTException)

    @property
    def sock(self):
        """The connection, for `select.poll`, `settimeout` and others; None before the first `connect`.

        See `optional.simple_socket`. The value None can be set, which closes the connection.
        """
        return self.umqtt5_link.get_socket()

    @sock.setter
    def sock(self, value):
        self.umqtt5_link.set_socket(value)

    def set_callback(self, f):
        """Set the function `f(topic, msg)` to call for each message; both arguments are bytes."""
        self.cb = f

    def set_last_will(self, topic, msg, retain=False, qos=0):
        """Set the will for the next `connect`."""
        if not (0 <= qos <= 2 and topic):
            raise AssertionError("qos must be 0, 1 or 2, and the topic must not be empty")
        self.lw_topic = topic
        self.lw_msg = msg
        self.lw_qos = qos
        self.lw_retain = retain

    def connect(self, clean_session=True, timeout=None):
        """Connect; returns 1 if the broker has kept the session, otherwise 0.

        `timeout` in seconds limits each wait until the first packet is received after CONNACK. An existing
        connection is closed. Raises MQTTException if the broker refuses the connection, OSError if no
        connection is possible.
        """
        return self.umqtt5_link.connect(clean_session, timeout)

    def disconnect(self):
        """Send DISCONNECT and close the connection."""
        self.umqtt5_link.disconnect()

    def ping(self):
        """Send a PINGREQ; `wait_msg` returns at the answer. With a `keepalive`, PINGREQ is sent by itself."""
        self.umqtt5_link.ping()

    def publish(self, topic, msg, retain=False, qos=0):
        """Publish a message. At QoS 1 and 2 the call waits for the acknowledgement, except in the callback.

        Raises MQTTException if the broker refuses the message, OSError if the connection is lost or a timeout
        expires. If a message of QoS 1 or 2 is already in the outbox at that time, it is sent again after
        `connect(clean_session=False)`.
        """
        packet_id = self.umqtt5_link.send(topic, msg, retain, qos)
        if qos:
            self.umqtt5_link.wait_for_ack(packet_id)

    def subscribe(self, topic, qos=0):
        """Subscribe and wait for SUBACK, except in the callback. Raises MQTTException, OSError."""
        if self.cb is None:
            raise AssertionError("Subscribe callback is not set")
        self.umqtt5_link.subscribe(topic, qos)

    def unsubscribe(self, topic):
        """Unsubscribe and wait for UNSUBACK, except in the callback. Raises OSError."""
        self.umqtt5_link.unsubscribe(topic)

    def wait_msg(self):
        """Wait for one message, call the callback, and return the first byte of its packet.

        Returns None at the answer to `ping`, and in a non-blocking socket that has no message. Raises OSError
        if the connection is lost, or if a timeout that was set for the socket expires.
        """
        return self.umqtt5_link.wait_msg()

    def check_msg(self):
        """Do the same as `wait_msg` if a message has already arrived; otherwise return None at once."""
        self.umqtt5_link.timeout = 0
        return self.wait_msg()
