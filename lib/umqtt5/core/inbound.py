"""Incoming packets: CONNACK, PUBLISH, acknowledgements, AUTH and DISCONNECT from the broker (section 3).

The functions take a `session.Session`. A function that handles a packet returns 0, the reason code of the
DISCONNECT that must end the connection, or -1 if the connection is already being closed.
"""

from micropython import const

from .callbacks import check_result
from .errors import MQTTError
from .outbox import ENDED, GIVEN_UP, RELEASED, SENT
from .states import (
    CLOSING,
    CONNECTED,
    CONNECTING,
    MAXIMUM_PACKET_SIZE,
    MAXIMUM_QOS,
    RECEIVE_MAXIMUM,
    RETAIN_AVAILABLE,
    TICKS_MASK,
    WAIT_ACK,
)
from .subscriptions import handle_suback, report_subscribed

_FROM_SERVER = const(0xEAFC)  # a bit for each packet type that a server may send
_HAS_ALIAS = const(0x80000)  # bits of `Packet.property_bits`
_MIN_PACKET_SIZE = const(5)  # bytes: an acknowledgement with a reason code
_HAS_AUTHENTICATION = const(0x600)  # Authentication Method or Authentication Data

# Values of `Session.broker_limits` for properties that CONNACK does not contain.
LIMIT_DEFAULTS = (65535, 0, 0, 2, 1, 0, TICKS_MASK, 1, 1, 1)


def handle_packet(session, packet, first):
    """Handle the packet that the framer has found; `first` is its first byte."""
    kind = first >> 4
    if not _FROM_SERVER >> kind & 1 or ((session.state == CONNECTING) != (kind == 2) and kind != 15):
        return 0x82
    if first & 0xCF == 0x40 and first != 0x60 and session.framer.end - session.framer.at == 2:
        # an acknowledgement without reason code and properties
        reason = session.framer.at
        packet.set_plain_ack(session.framer.rx[reason] << 8 | session.framer.rx[reason + 1], 0)
        return _handle_publish_ack(session, packet, kind) if packet.packet_id else 0x82
    reason = packet.parse(first, session.framer.at, session.framer.end)
    if reason:
        return reason
    if kind == 3:
        return session._handle_publish(packet)
    if kind == 2:
        return _handle_connack(session, packet)
    if kind == 6:  # PUBREL
        if not replace_received_id(session, packet.packet_id, 0):
            reason = 0x92
        session.ack(0x70, packet.packet_id, reason)
    elif kind == 13:
        session.ping_pending = False
    elif kind == 14:
        _close_by_broker(session)
    elif kind == 15:
        return session.auth.receive(packet) if session.auth else 0x82
    elif kind < 8:
        return _handle_publish_ack(session, packet, kind)
    else:
        return handle_suback(session, packet, first)
    return 0


def _handle_connack(session, packet):
    session.resumed = packet.session_present
    # [MQTT-3.2.2-4], [MQTT-3.2.2-6]
    if session.resumed and (session.clean_start or packet.reason):
        return 0x82
    if packet.reason:
        _close_by_broker(session)
        return 0
    if session.auth:
        if session.auth.connack(packet):
            return -1
    elif packet.property_bits & _HAS_AUTHENTICATION:
        return 0x82
    session.response_information = packet.property(0x1A)
    for i in range(len(LIMIT_DEFAULTS)):  # [MQTT-3.2.2-18]
        session.broker_limits[i] = packet.int_property(0x21 + i, LIMIT_DEFAULTS[i])
    session.client_id = session.client_id or (packet.property(0x12) or "").encode()
    # an eighth of the Keep Alive is left for the ping to arrive [MQTT-3.2.2-21]
    session._ping_interval = packet.int_property(0x13, session.keep_alive) * 875
    for i in range(0 if session.resumed else len(session.received_ids)):
        session.received_ids[i] = 0
    for i in range(len(session._alias_topics)):
        session._alias_topics[i] = None
    if session.broker_limits[MAXIMUM_PACKET_SIZE] < _MIN_PACKET_SIZE:
        packet.reason = 0x95
        _close_by_broker(session)
        session.error.detail = "the broker's Maximum Packet Size is %d" % session.broker_limits[6]
        return 0
    session._send_quota = session.broker_limits[RECEIVE_MAXIMUM]
    session._unchecked_size = 0
    if session.broker_limits[RETAIN_AVAILABLE] and session.broker_limits[MAXIMUM_QOS] == 2:
        session._unchecked_size = session.broker_limits[MAXIMUM_PACKET_SIZE]
    session._max_short_payload = min(121, session.broker_limits[MAXIMUM_PACKET_SIZE] - 8)
    session._offered_alias = 0
    session.outbox.rewind(session.resumed)
    session.subscriptions.rewind(session.resumed)
    session._has_pubrels = session._has_unreported = True  # check both after each CONNACK
    session.clean_start = False
    session.state = CONNECTED
    if session.on_connected:
        session.on_connected()
    return 0


def _close_by_broker(session):
    """End the session, because the broker has ended or refused the connection. Nothing more is written."""
    error = session.error = MQTTError(session.packet.reason, session.packet.property(0x1F) or "")
    error.from_broker = True
    error.is_refusal = session.state == CONNECTING
    error.server_reference = session.packet.property(0x1C)
    session.connection_lost()
    session.state = CLOSING


def resolve_topic(session, packet):
    """Resolve the topic alias of a message, if it has one; returns 0, or the reason code of the error."""
    if packet.property_bits & _HAS_ALIAS:
        # [MQTT-3.1.2-27]
        return session.aliases.resolve(packet, packet.int_property(0x23, 0)) if session.aliases else 0x94
    return 0 if packet.topic_start < packet.topic_end else 0x82


def handle_publish(session, packet):
    """Deliver a message to its handlers, then acknowledge it."""
    reason = resolve_topic(session, packet)
    if reason:
        return reason
    packet_id = packet.packet_id
    if packet.qos == 2:
        if replace_received_id(session, packet_id, packet_id):
            session.ack(0x50, packet_id, 0)  # do not deliver the message again [MQTT-4.3.3-10]
            return 0
        if not replace_received_id(session, 0, 0):
            return 0x93
    if session.strict:
        reason = session.strict.check(packet)
        if reason == 0x93:
            return reason
    session.messages_received = (session.messages_received + 1) & TICKS_MASK
    session._handler_failed = False
    if not reason:
        session.subscriptions.dispatch(packet)
        reason = 0x80 if session._handler_failed else packet.reason  # 0x80 Unspecified error
    if packet.qos:
        if packet.qos == 2 and not reason:
            # The message is handled, even if the connection is lost now. If its handler failed, a later
            # PUBLISH with this packet identifier is a new message [MQTT-4.3.3-9].
            replace_received_id(session, 0, packet_id)
        if session.state == CONNECTED:  # [MQTT-4.3.2-4], in the order of arrival [MQTT-4.6.0-2]
            session.ack(0x30 + 0x10 * packet.qos, packet_id, reason)
    return 0


def replace_received_id(session, old, new):
    """Replace `old` by `new` in the list of unreleased QoS 2 packet identifiers; 0 is a free place.

    Returns False if `old` is not in the list.
    """
    for i in range(len(session.received_ids)):
        if session.received_ids[i] == old:
            session.received_ids[i] = new
            return True
    return False


def _handle_publish_ack(session, packet, kind):
    """Handle PUBACK, PUBREC or PUBCOMP: packet type 4, 5 or 7."""
    outbox = session.outbox
    slot = packet.packet_id - 1
    state = outbox.states[slot] if slot < len(outbox.states) else 0
    if session._block_at < session._block_end and slot == session._block_slot:
        return 0x82  # the message is not completely written yet
    if state == (RELEASED if kind == 7 else SENT):
        if (kind == 4) != (outbox.first_bytes[slot] & 6 == 2):
            return 0x82  # the message has another QoS
        outbox.suspect_count = 0
        # a later answer says nothing about an earlier message
        if slot == outbox.slot_order[outbox.head]:
            session.wait_started[WAIT_ACK] = -1
        if kind == 5 and packet.reason < 0x80:
            outbox.states[slot] = RELEASED
            state = RELEASED
        else:
            # an error code ends the message as well [MQTT-4.4.0-2]
            if outbox.first_bytes[slot] & GIVEN_UP:
                packet.reason = 0x80
            outbox.free(slot)
            session._send_quota += 1
            session.pending_acks -= 1
            _report_ack(session)
            return 0
    if kind == 5 and packet.reason < 0x80:  # in the order of the PUBRECs [MQTT-4.6.0-4]
        state = 0 if state == RELEASED else 0x92
        session.ack(0x62, packet.packet_id, state)
    return 0


def _report_ack(session):
    if session.packet.reason >= 0x80:
        session.messages_refused += 1
    if session.callbacks.on_ack:
        with session.catch_errors:
            check_result(session.callbacks.on_ack(session.packet))


def report_ended(session):
    """Report subscriptions and messages that have ended without an answer from the broker.

    `Session.tick` calls this function. `prepare_write` does not, because a callback must not publish while a
    packet is being chosen.
    """
    session._has_unreported = False
    for s in session.subscriptions.entries:
        session.packet.set_plain_ack(0, s.reason)
        report_subscribed(session, s)
    while True:
        slot = session.outbox.oldest(ENDED)
        if slot < 0:
            return
        if slot == session._block_slot and session._block_at < session._block_end:  # it is being written
            session._has_unreported = True
            return
        session.packet.set_plain_ack(slot + 1, session.outbox.first_bytes[slot])
        session.outbox.free(slot)
        _report_ack(session)
