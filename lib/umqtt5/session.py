"""The state machine of one MQTT 5.0 session: bytes and ticks in, bytes out, no I/O.

How it is driven:

- `open(now)` begins a connection, `lost()` tells that it has ended, for whatever reason.
- Read at most `framer.want` bytes to the base of `framer.into`, then `received(n, now)`.
  While `held` is True, packets wait for room to answer: write, then call `parse()`.
- While `sender.output()` is not 0, write that many bytes of `sender.out` from
  `sender.out_at` on, then call `sent(n, now)`.
- `tick(now)` returns how many ms may pass before it has to be called again. It raises
  OSError(ETIMEDOUT) when the broker has let a wait run out.

Rules:

- `now` is in ms and may wrap at any multiple of 2**30.
- What the peer does wrong sets `error` and `state` to CLOSING: the DISCONNECT with its
  reason code is the last output, then the driver closes.
- A message is acknowledged when its handler has returned, in the order of arrival.
- Nothing is allocated after `open`, but by handlers and by errors.
"""

from micropython import const

from .decode import Packet
from .encode import connect_room
from .errors import Guard, MQTTError
from .framer import Framer
from .inbox import Inbox
from .sender import Sender
from .subscriptions import Subscriptions
from .timers import ANSWER, CONNECT, HEARD, PING, SENT, WRITE, Timers

CLOSED, CONNECTING, CONNECTED, CLOSING = 0, 1, 2, 3

_MASK = const(0x3FFFFFFF)
_ALIAS = const(0x80000)  # as a bit of `Packet.seen`


class Session:
    """One client's session. Sizes are in bytes, `timeout` in ms, `keep_alive` in seconds."""

    def __init__(self, client_id, rx, tx, outbox, inflight, aliases, keep_alive, timeout):
        if not 0 < inflight < 65535 or not 0 <= keep_alive < 65536 or min(rx, tx) < 64:
            raise ValueError("inflight 1 to 65534, keep_alive 0 to 65535, rx and tx from 64")
        self.client_id = client_id
        self.user = self.password = None
        self.will = None  # (connect flags, properties, topic, payload), all bytes but the first
        self.keep_alive = keep_alive
        self.session_expiry = 0  # seconds
        self.receive_maximum = inflight
        self.clean_start = True

        self.framer = Framer(rx)
        self.rx = self.framer.rx
        self.subscriptions = Subscriptions()
        self.sender = Sender(tx, outbox, inflight, aliases, self.subscriptions)
        self.inbox = Inbox(inflight)
        self.aliases = None  # an AliasTable, where the broker may use some
        self.timers = Timers(timeout)
        self.packet = Packet(self.rx)
        self._guard = Guard(MQTTError, self._fail)
        self._handlers: list = [None] * 16  # by packet type
        self._handlers[2] = self._connack
        self._handlers[3] = self._publish
        self._handlers[4] = self._handlers[5] = self._handlers[7] = self._ack
        self._handlers[6] = self._pubrel
        self._handlers[9] = self._handlers[11] = self._answered
        self._handlers[13] = self._pingresp
        self._handlers[14] = self._disconnect

        self.on_connected = None  # called when CONNACK has come, before anything behind it
        self.state = CLOSED
        self.error = None  # why it ends: the broker's words or ours, as an MQTTError
        self.resumed = self.held = False
        self.messages_received = self.bytes_received = 0  # so far, modulo 2**30

    # ---- a connection begins and ends

    def check(self):
        """Raise ValueError where `tx` can't hold the CONNECT."""
        self.sender.check_room(connect_room(self))

    def open(self, now):
        """A connection is there: put CONNECT out. Raises ValueError where `tx` can't hold it."""
        self.check()
        self.sender.connect(self)
        self.state = CONNECTING
        self.error = None
        self.held = False
        self.framer.reset()
        if self.aliases:
            self.aliases.clear()
        self.timers.reset(now, self.keep_alive)

    def lost(self):
        """The connection has ended."""
        self.sender.clear()
        self.state = CLOSED

    def close(self, reason):
        """End the connection with a DISCONNECT; the driver closes when it is written."""
        if self.state == CONNECTED or (self.state == CONNECTING and reason):
            self.sender.disconnect(reason)
        if self.state != CLOSED:
            self.state = CLOSING

    def _end(self, error):
        """The broker has ended it."""
        self.error = error
        self.sender.clear()
        self.state = CLOSING

    def _fail(self, error):
        """The broker has broken the protocol."""
        self.error = error
        self.held = False
        self.close(error.code)

    # ---- bytes in

    def received(self, n, now):
        """`n` bytes have landed in `framer.into`."""
        self.bytes_received = (self.bytes_received + n) & _MASK
        self.timers.mark(HEARD, now)
        self.framer.landed(n)
        self.parse()

    def parse(self):
        """Handle the packets that are whole."""
        self.held = True  # also when a callback of the user's raises: then come back here
        with self._guard:
            self.held = self._parse()
        if not self.held:
            self.framer.settle()

    def _parse(self):
        framer = self.framer
        while self.state == CONNECTED or self.state == CONNECTING:
            if not self.sender.can_answer() and self.state == CONNECTED:
                return True
            if not framer.next():
                break
            kind = framer.first >> 4
            if not self._handlers[kind] or (self.state == CONNECTING) != (kind == 2):
                raise MQTTError(0x82, "packet type %d" % kind)
            if kind != 3 and framer.first & 15 != (2 if kind == 6 else 0):
                raise MQTTError(0x81, "reserved bits")  # [MQTT-2.1.3-1]
            self._handlers[kind](framer.at, framer.end)
        return False

    def _connack(self, at, end):
        packet = self.packet
        packet.connack(at, end)
        if packet.reason:
            self._end(MQTTError(packet.reason, packet.property(0x1F) or ""))
            return
        if packet.session_present and self.clean_start:
            raise MQTTError(0x82, "Session Present after Clean Start")  # [MQTT-3.2.2-4]
        self.resumed = packet.session_present
        self.sender.limits.take(packet)
        if packet.seen & 0x80 and not self.client_id:  # Assigned Client Identifier
            self.client_id = packet.property(0x12).encode()
            if connect_room(self) + 8 > len(self.sender.tx):
                raise MQTTError(0x83, "the assigned client identifier does not fit into tx")
        self.timers.keep_alive(packet.number(0x13, self.keep_alive))  # [MQTT-3.2.2-21]
        if not self.resumed:
            self.inbox.clear()
        self.sender.connected(self.resumed)
        self.clean_start = False
        self.state = CONNECTED
        if self.on_connected:
            self.on_connected()

    def _publish(self, at, end):
        packet = self.packet
        packet.publish(self.framer.first & 15, at, end)
        if packet.seen & _ALIAS:
            if not self.aliases:
                raise MQTTError(0x94, "we announced none")  # [MQTT-3.1.2-27]
            self.aliases.resolve(packet, packet.number(0x23, 0))
        if packet.topic_at == packet.topic_end:
            raise MQTTError(0x82, "empty topic")
        if packet.qos == 2 and self.inbox.holds(packet.packet_id):
            self.sender.ack(0x50, packet.packet_id, 0)  # and no second delivery
            return
        if packet.qos == 2 and not self.inbox.holds(0):
            raise MQTTError(0x93, "more than our Receive Maximum")
        self.messages_received = (self.messages_received + 1) & _MASK
        at = self.subscriptions.deliver(packet)  # a reason code
        if packet.qos == 2 and not at:
            # the work is done, whatever becomes of the link; where it failed the identifier
            # means a new message [MQTT-4.3.3-9]
            self.inbox.swap(0, packet.packet_id)
        if packet.qos and self.state == CONNECTED:  # [MQTT-4.3.2-4], in order [MQTT-4.6.0-2]
            self.sender.ack(0x30 + 0x10 * packet.qos, packet.packet_id, at)

    def _ack(self, at, end):
        kind = self.framer.first >> 4
        self.packet.ack(kind, at, end)
        if self.sender.acknowledged(self.packet, kind):
            self.timers.progress(ANSWER)

    def _pubrel(self, at, end):
        self.packet.ack(6, at, end)
        packet_id = self.packet.packet_id
        known = self.inbox.holds(packet_id)
        self.inbox.swap(packet_id, 0)
        self.sender.ack(0x70, packet_id, 0 if known else 0x92)

    def _answered(self, at, end):
        subscribe = self.framer.first == 0x90
        self.packet.suback(at, end, subscribe)
        s = self.subscriptions.waiting(self.packet.packet_id)
        if not s or s.unsubscribing == subscribe:
            raise MQTTError(0x82, "nobody asked")
        self.timers.progress(ANSWER)
        self.sender.answered(s, self.packet.reason)

    def _pingresp(self, at, end):
        if at != end:
            raise MQTTError(0x81, "PINGRESP")
        self.timers.pinging = False

    def _disconnect(self, at, end):
        self.packet.disconnect(at, end)
        self._end(MQTTError(self.packet.reason, self.packet.property(0x1F) or ""))

    # ---- bytes out

    def sent(self, n, now):
        """`n` bytes of what `sender.output()` offered have been written."""
        self.timers.mark(SENT, now)
        self.timers.progress(WRITE)
        self.sender.sent(n)

    # ---- time

    def tick(self, now):
        """The ms until this is to be called again. Raises OSError where a wait has run out."""
        if self.state == CLOSED:
            return _MASK
        self.sender.report()
        timers = self.timers
        timers.start(now)
        timers.wait(WRITE, self.sender.pending())
        timers.wait(CONNECT, self.state == CONNECTING)
        if self.state != CONNECTED:
            return timers.left
        timers.wait(ANSWER, self.sender.owed > 0)
        timers.wait(PING, timers.pinging)
        if not self.sender.pending() and timers.silent():
            self.sender.ping()
            timers.mark(SENT, now)
            timers.pinging = True
            timers.wait(PING, True)
        return timers.left
