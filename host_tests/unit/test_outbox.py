"""`Outbox`: records of QoS 1 and 2 messages in a fixed arena, resending, acknowledgement in any order."""

from umqtt5.core.outbox import ENDED, QUEUED, RELEASED, RELEASING, SENT, Outbox
from umqtt5.core.topics import Topic


def send(outbox):
    """Return the body of the next queued message, or None if there is none."""
    slot = outbox.oldest(QUEUED)
    if slot < 0:
        return None
    outbox.states[slot] = SENT
    at = outbox.body_offsets[slot]
    return bytes(outbox.arena[at : at + outbox.body_sizes[slot]])


def put(outbox, payload, topic=None, properties=b""):
    return outbox.add(topic or Topic("t"), payload, 0x32, properties)


def test_a_record_has_properties_and_payload_and_room_for_the_header():
    outbox = Outbox(100, 2)
    slot = put(outbox, b"hi", Topic("a/b"), b"\x01\x01")
    assert outbox.body_offsets[slot] >= 14 + len("a/b")
    assert outbox.property_sizes[slot] == 2
    assert send(outbox) == b"\x01\x01hi"
    assert send(outbox) is None


def test_add_returns_minus_1_if_full_and_minus_2_if_too_large():
    outbox = Outbox(100, 2)
    assert put(outbox, b"x" * 100) == -2
    assert put(outbox, b"x" * 50) >= 0
    assert put(outbox, b"x" * 50) == -1
    assert put(outbox, b"x") >= 0
    assert put(outbox, b"x") == -1
    assert outbox.count == 2


def test_a_resumed_session_resends_in_order_with_dup():  # [MQTT-3.3.1-1], [MQTT-4.6.0-1]
    outbox = Outbox(200, 4)
    slots = [put(outbox, b"%d" % i) for i in (1, 2, 3)]
    send(outbox), send(outbox)
    outbox.free(slots[0])
    outbox.rewind(True)
    assert outbox.first_bytes[slots[1]] == 0x3A
    assert outbox.first_bytes[slots[2]] == 0x32  # never sent, so no DUP
    assert send(outbox) == b"2" and send(outbox) == b"3" and send(outbox) is None


def test_a_new_session_resends_without_dup():
    outbox = Outbox(200, 4)
    slot = put(outbox, b"1")
    send(outbox)
    outbox.rewind(True)
    send(outbox)
    outbox.rewind(False)
    assert outbox.first_bytes[slot] == 0x32 and send(outbox) == b"1"


def test_a_released_message_is_released_again_or_ended():
    for resumed, state in ((True, RELEASING), (False, ENDED)):
        outbox = Outbox(200, 4)
        slot = put(outbox, b"1")
        outbox.states[slot] = RELEASED
        outbox.rewind(resumed)
        assert outbox.oldest(state) == slot and send(outbox) is None


def test_random_operations_agree_with_a_list():
    """The arena holds the same messages in the same order as a plain list."""
    outbox = Outbox(300, 6)
    waiting, sent, state = [], [], 12345
    topics = [Topic("t"), Topic("a/longer/topic")]
    for _ in range(3000):
        state = (state * 1103515245 + 12345) & 0x7FFFFFF
        what = state >> 8 & 3
        if what < 2:
            payload = bytes((state >> 10 & 255,)) * (state >> 12 & 127)
            slot = put(outbox, payload, topics[state & 1])
            if slot >= 0:
                waiting.append((slot, payload))
        elif what == 2:
            out = send(outbox)
            if waiting:
                assert out == waiting[0][1]
                sent.append(waiting.pop(0))
            else:
                assert out is None
        elif sent:
            index = state >> 12 & 1 and len(sent) - 1  # the oldest or the newest
            outbox.free(sent.pop(index)[0])
        if not state & 127:
            outbox.rewind(True)
            waiting = sent + waiting
            sent = []
    assert len(outbox.arena) == 300
