"""The state machine of one MQTT 5.0 session: bytes and ticks in, bytes out, no I/O.

How it is driven:

- `open(now)` begins a connection, `lost()` tells that it has ended, for whatever reason.
- Read at most `framer.want` bytes to the base of `framer.into`, then `received(n, now)`.
  While `held` is True, packets wait for room to answer: write, then call `parse()`.
- While `output()` is not 0, write that many bytes of `out` from `out_at` on, then call
  `sent(n, now)`.
- `tick(now)` returns how many ms may pass before it has to be called again. It raises
  OSError(ETIMEDOUT) when the broker has let a wait run out.

Rules:

- `now` is in ms and may wrap at any multiple of 2**30.
- What the peer does wrong sets `error` and `state` to CLOSING: the DISCONNECT with its
  reason code is the last output, then the driver closes.
- A message is acknowledged when its handler has returned, in the order of arrival.
- Nothing is allocated for a message. CONNECT, SUBSCRIBE and UNSUBSCRIBE are made as new bytes.
- A block (CONNECT, or a record of the outbox) is written in one go; what lies in `tx` waits
  for its end. `tx` goes before the next record, so that no acknowledgement waits for the
  send quota [MQTT-3.3.4-8].
- An alias is set up by the packet that is written first: the form of a PUBLISH is chosen
  when it takes its place in the stream, not before.
- The last bytes of `tx` are kept for one acknowledgement and one DISCONNECT.
"""

import sys
from array import array
from errno import ETIMEDOUT

from micropython import const

from .encode import connect, request
from .errors import Guard, MQTTError
from .framer import Framer
from .outbox import ENDED, QUEUED, RELEASED, RELEASING, SENT, Outbox
from .packet import Packet
from .subscriptions import Subscriptions
from .wire import put_u16, put_varint, varint_size

if sys.implementation.name == "cpython":
    from ..cpython.compat import print_exception
else:
    from sys import print_exception

CLOSED = const(0)
CONNECTING = const(1)
CONNECTED = const(2)
CLOSING = const(3)

_MASK = const(0x3FFFFFFF)
_SUBSCRIBE_ID = const(0x8000)  # packet identifiers from here on are those of subscriptions
_RESERVE = const(8)  # an acknowledgement takes 5 bytes, a DISCONNECT 3
_ALIAS = const(0x80000)  # as a bit of `Packet.seen`
_RECEIVED = const(0xEAFC)  # the packet types that a server sends
_AUTHENTICATION = const(0x600)  # method and data, as bits of `Packet.seen`

# The limits of the broker (3.2.2.3) from property 0x21 on, as they are when CONNACK has none.
_DEFAULTS = (65535, 0, 0, 2, 1, 0, _MASK, 1, 1, 1)
_RECEIVE_MAXIMUM = const(0)
_TOPIC_ALIAS_MAXIMUM = const(1)
_MAXIMUM_QOS = const(3)
_RETAIN_AVAILABLE = const(4)
MAXIMUM_PACKET_SIZE = const(6)
_WILDCARD_AVAILABLE = const(7)
_IDENTIFIERS_AVAILABLE = const(8)
_SHARED_AVAILABLE = const(9)

# What can be waited for.
_WRITE = const(0)
CONNACK = const(1)
ANSWER = const(2)
_PING = const(3)
_WORDS = ("the broker takes no more bytes", "no CONNACK", "no PUBACK or SUBACK", "no PINGRESP")


class Session:
    """One client's session. Sizes are in bytes, `timeout` in ms, `keep_alive` in seconds."""

    # What few change is the class's until then: it takes no room in the dict of an instance, whose
    # steps of growth are large.
    user = password = None
    will = None  # (connect flags, the will's fields as they stand in CONNECT)
    properties = b""  # of the CONNECT, beside our own
    aliases = None  # an AliasTable, where the broker may use some
    auth = None  # an Auth, where there is more than user and password
    strict = None  # a Strict, where the broker is held to more
    policy = None  # a Policy, where older messages give way when the outbox is full
    source = None  # of a payload that is written in pieces, see `stream`
    on_ack = on_subscribed = on_unsubscribed = on_error = None  # see `owner`

    def __init__(  # noqa: PLR0915  what there is, named once
        self, client_id, rx, tx, outbox, inflight, aliases, keep_alive, timeout
    ):
        if not 0 < inflight < 32768 or not 0 <= keep_alive < 65536 or min(rx, tx) < 64:
            raise ValueError("inflight 1 to 32767, keep_alive 0 to 65535, rx and tx from 64")
        self.client_id = client_id
        self.keep_alive = keep_alive
        self.session_expiry = 0  # seconds
        self.receive_maximum = inflight
        self.timeouts = [timeout] * 4  # ms, by what is waited for: WRITE and so on
        self.clean_start = True

        self.framer = Framer(rx)
        self.maximum_packet_size = rx  # what the broker is told
        self.packet = Packet(self.framer.rx)
        self.tx = bytearray(tx)
        self.outbox = Outbox(outbox, inflight)
        self.inbox = array("H", [0] * inflight)  # QoS 2 identifiers received and not released
        self.subscriptions = Subscriptions()
        self.guard = self.subscriptions.guard = Guard(Exception, self._failed)  # round the user's code
        self.limits = list(_DEFAULTS)
        self._aliased = [None] * aliases  # our topics, by alias

        self.owner = self  # whose callbacks are called: the client, where there is one
        self.on_connected = None  # called when CONNACK has come, before anything behind it
        self.state = CLOSED
        self.error = None  # why it ends: the broker's words or ours, as an MQTTError
        self.resumed = self.held = False
        # of the message that is published next: QoS and RETAIN, and its properties
        self.first_byte = 0x30
        self.message_properties = b""
        self._raised = False  # the handler of this message has failed

        # what is written
        self.out = self._block = self.tx
        self.out_at = self._block_at = self._block_end = self._tx_at = self._tx_end = 0
        self._block_slot = -1  # whose record is written
        self._quota = self._short = 0  # `_short`: bytes of payload that the usual PUBLISH may have
        self.owed = 0  # answers that the broker owes: PUBACK, SUBACK, UNSUBACK
        self.response_information = None  # of the broker
        self._releasing = False  # a PUBREL of the connection before is due
        self._untold = False  # something has to be told to the user

        # the form of the PUBLISH that `_plan` has chosen
        self.epoch = 1  # counts the connections: an alias dies with its own [MQTT-3.3.2-7]
        self._hand = self._alias = self._properties = self._remaining = 0
        self._topic = None
        self._name = b""

        # ticks in ms, modulo 2**30
        self._now = self._left = 0
        self._heard = self._wrote = 0  # when bytes last came in and went out
        self.since = [-1, -1, -1, -1]  # since when something is waited for
        self._keep_alive = 0  # ms between a sign of life and the ping
        self.pinging = False

        # counters, modulo 2**30; `saved` are the bytes that aliases saved
        self.messages = self.bytes = self.resent = self.refused = self.saved = 0
        self.messages_received = self.bytes_received = 0

    # ---- a connection begins and ends

    def open(self, now):
        """A connection is there: put CONNECT out."""
        self.lost()
        self.state = CONNECTING
        self.error = None
        self.held = self.pinging = False
        self.framer.reset()
        if self.aliases:
            self.aliases.clear()
        self._heard = self._wrote = now
        for i in range(4):
            self.since[i] = -1
        if self.auth:
            self.auth.opened()
        if self.state == CONNECTING:
            self._block = connect(self)
            self._block_end = len(self._block)
            self._block_slot = -1

    def lost(self):
        """The connection has ended."""
        self.state = CLOSED
        self.epoch += 1
        self.owed = self._tx_at = self._tx_end = self._block_at = self._block_end = 0

    def close(self, reason, packet=b"\xe0\x00"):
        """End the connection with a DISCONNECT (3.14); the driver closes when it is written."""
        if self.state == CONNECTED or (self.state == CONNECTING and reason):
            self.put(bytes((0xE0, 1, reason)) if reason else packet, 0)
        if self.state != CLOSED:
            self.epoch += 1
            self.state = CLOSING

    def _end(self):
        """The broker has ended it, and nothing more is to be written."""
        self.lost()
        self.state = CLOSING
        self.error = MQTTError(self.packet.reason, self.packet.property(0x1F) or "")
        self.error.from_broker = True
        self.error.reference = self.packet.property(0x1C)

    def _failed(self, error):
        """A handler or a callback of the user's has raised."""
        self._raised = True
        if self.owner.on_error:
            self.owner.on_error(error)
        else:
            print_exception(error)

    # ---- bytes in

    def received(self, n, now):
        """`n` bytes have landed in `framer.into`."""
        self.bytes_received = (self.bytes_received + n) & _MASK
        self._heard = now
        self.framer.landed(n)
        self.parse()

    def parse(self):
        """Handle the packets that are whole."""
        self.held = True  # also when a callback of the user's raises: then come back here
        while self.state == CONNECTED or self.state == CONNECTING:
            if self._tx_end + _RESERVE > len(self.tx):
                return
            reason = self.framer.next()
            if not reason:
                break
            if reason == 1:
                reason = self._handle(self.packet, self.framer.first)
            if reason > 0:
                self.error = MQTTError(reason, "packet type %d" % (self.framer.first >> 4))
                self.close(reason)
        self.held = False
        self.framer.settle()

    def _handle(self, packet, first):
        """The packet that `framer` has found; returns the reason code to close with, or 0."""
        kind = first >> 4
        if not _RECEIVED >> kind & 1 or ((self.state == CONNECTING) != (kind == 2) and kind != 15):
            return 0x82
        reason = packet.parse(first, self.framer.at, self.framer.end)
        if reason:
            return reason
        if kind == 3:
            return self._publish(packet)
        if kind == 2:
            return self._connack(packet)
        if kind == 6:
            if not self._swap(packet.packet_id, 0):
                reason = 0x92
            self.ack(0x70, packet.packet_id, reason)
        elif kind == 13:
            self.pinging = False
        elif kind == 14:
            self._end()
        elif kind == 15:
            return self.auth.receive(packet) if self.auth else 0x82
        elif kind < 8:
            return self._acknowledged(packet, kind)
        else:
            return self._answered(packet, first)
        return 0

    def _connack(self, packet):
        self.resumed = packet.session_present
        # [MQTT-3.2.2-4], [MQTT-3.2.2-6]
        if self.resumed and (self.clean_start or packet.reason):
            return 0x82
        if packet.reason:
            self._end()
            return 0
        if self.auth:
            if self.auth.connack(packet):
                return -1
        elif packet.seen & _AUTHENTICATION:
            return 0x82
        self.response_information = packet.property(0x1A)
        for i in range(len(_DEFAULTS)):  # [MQTT-3.2.2-18]
            self.limits[i] = packet.number(0x21 + i, _DEFAULTS[i])
        if not self.client_id:
            self.client_id = (packet.property(0x12) or "").encode()
        # an eighth of the Keep Alive is left for the ping to travel [MQTT-3.2.2-21]
        self._keep_alive = packet.number(0x13, self.keep_alive) * 875
        if not self.resumed:
            for i in range(len(self.inbox)):
                self.inbox[i] = 0
        for i in range(len(self._aliased)):
            self._aliased[i] = None
        self._quota = self.limits[_RECEIVE_MAXIMUM]
        self._short = min(121, self.limits[MAXIMUM_PACKET_SIZE] - 8)
        self._hand = 0
        self.outbox.rewind(self.resumed)
        self.subscriptions.rewind(self.resumed)
        self._releasing = self._untold = True  # there may be some
        self.clean_start = False
        self.state = CONNECTED
        if self.on_connected:
            self.on_connected()
        return 0

    def _resolve(self, packet):
        """The alias of a message becomes its topic; returns 0, or the reason code of what is wrong."""
        if packet.seen & _ALIAS:
            # [MQTT-3.1.2-27]
            return self.aliases.resolve(packet, packet.number(0x23, 0)) if self.aliases else 0x94
        return 0 if packet.topic_at < packet.topic_end else 0x82

    def _publish(self, packet):
        reason = self._resolve(packet)
        if reason:
            return reason
        packet_id = packet.packet_id
        if packet.qos == 2:
            if self._swap(packet_id, packet_id):
                self.ack(0x50, packet_id, 0)  # and no second delivery [MQTT-4.3.3-10]
                return 0
            if not self._swap(0, 0):
                return 0x93
        if self.strict:
            reason = self.strict.check(packet)
            if reason == 0x93:
                return reason
        self.messages_received = (self.messages_received + 1) & _MASK
        self._raised = False
        if not reason:
            self.subscriptions.deliver(packet)
        if self._raised:
            reason = 0x80  # it has not done its work: Unspecified error
        if packet.qos:
            if packet.qos == 2 and not reason:
                # the work is done, whatever becomes of the link; where it failed the identifier
                # means a new message [MQTT-4.3.3-9]
                self._swap(0, packet_id)
            if self.state == CONNECTED:  # [MQTT-4.3.2-4], in order [MQTT-4.6.0-2]
                self.ack(0x30 + 0x10 * packet.qos, packet_id, reason)
        return 0

    def _swap(self, old, new):
        """Put `new` where `old` is in the inbox; False where it is not there. 0 stands for room."""
        for i in range(len(self.inbox)):
            if self.inbox[i] == old:
                self.inbox[i] = new
                return True
        return False

    def _acknowledged(self, packet, kind):
        """PUBACK, PUBREC or PUBCOMP: packet type 4, 5, 7."""
        outbox = self.outbox
        slot = packet.packet_id - 1
        state = outbox.states[slot] if slot < len(outbox.states) else 0
        if self._block_at < self._block_end and slot == self._block_slot:
            return 0x82  # it is not sent yet
        if state == (RELEASED if kind == 7 else SENT):
            if (kind == 4) != (outbox.first_bytes[slot] & 6 == 2):
                return 0x82  # that is another QoS
            self.since[ANSWER] = -1
            if kind == 5 and packet.reason < 0x80:
                outbox.states[slot] = RELEASED
                state = RELEASED
            else:
                # an error ends the message, too [MQTT-4.4.0-2]
                outbox.drop(slot)
                self._quota += 1
                self.owed -= 1
                self._tell_ack()
                return 0
        if kind == 5 and packet.reason < 0x80:  # in the order of these [MQTT-4.6.0-4]
            state = 0 if state == RELEASED else 0x92
            self.ack(0x62, packet.packet_id, state)
        return 0

    def _answered(self, packet, first):
        """SUBACK or UNSUBACK."""
        place = packet.packet_id - _SUBSCRIBE_ID
        if not 0 <= place < len(self.subscriptions.all):
            return 0x82
        s = self.subscriptions.all[place]
        if s.asked != first:
            return 0x82
        self.since[ANSWER] = -1
        self.owed -= 1
        self.subscriptions.answered(s, packet.reason)
        if first == 0xB0 and self.owner.on_unsubscribed:
            with self.guard:
                self.owner.on_unsubscribed(s, packet)
        self._tell_subscribed(s)
        return 0

    def _tell_ack(self):
        if self.packet.reason >= 0x80:
            self.refused += 1
        if self.owner.on_ack:
            with self.guard:
                self.owner.on_ack(self.packet)

    def _tell_subscribed(self, s):
        if s.untold:
            s.untold = False
            if self.owner.on_subscribed:
                with self.guard:
                    self.owner.on_subscribed(s, self.packet)

    def _report(self):
        """Tell the user what has ended by itself; not while a packet is chosen."""
        self._untold = False
        for s in self.subscriptions.all:
            self.packet.ended(0, s.reason)
            self._tell_subscribed(s)
        while True:
            slot = self.outbox.first(ENDED)
            if slot < 0:
                return
            self.packet.ended(slot + 1, self.outbox.first_bytes[slot])
            self.outbox.drop(slot)
            self._tell_ack()

    # ---- bytes out

    def pending(self):
        """True where bytes wait to be written."""
        return self._tx_at < self._tx_end or self._block_at < self._block_end

    def output(self):
        """How many bytes of `out` are to be written from `out_at` on; 0 for none."""
        if self._block_at == self._block_end and not (self.source and self.source.more()):
            if self.state == CONNECTED:
                if self.subscriptions.pending:
                    self._subscribe()
                if self._releasing:
                    self._release()
            if self._tx_at < self._tx_end:
                self.out = self.tx
                self.out_at = self._tx_at
                return self._tx_end - self._tx_at
            if self.state != CONNECTED or self._quota < 1 or not self._take():
                return 0
        self.out = self._block
        self.out_at = self._block_at
        return self._block_end - self._block_at

    def sent(self, n, now):
        """`n` bytes of what `output` offered have been written."""
        self._wrote = now
        self.since[_WRITE] = -1
        self.bytes = (self.bytes + n) & _MASK
        if self.out is self.tx:
            self._tx_at += n
            if self._tx_at == self._tx_end:
                self._tx_at = self._tx_end = 0
        else:
            self._block_at += n

    def ack(self, first_byte, packet_id, reason):
        """PUBACK and its kin (3.4): four bytes, five with a reason other than success."""
        tx = self.tx
        at = self._tx_end
        tx[at] = first_byte
        tx[at + 1] = 3 if reason else 2
        at = put_u16(tx, at + 2, packet_id)
        if reason:
            tx[at] = reason
            at += 1
        self._tx_end = at

    def put(self, data, reserve=_RESERVE):
        """Append a whole packet to what goes out; False where there is no room for it now."""
        end = self._tx_end + len(data)
        if end + reserve > len(self.tx):
            return False
        self.tx[self._tx_end : end] = data
        self._tx_end = end
        return True

    def _release(self):
        """The session is resumed: the PUBRELs that are due, whatever the quota [MQTT-4.4.0-1]."""
        while self._tx_end + _RESERVE <= len(self.tx):
            slot = self.outbox.first(RELEASING)
            if slot < 0:
                self._releasing = False
                return
            self.outbox.states[slot] = RELEASED
            self._quota -= 1
            self.owed += 1
            self.ack(0x62, slot + 1, 0)

    def _subscribe(self):
        """Put out what the user wants to hear or no longer hear, as far as there is room."""
        limits = self.limits
        while True:
            i = self.subscriptions.next()
            if i < 0:
                return
            s = self.subscriptions.all[i]
            data = request(s, _SUBSCRIBE_ID + i, i + 1 if limits[_IDENTIFIERS_AVAILABLE] else 0)
            reason = 0
            if len(data) > limits[MAXIMUM_PACKET_SIZE]:
                reason = 0x95
            elif s.part is not s.filter and not limits[_SHARED_AVAILABLE]:
                reason = 0x9E
            elif (b"+" in s.part or b"#" in s.part) and not limits[_WILDCARD_AVAILABLE]:
                reason = 0xA2
            if reason and s.wanted:
                self.subscriptions.answered(s, reason)
                self._untold = True
            elif reason == 0x95:
                s.gone = True  # though the broker can't be told [MQTT-3.2.2-15]
            elif not self.put(data):
                return
            else:
                s.asked = data[0] + 0x0E  # SUBACK or UNSUBACK
                self.owed += 1
            s.changed = False

    # ---- messages out

    def publish(self, topic, payload):
        """See `Client.publish`. Its QoS, RETAIN and properties are attributes of the session."""
        first_byte = self.first_byte
        at = self._tx_end + 8
        size = len(payload)
        if (
            topic.epoch != self.epoch
            or first_byte != 0x30
            or size > self._short
            or at + size + _RESERVE > len(self.tx)
            or self.message_properties
        ):
            if first_byte > 0x31:
                return self._keep(topic, payload, first_byte)
            return self._spell(topic, payload, first_byte)
        # the usual one: a short payload to a topic that has its alias
        self.tx[at - 8] = first_byte
        self.tx[at - 7] = size + 6
        self.tx[at - 6 : at] = topic.head
        size += at
        self.tx[at:size] = payload
        self._tx_end = size
        topic.uses += 1
        self.saved += len(topic.name) - 3
        self.messages = (self.messages + 1) & _MASK
        return True

    def _spell(self, topic, payload, first_byte):
        """A QoS 0 PUBLISH of any form."""
        if self.state != CONNECTED:
            return False
        at = len(payload) + len(self.message_properties)
        at = self._plan(topic, len(self.message_properties), at)
        self._allow(first_byte, at)
        if at + _RESERVE > len(self.tx):
            raise ValueError("tx: %d bytes needed" % (at + _RESERVE))
        if self._tx_end + at + _RESERVE > len(self.tx):
            return False
        at = self._head(self.tx, self._tx_end, first_byte)
        first_byte = at + len(self.message_properties)
        self.tx[at:first_byte] = self.message_properties
        at = first_byte + len(payload)
        self.tx[first_byte:at] = payload
        self._tx_end = at
        return True

    def _keep(self, topic, payload, first_byte):
        """Take a message into the outbox; returns its packet identifier, 0 for no room."""
        size = len(self.message_properties)
        size += len(topic.name) + 4 + varint_size(size) + len(payload)
        self._allow(first_byte, 1 + size + varint_size(size))
        size = self.outbox.add(topic, payload, first_byte, self.message_properties)
        if size == -1 and self.policy:
            size = self.policy.add(topic, payload, first_byte)
        if size == -2:
            raise ValueError("outbox: the message is larger")
        return size + 1

    def _allow(self, first_byte, size):
        """Raise MQTTError for the limit that a PUBLISH would break."""
        if not 0x30 <= first_byte < 0x36:
            raise ValueError("qos is 0, 1 or 2")
        reason = self._forbidden(first_byte, size)
        if reason:
            from ..reason_codes import limit

            raise MQTTError(reason, limit(reason, self.limits))

    def _forbidden(self, first_byte, size):
        """The reason code for which a PUBLISH can't be sent, 0 where it can."""
        limits = self.limits
        if size > limits[MAXIMUM_PACKET_SIZE]:
            return 0x95  # [MQTT-3.2.2-15]
        if first_byte & 1 and not limits[_RETAIN_AVAILABLE]:
            return 0x9A  # [MQTT-3.2.2-14]
        return 0x9B if first_byte >> 1 & 3 > limits[_MAXIMUM_QOS] else 0  # [MQTT-3.2.2-11]

    def _take(self):
        """Make the next message of the outbox the block to write; False where there is none."""
        outbox = self.outbox
        while True:
            slot = outbox.first(QUEUED)
            if slot < 0:
                return False
            size = outbox.sizes[slot] + 2
            size = self._plan(outbox.topics[slot], outbox.properties[slot], size)
            reason = self._forbidden(outbox.first_bytes[slot], size)
            if not reason:
                break
            # accepted before this connection, whose limits forbid it
            outbox.states[slot] = ENDED
            outbox.first_bytes[slot] = reason
            self._untold = True
        outbox.states[slot] = SENT
        self._block = outbox.arena
        self._block_slot = slot
        self._block_end = outbox.bodies[slot] + outbox.sizes[slot]
        self._block_at = self._block_end - size
        reason = outbox.first_bytes[slot]
        slot += 1
        self._head(self._block, self._block_at, reason, slot)
        self._quota -= 1
        self.owed += 1
        self.resent = (self.resent + (reason >> 3 & 1)) & _MASK
        return True

    def _plan(self, topic, properties, rest):
        """Choose the form of a PUBLISH; returns its whole size.

        `properties` is the size of the user's, `rest` that of all behind the topic but for the
        length of the properties.
        """
        self._topic = topic
        self._name = topic.name
        self._alias = 0
        if topic.epoch == self.epoch:
            self._alias = topic.alias
            self._name = b""
        # the packet that sets an alias up is three bytes longer
        elif len(topic.name) > 3 and rest + len(topic.name) + 12 <= self.limits[MAXIMUM_PACKET_SIZE]:
            self._alias = self._free_alias(topic)
        if self._alias:
            properties += 3
            rest += 3
        rest += 2 + len(self._name) + varint_size(properties)
        self._properties = properties
        self._remaining = rest
        return 1 + varint_size(rest) + rest

    def _head(self, buf, at, first_byte, packet_id=0):
        """Write what was planned; returns the offset of the user's properties and payload."""
        buf[at] = first_byte
        at = put_u16(buf, put_varint(buf, at + 1, self._remaining), len(self._name))
        buf[at : at + len(self._name)] = self._name
        at += len(self._name)
        if packet_id:
            at = put_u16(buf, at, packet_id)
        at = put_varint(buf, at, self._properties)
        if self._alias:
            buf[at] = 0x23
            at = put_u16(buf, at + 1, self._alias)
            self.saved -= 3
            if self._name:
                self._set_alias(self._topic, self._alias)
            else:
                self.saved += len(self._topic.name)
        self._topic.uses += 1
        self.messages = (self.messages + 1) & _MASK
        return at

    # ---- topic aliases of our own (3.3.2.3.4)

    def _free_alias(self, topic):
        """An alias for a topic that has none, or 0.

        The first topics that come get one each. Then the aliases are offered in turn, and a
        topic that was published more often than the one that has the alias takes it over. So
        the aliases come to the busiest topics, and do not wander where all are alike.
        """
        limit = min(len(self._aliased), self.limits[_TOPIC_ALIAS_MAXIMUM])
        if topic.alias < 0 or not limit:
            return 0
        self._hand = self._hand % limit + 1
        holder = self._aliased[self._hand - 1]
        return 0 if holder and holder.uses >= topic.uses else self._hand

    def _set_alias(self, topic, alias):
        """From its next PUBLISH on, `alias` stands for this topic."""
        holder = self._aliased[alias - 1]
        if holder:
            holder.epoch = 0
        self._aliased[alias - 1] = topic
        topic.alias = alias
        topic.epoch = self.epoch
        put_u16(topic.head, 4, alias)

    # ---- time

    def tick(self, now):
        """The ms until this is to be called again. Raises OSError where a wait has run out."""
        if self.state == CLOSED:
            return _MASK
        self._now = now
        self._left = _MASK
        self._wait(_WRITE, self.pending())
        self._wait(CONNACK, self.state == CONNECTING)
        if self.state == CONNECTED:
            if self._untold:
                self._report()
            self._wait(ANSWER, self.owed)
            self._wait(_PING, self.pinging)
            if self._keep_alive and not self.pending():
                self._silence(now)
        return self._left

    def _wait(self, kind, waiting):
        """Bound a wait, which starts when it is first seen to be `waiting`."""
        if not waiting:
            self.since[kind] = -1
            return
        if self.since[kind] < 0:
            self.since[kind] = self._now & _MASK
        left = self.timeouts[kind]
        if kind == _PING and self._keep_alive:
            left = min(left, self._keep_alive * 5 >> 3)
        left -= (self._now - self.since[kind]) & _MASK
        if left <= 0:
            raise OSError(ETIMEDOUT, _WORDS[kind])
        self._left = min(self._left, left)

    def _silence(self, now):
        """Ping when nothing was sent or nothing was heard for long (3.1.2.10)."""
        quiet = (now - self._wrote) & _MASK
        if not self.pinging:
            quiet = max(quiet, (now - self._heard) & _MASK)
        quiet = self._keep_alive - quiet
        if quiet <= 0:
            self.put(b"\xc0\x00")
            self._wrote = now
            self.pinging = True
            self._wait(_PING, True)
            quiet = 0
        self._left = min(self._left, quiet)
