"""Outgoing messages: PUBLISH at QoS 0, 1 and 2, the broker's limits, topic aliases, PUBREL after a reconnect.

The functions take a `session.Session`. A PUBLISH is written in two steps: `plan_publish` chooses its form and
returns its size, then `write_publish_header` writes the packet up to the user's properties.
"""

from .errors import MQTTError
from .outbox import ENDED, MAX_HEADER, PROBE_BLAME, QUEUED, RELEASED, RELEASING, SENT
from .states import (
    CONNECTED,
    MAXIMUM_PACKET_SIZE,
    MAXIMUM_QOS,
    RETAIN_AVAILABLE,
    TICKS_MASK,
    TOPIC_ALIAS_MAXIMUM,
    TX_RESERVE,
)
from .wire import put_u16, put_varint, reject, varint_size


def init_outbound(session, aliases):
    """Set the output attributes of a session; `aliases` is the number of topics that can have an alias."""
    session.write_buffer = session._block = session.tx
    session.write_start = 0
    session._block_slot = -1  # outbox slot of the block
    session._has_pubrels = False  # PUBRELs of a resumed session are due
    session._send_quota = 0  # number of QoS 1 and 2 messages that may be sent now (4.9)
    session._unchecked_size = TICKS_MASK  # size of a PUBLISH up to which no limit of the broker applies
    session._max_short_payload = 0  # maximum payload in bytes for the fast path of `Session.publish`
    session._alias_topics = [None] * aliases  # topic of each alias, at index alias - 1
    session._offered_alias = 0  # alias that was offered last
    # form of the PUBLISH that `plan_publish` has chosen
    session._planned_topic = None
    session._planned_name = b""
    session._planned_alias = session._planned_properties = session._planned_length = 0


def publish_at_qos_0(session, topic, payload, first_byte):
    """Write a QoS 0 PUBLISH of any form to `tx`; returns False if there is no connection or no room."""
    if session.state != CONNECTED:
        return False
    at = len(payload) + len(session.message_properties)
    at = plan_publish(session, topic, len(session.message_properties), at)
    if at > session._unchecked_size:
        check_limits(session, first_byte, at)
    if at + TX_RESERVE > len(session.tx):
        reject("size", "tx", at, session.tx, TX_RESERVE)
    if session._tx_end + at + TX_RESERVE > len(session.tx):
        return False
    if not session._unchecked_size:
        first_byte = lower_first_byte(session, first_byte)
    at = write_publish_header(session, session.tx, session._tx_end, first_byte)
    if session.message_properties:
        first_byte = at + len(session.message_properties)
        session.tx[at:first_byte] = session.message_properties
        at = first_byte
    first_byte = at + len(payload)
    session.tx[at:first_byte] = payload
    session._tx_end = first_byte
    return True


def publish_with_ack(session, topic, payload, first_byte):
    """Add a message of QoS 1 or 2 to the outbox; returns its packet identifier, 0 if there is no room."""
    size = len(session.message_properties) + len(topic.name) + len(payload) + 14
    if size > session._unchecked_size or first_byte > 0x35:
        size = len(session.message_properties)
        size += len(topic.name) + 4 + varint_size(size) + len(payload)
        check_limits(session, first_byte, 1 + size + varint_size(size))
    size = session.outbox.add(topic, payload, first_byte, session.message_properties)
    if size == -1 and session.overflow_policy:
        size = session.overflow_policy.add(topic, payload, first_byte)
    if size == -2:
        size = MAX_HEADER + len(topic.name) + len(session.message_properties) + len(payload)
        reject("size", "outbox", size, session.outbox.arena, 0)
    return size + 1


def check_limits(session, first_byte, size):
    """Check a PUBLISH of `size` bytes. Raises MQTTError above a broker limit, ValueError for a wrong QoS."""
    if not 0x30 <= first_byte < 0x36:
        raise ValueError("qos must be 0, 1 or 2")
    reason = exceeded_limit(session, first_byte, size)
    if reason:
        from ..reason_codes import describe_limit

        raise MQTTError(reason, describe_limit(reason, session.broker_limits))


def exceeded_limit(session, first_byte, size):
    """Return the reason code of the broker's limit that a PUBLISH exceeds, 0 if there is none."""
    first_byte = lower_first_byte(session, first_byte)
    limits = session.broker_limits
    if size > limits[MAXIMUM_PACKET_SIZE]:
        return 0x95  # [MQTT-3.2.2-15]
    if first_byte & 1 and not limits[RETAIN_AVAILABLE]:
        return 0x9A  # [MQTT-3.2.2-14]
    return 0x9B if first_byte >> 1 & 3 > limits[MAXIMUM_QOS] else 0  # [MQTT-3.2.2-11]


def lower_first_byte(session, first_byte):
    """Return the first byte of a PUBLISH, with QoS and RETAIN lowered if `Session.adapts_to_limits`."""
    if session.adapts_to_limits:
        limits = session.broker_limits
        if not limits[RETAIN_AVAILABLE]:
            first_byte &= 0xFE
        if first_byte >> 1 & 3 > limits[MAXIMUM_QOS]:
            first_byte = first_byte & 0xF1 | limits[MAXIMUM_QOS] << 1  # without DUP
    return first_byte


def load_next_message(session):
    """Make the oldest queued message of the outbox the block to write; returns False if there is none."""
    outbox = session.outbox
    while True:
        slot = outbox.oldest(QUEUED)
        if slot < 0 or (
            outbox.suspect_count >= PROBE_BLAME and session.pending_acks + session.pending_subacks
        ):
            return False
        if not session._unchecked_size:
            outbox.first_bytes[slot] = lower_first_byte(session, outbox.first_bytes[slot])
        size = outbox.body_sizes[slot] + (2 if outbox.first_bytes[slot] & 6 else 0)
        size = plan_publish(session, outbox.topics[slot], outbox.property_sizes[slot], size)
        if size <= session._unchecked_size:
            break
        reason = exceeded_limit(session, outbox.first_bytes[slot], size)
        if not reason:
            break
        # the message was accepted before this connection began, and it exceeds a limit of this broker
        outbox.states[slot] = ENDED
        outbox.first_bytes[slot] = reason
        session._has_unreported = True
    session._block = outbox.arena
    session._block_slot = slot
    session._block_end = outbox.body_offsets[slot] + outbox.body_sizes[slot]
    session._block_at = session._block_end - size
    reason = outbox.first_bytes[slot]
    if not reason & 6:  # lowered to QoS 0: no answer will come
        outbox.states[slot] = ENDED
        outbox.first_bytes[slot] = 0  # reason code: Success
        session._has_unreported = True
        write_publish_header(session, session._block, session._block_at, reason)
        return True
    outbox.states[slot] = SENT
    slot += 1
    write_publish_header(session, session._block, session._block_at, reason, slot)
    session._send_quota -= 1
    session.pending_acks += 1
    session.messages_resent = (session.messages_resent + (reason >> 3 & 1)) & TICKS_MASK
    return True


def send_pubrels(session):
    """Write the PUBRELs that are due in a resumed session, whatever the send quota is [MQTT-4.4.0-1]."""
    while session._tx_end + TX_RESERVE <= len(session.tx):
        slot = session.outbox.oldest(RELEASING)
        if slot < 0:
            session._has_pubrels = False
            return
        session.outbox.states[slot] = RELEASED
        session._send_quota -= 1
        session.pending_acks += 1
        session.ack(0x62, slot + 1, 0)


def plan_publish(session, topic, properties, rest):
    """Choose the form of a PUBLISH, with or without topic and alias; returns the size of the packet.

    `properties` is the size of the user's properties. `rest` is the size of everything after the topic,
    except the property length.
    """
    session._planned_topic = topic
    session._planned_name = topic.name
    session._planned_alias = 0
    if topic.generation == session.generation:
        session._planned_alias = topic.alias
        session._planned_name = b""
    # the packet that sets up an alias is three bytes longer
    elif len(topic.name) > 3 and rest + len(topic.name) + 12 <= session.broker_limits[MAXIMUM_PACKET_SIZE]:
        session._planned_alias = _choose_alias(session, topic)
    if session._planned_alias:
        properties += 3
        rest += 3
    rest += 3 if properties < 0x80 else 2 + varint_size(properties)
    rest += len(session._planned_name)
    session._planned_properties = properties
    session._planned_length = rest
    return rest + (2 if rest < 0x80 else 1 + varint_size(rest))


def write_publish_header(session, buf, at, first_byte, packet_id=0):
    """Write the planned PUBLISH up to the topic alias; returns the offset for the user's properties."""
    buf[at] = first_byte
    first_byte = session._planned_length
    at = put_varint(buf, at + 1, first_byte)
    first_byte = len(session._planned_name)
    buf[at] = first_byte >> 8
    buf[at + 1] = first_byte & 0xFF
    first_byte += at + 2
    buf[at + 2 : first_byte] = session._planned_name
    at = first_byte
    if packet_id:
        buf[at] = packet_id >> 8
        buf[at + 1] = packet_id & 0xFF
        at += 2
    at = put_varint(buf, at, session._planned_properties)
    if session._planned_alias:
        buf[at] = 0x23
        at = put_u16(buf, at + 1, session._planned_alias)
        session.bytes_saved -= 3
        if session._planned_name:
            _set_alias(session, session._planned_topic, session._planned_alias)
        else:
            session.bytes_saved += len(session._planned_topic.name)
    session._planned_topic.publish_count += 1
    session.messages_sent = (session.messages_sent + 1) & TICKS_MASK
    return at


def _choose_alias(session, topic):
    """Return an alias for a topic that has none (3.3.2.3.4), 0 if it gets none.

    As long as an alias is free, each new topic gets one. After that the aliases are offered in turn, and a
    topic takes over the offered alias if it was published more often than the topic that has it. So the
    busiest topics get the aliases, and the topics keep their aliases if all topics are equally busy.
    """
    limit = min(len(session._alias_topics), session.broker_limits[TOPIC_ALIAS_MAXIMUM])
    if topic.alias < 0 or not limit:
        return 0
    session._offered_alias = session._offered_alias % limit + 1
    holder = session._alias_topics[session._offered_alias - 1]
    return 0 if holder and holder.publish_count >= topic.publish_count else session._offered_alias


def _set_alias(session, topic, alias):
    """Assign `alias` to this topic. From the next PUBLISH on, the alias replaces the topic name."""
    holder = session._alias_topics[alias - 1]
    if holder:
        holder.generation = 0
    session._alias_topics[alias - 1] = topic
    topic.alias = alias
    topic.generation = session.generation
    put_u16(topic.alias_header, 4, alias)
