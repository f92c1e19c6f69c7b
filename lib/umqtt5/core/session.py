"""State machine of an MQTT 5.0 session: bytes and ticks come in, bytes go out. It does no I/O.

Its driver (`connection`, or a test) has the stream and the clock. The functions that handle and build packets
are in `inbound`, `outbound`, `subscriptions` and `timers`; they take the session as an argument.

States:

- CLOSED: there is no connection. `open` leads to CONNECTING.
- CONNECTING: CONNECT is sent. The broker may send only CONNACK, or AUTH with enhanced authentication. A
  successful CONNACK leads to CONNECTED.
- CONNECTED: the broker may send all packets of a server except a second CONNACK.
- CLOSING: the session or the broker has ended the connection. Received bytes are ignored. If the session has
  ended it, the remaining output is written. Then the driver closes the stream.

`connection_lost` leads to CLOSED from every state.

How to drive it:

- Call `open(now)` when the stream is connected, and `connection_lost()` when it is closed for any reason.
- Read at most `framer.max_read` bytes into the start of `framer.read_buffer`, then call
  `receive_data(n, now)` and `parse()`. While `rx_paused` is True, `tx` has no room for acknowledgements. Then
  do not read; write some output, then call `parse()`.
- `prepare_write()` returns how many bytes of `write_buffer` to write, from `write_start` on. Then call
  `confirm_write(n, now)` with the number of bytes that the stream has accepted. Repeat both calls until
  `prepare_write()` returns 0.
- `tick(now)` returns the number of ms after which it must be called again. It raises OSError(ETIMEDOUT) if
  the broker exceeds a timeout.

Rules:

- `now` is in ms and may wrap at any multiple of 2**30.
- If the peer breaks the protocol, `error` is set and the state becomes CLOSING. The last packet is a
  DISCONNECT with the reason code.
- Messages are acknowledged in the order of arrival, each when its handlers have returned.
- Nothing is allocated for a message. Packets that are sent rarely are created as new bytes: CONNECT,
  SUBSCRIBE, UNSUBSCRIBE, AUTH and DISCONNECT.
- There are two sources of output: `tx`, which contains small packets, and a block. A block is a CONNECT, one
  record of the outbox, or a piece of a streamed payload. Once a block is begun, it is written completely.
  Then `tx` is written before the next block, so acknowledgements do not wait for the send quota
  [MQTT-3.3.4-8].
- The first packet that uses a topic alias must contain the topic as well. Therefore the form of a PUBLISH
  (with the topic, the alias or both) is chosen when the packet becomes output. This can be later than the
  user's call of `publish`.
- The last TX_RESERVE bytes of `tx` are kept for one acknowledgement and one DISCONNECT.
"""

import sys
from array import array

from micropython import const

from .encode import encode_connect
from .errors import CatchErrors, MQTTError, explain
from .framer import Framer
from .inbound import LIMIT_DEFAULTS, handle_packet, handle_publish, report_ended
from .outbound import init_outbound, load_next_message, publish_at_qos_0, publish_with_ack, send_pubrels
from .outbox import Outbox
from .packet import Packet
from .states import (
    CLOSED,
    CLOSING,
    CONNECTED,
    CONNECTING,
    TICKS_MASK,
    TX_RESERVE,
    WAIT_WRITE,
)
from .subscriptions import Subscriptions, send_subscriptions
from .timers import check_waits, ping_if_idle
from .wire import put_u16, reject

_END_SESSION = const(1)  # see `errors.explain`

if sys.implementation.name == "cpython":
    from ..cpython.compat import print_exception
else:
    from sys import print_exception


class Session:
    """State of the session of one client, and its buffers.

    Sizes are in bytes: `rx` is the size of the largest packet that can be received, `tx` is the size of the
    buffer for small packets, and `outbox` is the size of the buffer for QoS 1 and 2 messages. `inflight` is
    the maximum number of messages in the outbox, and also our Receive Maximum. `aliases` is the number of
    topics that can have an alias. `keep_alive` is in seconds, `timeout` in ms.
    """

    # Most programs do not set these attributes. As class attributes they take no space in the instance's
    # dict, which grows in large steps.
    user = password = None
    will = None  # (connect flags, encoded fields of the will for CONNECT)
    properties = b""  # encoded properties to add to CONNECT
    aliases = None  # topic_aliases.AliasTable, if the broker may use aliases
    auth = None  # enhanced_auth.EnhancedAuth, if the client has an authentication method
    strict = None  # strict.Strict, if `Client(strict=True)`
    # whether QoS and RETAIN of a message are lowered to what the broker supports; otherwise `publish` raises
    # MQTTError. `on_ack` reports a message that was lowered to QoS 0 when it is written.
    adapts_to_limits = False
    overflow_policy = None  # overflow_policy.OverflowPolicy, if `Client(when_full=...)`
    on_ack = on_subscribed = on_unsubscribed = on_unhandled = on_error = None  # see `callbacks`
    # whether a KeyboardInterrupt has ended a handler, so its message is not acknowledged in this connection
    was_interrupted = False
    # number of bytes of `tx` that must be free before a received packet is handled: room for its answers
    min_tx_room = TX_RESERVE

    _handle_publish = handle_publish  # a method, so that `journal` can replace it

    # see `outbound.init_outbound`
    _alias_topics: list
    _has_pubrels: bool
    _send_quota: int
    _max_short_payload: int

    def __init__(self, client_id, rx, tx, outbox, inflight, aliases, keep_alive, timeout):
        if not 0 < inflight < 32768 or not 0 <= keep_alive < 65536 or min(rx, tx) < 64:
            reject("sizes", "", rx, tx, inflight, keep_alive)
        self.client_id = client_id
        self.keep_alive = keep_alive
        self.session_expiry = 0  # seconds
        self.receive_maximum = inflight
        self.timeouts = [timeout] * 6  # ms, by kind of wait
        self.clean_start = True

        self.framer = Framer(rx)
        self.maximum_packet_size = rx  # announced to the broker
        self.packet = Packet(self.framer.rx)
        self.tx = bytearray(tx)
        self.outbox = Outbox(outbox, inflight)
        self.received_ids = array("H", [0] * inflight)  # QoS 2 packet identifiers received and not released
        self.subscriptions = Subscriptions(self)
        # context manager around each handler and callback of the user
        self.catch_errors = CatchErrors(Exception, self._report_error, self)
        # Whether the session is being changed. A function that `micropython.schedule` calls can interrupt the
        # client at any point, and must not use the session then. While a handler runs, the session is
        # consistent, and this attribute is False.
        self.is_busy = False
        self.broker_limits = list(LIMIT_DEFAULTS)

        self.callbacks = self  # object with `on_ack` and so on: the client, if there is one
        self.on_connected = None  # called after CONNACK, before the packets after it are handled
        self.error = None  # MQTTError that ends the connection
        # arguments for `close`, if a handler or a callback has ended the connection; see `streaming_send`
        self.close_request = self.stream_source = None
        self.resumed = self.rx_paused = False
        # for the next message to publish
        self.first_byte = 0x30  # with QoS and RETAIN
        self.message_properties = b""
        self._handler_failed = False  # a handler of the current message has raised

        self.response_information = None  # string from CONNACK
        self._has_unreported = False  # whether subscriptions or messages have ended without an answer
        # changes when a connection begins or ends; an alias is valid only in the generation in which it was
        # set up [MQTT-3.3.2-7]
        self.generation = 0
        init_outbound(self, aliases)

        # ticks in ms, modulo 2**30
        self._now = self._timeout = self._last_read = self._last_write = 0
        self.wait_started = [-1] * 6  # ticks when each kind of wait began, -1 if there is none
        self._is_waiting = False  # whether the last tick has found a wait that can end by a timeout
        self._ping_interval = 0  # ms without output, or without input, before a PINGREQ is sent
        self.ping_pending = False

        # counters, modulo 2**30
        self.messages_sent = self.bytes_sent = self.messages_resent = self.messages_refused = 0
        self.messages_received = self.bytes_received = 0
        self.bytes_saved = 0  # by topic aliases
        self.connection_lost()

    # ---- a connection begins and ends

    def open(self, now):
        """Begin the session on a new connection: encode CONNECT as output."""
        self.connection_lost()
        self.state = CONNECTING
        self.error = None
        self.rx_paused = self.ping_pending = self.was_interrupted = False
        self.framer.reset()
        if self.aliases:
            self.aliases.clear()
        self._last_read = self._last_write = now
        for i in range(6):
            self.wait_started[i] = -1
        self._is_waiting = True
        if self.auth:
            self.auth.handle_open()
        if self.state == CONNECTING:
            self._block = encode_connect(self)
            self._block_end = len(self._block)
            self._block_slot = -1

    def connection_lost(self):
        """Handle the end of the connection."""
        self.state = CLOSED
        self.generation += 1
        # number of answers still to be received: PUBACK or PUBCOMP, and SUBACK or UNSUBACK
        self.pending_acks = self.pending_subacks = 0
        self._tx_at = self._tx_end = self._block_at = self._block_end = 0

    def close(self, reason, packet=b""):
        """End the connection with a DISCONNECT (3.14). After it is written, the driver closes the stream.

        `packet` is the DISCONNECT to send if `tx` has room for it, b"" for one without properties.
        """
        if self.state == CONNECTED or (self.state == CONNECTING and reason):
            if not packet or not self.put(packet, 0):
                self.put(bytes((0xE0, 1, reason)) if reason else b"\xe0\x00", 0)
        if self.state != CLOSED:
            self.generation += 1
            self.state = CLOSING

    def __enter__(self):
        """Begin to change the session (`with session:`). Raises RuntimeError if it is being changed."""
        if self.is_busy:
            raise RuntimeError("the client is busy: try again")
        self.is_busy = True

    def __exit__(self, kind, error, _):
        self.is_busy = False

    def _report_error(self, error):
        """Report an exception that a handler or a callback of the user has raised."""
        self._handler_failed = True
        if self.callbacks.on_error:
            try:
                self.callbacks.on_error(error)
                return
            except Exception as raised:
                error = raised
        print_exception(error)

    # ---- bytes in

    def receive_data(self, n, now):
        """Take `n` bytes that were read into `framer.read_buffer`. Then call `parse`.

        `parse` is not called here, because each nested call takes 300 bytes or more of the 8 KB of stack that
        an RP2 has, and the handlers need most of it.
        """
        self.bytes_received = (self.bytes_received + n) & TICKS_MASK
        self._last_read = now
        self.rx_paused = True  # if an exception is raised before `parse`, the driver calls it later
        if self.framer.read_buffer is self.framer.rx:
            self.framer._have += n
        else:
            self.framer.commit(n)

    def parse(self):
        """Handle the complete packets that were received."""
        self.rx_paused = True  # stays True if an exception ends this method, so the driver calls it again
        while (self.state == CONNECTED or self.state == CONNECTING) and not self.close_request:
            if self._tx_end + self.min_tx_room > len(self.tx):
                return
            reason = self.framer.next_packet()
            if reason == 1:
                reason = handle_packet(self, self.packet, self.framer.first_byte)
            elif not reason:
                if self.state == CONNECTED or self.framer.rx[0] in b"\x20\xf0":  # CONNACK, AUTH
                    break
                reason = 0x82  # the other end does not speak MQTT, so do not wait for a complete packet
            if reason > 0:
                self.error = MQTTError(reason)
                explain(_END_SESSION, self, reason)  # it replaces `error`
                if not self.error:
                    break  # more bytes of this packet are needed
                self.close(self.error.code)
            elif self.framer._at == self.framer._have:
                break
        self.rx_paused = False
        self.framer.prepare_read()

    # ---- bytes out

    def has_output(self):
        """Return True if there are bytes to write."""
        return self._tx_at < self._tx_end or self._block_at < self._block_end

    def prepare_write(self):
        """Choose the next output; returns how many bytes of `write_buffer` to write from `write_start` on."""
        if self._block_at == self._block_end and not (self.stream_source and self.stream_source.more()):
            if self.state == CONNECTED:
                if self.subscriptions.has_pending:
                    send_subscriptions(self)
                if self._has_pubrels:
                    send_pubrels(self)
            if self._tx_at < self._tx_end:
                self.write_buffer = self.tx
                self.write_start = self._tx_at
                return self._tx_end - self._tx_at
            if self.state != CONNECTED or self._send_quota < 1 or self.outbox.passed >= self.outbox.count:
                return 0
            if not load_next_message(self):
                return 0
        self.write_buffer = self._block
        self.write_start = self._block_at
        return self._block_end - self._block_at

    def confirm_write(self, n, now):
        """Record that the stream has accepted `n` of the bytes that `prepare_write` chose.

        Returns False if there is certainly no more output.
        """
        self._last_write = now
        self.wait_started[WAIT_WRITE] = -1
        self.bytes_sent = (self.bytes_sent + n) & TICKS_MASK
        if self.write_buffer is self.tx:
            self._tx_at += n
            if self._tx_at < self._tx_end:
                return True
            self._tx_at = self._tx_end = 0
        else:
            self._block_at += n
            if self._block_at < self._block_end or self._tx_at < self._tx_end or self.stream_source:
                return True
        return self._has_pubrels or self.subscriptions.has_pending or self.outbox.passed < self.outbox.count

    def ack(self, first_byte, packet_id, reason):
        """Write PUBACK, PUBREC, PUBREL or PUBCOMP to `tx` (3.4 to 3.7): 4 bytes, 5 with a reason code."""
        tx = self.tx
        at = self._tx_end
        tx[at] = first_byte
        tx[at + 1] = 3 if reason else 2
        at = put_u16(tx, at + 2, packet_id)
        if reason:
            tx[at] = reason
            at += 1
        self._tx_end = at

    def put(self, data, reserve=TX_RESERVE):
        """Append a complete packet to `tx`; returns False if there is no room for it plus `reserve` bytes."""
        end = self._tx_end + len(data)
        if end + reserve > len(self.tx):
            return False
        self.tx[self._tx_end : end] = data
        self._tx_end = end
        return True

    def publish(self, topic, payload):
        """Publish a message: see `Client.publish`. QoS, RETAIN and properties come from attributes."""
        first_byte = self.first_byte
        at = self._tx_end + 8
        size = len(payload)
        if (
            topic.generation != self.generation
            or first_byte != 0x30
            or size > self._max_short_payload
            or at + size + TX_RESERVE > len(self.tx)
            or self.message_properties
        ):
            if first_byte > 0x31:
                return publish_with_ack(self, topic, payload, first_byte)
            return publish_at_qos_0(self, topic, payload, first_byte)
        # fast path: QoS 0, a short payload, and a topic that has an alias
        self.tx[at - 8] = first_byte
        self.tx[at - 7] = size + 6
        self.tx[at - 6 : at] = topic.alias_header
        size += at
        self.tx[at:size] = payload
        self._tx_end = size
        topic.publish_count += 1
        self.bytes_saved += len(topic.name) - 3
        self.messages_sent = (self.messages_sent + 1) & TICKS_MASK
        return True

    # ---- time

    def tick(self, now):
        """Check timeouts and keep-alive; returns the number of ms after which to call it again.

        Raises OSError(ETIMEDOUT) if a wait has lasted too long.
        """
        if self.state == CLOSED:
            return TICKS_MASK
        self._now = now
        self._timeout = TICKS_MASK
        if self.state == CONNECTED and self._has_unreported:
            report_ended(self)
        if (
            self._is_waiting
            or self.pending_acks
            or self.pending_subacks
            or self.ping_pending
            or self.has_output()
        ):
            check_waits(self)
        if self.state == CONNECTED and self._ping_interval and not self.has_output():
            ping_if_idle(self, now)
        return self._timeout
