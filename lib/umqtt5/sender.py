"""Bytes out: the transmit buffer, the outbox, the send quota, in the right order.

- A record of the outbox is written in one go; what lies in `tx` waits for its end. `tx`
  goes before the next record, so that no acknowledgement waits for the send quota
  [MQTT-3.3.4-8].
- An alias is set up by the packet that is written first: forms are chosen when a packet
  takes its place in the stream, not before.
- The last bytes of `tx` are kept for one acknowledgement and one DISCONNECT.
"""

from micropython import const

from .encode import (
    PublishHead,
    put_ack,
    put_connect,
    put_disconnect,
    put_ping,
    put_subscribe,
    put_unsubscribe,
    subscribe_size,
)
from .errors import MQTTError
from .limits import Limits
from .outbox import ENDED, RELEASED, RELEASING, SENT, Outbox
from .wire import varint_size

_MASK = const(0x3FFFFFFF)
_RESERVE = const(8)  # an acknowledgement takes 5 bytes, a DISCONNECT 3


class Sender:
    """All that leaves a session. `tx` and `outbox` are sizes in bytes."""

    def __init__(self, tx, outbox, inflight, aliases, subscriptions):
        self.tx = bytearray(tx)
        self.outbox = Outbox(outbox, inflight)
        self.head = PublishHead(aliases)
        self.limits = Limits()
        self.subscriptions = subscriptions
        self.owner = self  # whose callbacks are called: the client, where there is one
        self.on_ack = self.on_subscribed = None
        self.properties = b""  # of the message that is published next
        self.online = False  # CONNACK has come, DISCONNECT has not
        self.out = self.tx
        self.out_at = self._tx_at = self._tx_end = self._record_at = self._record_end = 0
        self._packet_id = self._record_id = self._quota = 0
        self._reason = 0  # of the message that ends
        self._releasing = False  # a PUBREL of the connection before is due
        self._untold = False  # something has to be told to the user
        self.owed = 0  # answers that the broker owes: PUBACK, SUBACK, UNSUBACK
        self.messages = self.bytes = self.resent = 0  # sent so far, modulo 2**30

    # ---- packets that are not published messages

    def connect(self, session):
        """A new connection begins with CONNECT; `tx` is large enough, see `check_room`."""
        self.online = False
        self._record_at = self._record_end = self.owed = 0
        self._tx_at, self._tx_end = put_connect(self.tx, session)

    def check_room(self, size):
        """Raise ValueError where `tx` can never hold a packet of this size."""
        if size + _RESERVE > len(self.tx):
            raise ValueError("tx: %d bytes needed" % (size + _RESERVE))

    def connected(self, resumed):
        """CONNACK has come and `limits` has it: all that is owed may go out."""
        self._quota = self.limits.receive_maximum
        self.head.connected(self.limits.topic_alias_maximum, self.limits.maximum_packet_size)
        self.outbox.rewind(resumed)
        self.subscriptions.rewind(resumed)
        self._releasing = self._untold = True  # there may be some
        self.online = True

    def clear(self):
        """The broker has ended it: nothing more is to be written."""
        self.online = False
        self._tx_at = self._tx_end = self._record_at = self._record_end = 0

    def can_answer(self):
        """True where there is room for an acknowledgement."""
        return self._tx_end + _RESERVE <= len(self.tx)

    def ack(self, first_byte, packet_id, reason):
        self._tx_end = put_ack(self.tx, self._tx_end, first_byte, packet_id, reason)

    def ping(self):
        self._tx_end = put_ping(self.tx, self._tx_end)

    def disconnect(self, reason):
        """The last packet."""
        self._tx_end = put_disconnect(self.tx, self._tx_end, reason)
        self.online = False

    def pending(self):
        """True where bytes wait to be written."""
        return self._tx_at < self._tx_end or self._record_at < self._record_end

    def acknowledged(self, packet, kind):
        """PUBACK, PUBREC or PUBCOMP: packet type 4, 5, 7. False where it answers nothing."""
        packet_id = packet.packet_id
        if self._record_at < self._record_end and packet_id == self._record_id:
            raise MQTTError(0x82, "acknowledged before it was sent")
        slot = self.outbox.find(packet_id, RELEASED if kind == 7 else SENT)
        if slot >= 0 and (kind == 4) != (self.outbox.first_bytes[slot] & 6 == 2):
            raise MQTTError(0x82, "acknowledged for another QoS")
        if kind == 5 and packet.reason < 0x80:
            self._release(slot, packet_id)
        elif slot >= 0:
            # an error ends the message, too [MQTT-4.4.0-2]
            self.outbox.drop(slot)
            self._quota += 1
            self.owed -= 1
            self._reason = packet.reason
            self._ended(packet_id)
        return slot >= 0

    def _release(self, slot, packet_id):
        """PUBREC has come: PUBREL in the order of these [MQTT-4.6.0-4]."""
        if slot >= 0:
            self.outbox.states[slot] = RELEASED
        else:
            slot = self.outbox.find(packet_id, RELEASED)
        self.ack(0x62, packet_id, 0 if slot >= 0 else 0x92)

    def _release_again(self):
        """The session is resumed: the PUBRELs that are due, whatever the quota [MQTT-4.4.0-1]."""
        slot = self.outbox.first(RELEASING)
        while slot >= 0 and self.can_answer():
            self.outbox.states[slot] = RELEASED
            self._quota -= 1
            self.owed += 1
            self.ack(0x62, self.outbox.ids[slot], 0)
            slot = self.outbox.first(RELEASING)
        self._releasing = slot >= 0

    def _ended(self, packet_id):
        if self.owner.on_ack:
            with self.subscriptions.guard:
                self.owner.on_ack(packet_id, self._reason)

    def answered(self, s, reason):
        """SUBACK or UNSUBACK."""
        self.owed -= 1
        self.subscriptions.answered(s, reason)
        self._tell(s)

    def _tell(self, s):
        if s.untold:
            s.untold = False
            if self.owner.on_subscribed:
                with self.subscriptions.guard:
                    self.owner.on_subscribed(s)

    def report(self):
        """Tell the user what has ended by itself; not while a packet is chosen."""
        if not self._untold:
            return
        self._untold = False
        for s in self.subscriptions.all:
            self._tell(s)
        slot = self.outbox.first(ENDED)
        while slot >= 0:
            self._reason = self.outbox.first_bytes[slot]
            self.outbox.drop(slot)
            self._ended(self.outbox.ids[slot])
            slot = self.outbox.first(ENDED)

    # ---- into the stream

    def output(self):
        """How many bytes of `out` are to be written from `out_at` on; 0 for none."""
        if self._record_at == self._record_end:
            if self.online and self.subscriptions.pending:
                self._subscribe()
            if self.online and self._releasing:
                self._release_again()
            if self._tx_at < self._tx_end:
                self.out = self.tx
                self.out_at = self._tx_at
                return self._tx_end - self._tx_at
            if not self.online or self._quota < 1 or not self._take():
                return 0
        self.out = self.outbox.arena
        self.out_at = self._record_at
        return self._record_end - self._record_at

    def sent(self, n):
        """`n` bytes have been written."""
        self.bytes = (self.bytes + n) & _MASK
        if self.out is self.tx:
            self._tx_at += n
            if self._tx_at == self._tx_end:
                self._tx_at = self._tx_end = 0
        else:
            self._record_at += n

    def _take(self):
        """Make the next message of the outbox the output; False where there is none."""
        outbox = self.outbox
        slot = outbox.next()
        while slot >= 0:
            size = outbox.plan(slot, self.head)
            reason = self.limits.publish(outbox.first_bytes[slot], size)
            if not reason:
                self._record_at = outbox.put(slot, self.head, size)
                self._record_end = self._record_at + size
                self._record_id = outbox.ids[slot]
                self._quota -= 1
                self.owed += 1
                self.messages = (self.messages + 1) & _MASK
                self.resent = (self.resent + (outbox.first_bytes[slot] >> 3 & 1)) & _MASK
                return True
            # accepted before this connection, whose limits forbid it
            outbox.end(slot, reason)
            self._untold = True
            slot = outbox.next()
        return False

    def _subscribe(self):
        """Put out what the user wants to hear or no longer hear, as far as there is room."""
        i = self.subscriptions.next()
        while i >= 0:
            s = self.subscriptions.all[i]
            size = subscribe_size(s.filter, i + 1)
            reason = 0 if s.leaving else self.limits.subscribe(s.filter, size)
            if reason:
                s.changed = False
                self.subscriptions.answered(s, reason)
                self._untold = True
            elif self._tx_end + size + _RESERVE > len(self.tx):
                return
            else:
                self.subscriptions.asked(s, self.next_id())
                self.owed += 1
                if s.leaving:
                    self._tx_end = put_unsubscribe(self.tx, self._tx_end, s.packet_id, s.filter)
                else:
                    number = i + 1 if self.limits.subscription_ids_available else 0
                    self._tx_end = put_subscribe(self.tx, self._tx_end, s, number)
            i = self.subscriptions.next()

    def _room(self, size):
        """True where `tx` has room for `size` more bytes, False where it will have.

        Raises ValueError where it never has.
        """
        self.check_room(size)
        return self._tx_end + size + _RESERVE <= len(self.tx)

    # ---- the user's side

    def publish(self, topic, payload, first_byte):
        """See `Client.publish`. `first_byte` is that of the PUBLISH: QoS and RETAIN."""
        if first_byte > 0x31:
            return self._keep(topic, payload, first_byte)
        at = len(payload)
        if not self.online:
            self.properties = b""
            return False
        if topic.epoch != self.head.epoch or at > 121 or self.properties:
            return self._spell(topic, payload, first_byte)
        # the usual one: a short payload to a topic that has its alias
        if self.limits.publish(first_byte, at + 8) or not self._room(at + 8):
            return self._check(first_byte, at + 8)
        self.tx[self._tx_end] = first_byte
        self.tx[self._tx_end + 1] = at + 6
        at = self._tx_end + 8
        self.tx[at - 6 : at] = topic.head
        self.tx[at : at + len(payload)] = payload
        self._tx_end = at + len(payload)
        self.head.saved += len(topic.name) - 3
        self.messages = (self.messages + 1) & _MASK
        return True

    def _spell(self, topic, payload, first_byte):
        """A QoS 0 PUBLISH of any form."""
        properties = self.properties
        self.properties = b""
        at = len(payload) + len(properties)
        at = self.head.plan(topic, len(properties), at)
        if self.limits.publish(first_byte, at) or not self._room(at):
            return self._check(first_byte, at)
        at = self.head.put(self.tx, self._tx_end, first_byte)
        first_byte = at + len(properties)
        self.tx[at:first_byte] = properties
        at = first_byte + len(payload)
        self.tx[first_byte:at] = payload
        self._tx_end = at
        self.messages = (self.messages + 1) & _MASK
        return True

    def _keep(self, topic, payload, first_byte):
        """Take a message into the outbox; returns its packet identifier, 0 for no room."""
        if first_byte > 0x35:
            self.properties = b""
            raise ValueError("qos is 0, 1 or 2")
        slot = len(self.properties)
        slot += len(topic.name) + 4 + varint_size(slot) + len(payload)
        self._check(first_byte, 1 + slot + varint_size(slot))
        slot = self.outbox.add(topic, payload, first_byte, self.properties)
        self.properties = b""
        if slot < 0:
            if slot == -2:
                raise ValueError("outbox: the message is larger")
            return 0
        self.outbox.ids[slot] = self.next_id()
        return self._packet_id

    def _check(self, first_byte, size):
        """Raise MQTTError for the limit that a PUBLISH would break; False where it breaks none."""
        size = self.limits.publish(first_byte, size)
        if size:
            self.properties = b""
            from .reasons import limit

            raise MQTTError(size, limit(size, self.limits))
        return False

    def next_id(self):
        """A packet identifier that is free [MQTT-2.2.1-3].

        Those in the outbox follow each other, and there are fewer than 65,535 slots: the next
        in turn can only be that of an unanswered SUBSCRIBE.
        """
        while True:
            self._packet_id = self._packet_id % 65535 + 1
            if not self.subscriptions.waiting(self._packet_id):
                return self._packet_id
