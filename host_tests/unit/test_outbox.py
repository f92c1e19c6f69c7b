from umqtt5.encode import PublishHead
from umqtt5.outbox import SENT, Outbox
from umqtt5.topics import Topic


def fresh(size=200, slots=4):
    head = PublishHead(0)
    head.connected(0, 100000)
    return Outbox(size, slots), head


def send(outbox, head):
    """The next packet as it goes out, None where there is none."""
    slot = outbox.next()
    if slot < 0:
        return None
    size = outbox.plan(slot, head)
    at = outbox.put(slot, head, size)
    return bytes(outbox.arena[at : at + size])


def put(outbox, slot, packet_id):
    outbox.ids[slot] = packet_id


def acknowledged(outbox, packet_id):
    """What PUBACK does; False where none was sent with this identifier."""
    slot = outbox.find(packet_id, SENT)
    if slot >= 0:
        outbox.drop(slot)
    return slot >= 0


def test_a_message_comes_out_as_a_publish():
    outbox, head = fresh()
    put(outbox, outbox.add(Topic("a/b"), b"hi", 0x32, b""), 0x0102)
    assert send(outbox, head) == b"\x32\x0a\x00\x03a/b\x01\x02\x00hi"
    assert send(outbox, head) is None


def test_properties_come_before_the_payload():
    outbox, head = fresh()
    put(outbox, outbox.add(Topic("a"), b"hi", 0x33, b"\x01\x01"), 1)
    assert send(outbox, head) == b"\x33\x0a\x00\x01a\x00\x01\x02\x01\x01hi"


def test_full_slots_and_full_arena_are_told_apart_from_what_can_never_fit():
    outbox, head = fresh(size=100, slots=2)
    assert outbox.add(Topic("a"), b"x" * 100, 0x32, b"") == -2
    assert outbox.add(Topic("a"), b"x" * 50, 0x32, b"") >= 0
    assert outbox.add(Topic("a"), b"x" * 50, 0x32, b"") == -1
    assert outbox.add(Topic("a"), b"x", 0x32, b"") >= 0
    assert outbox.add(Topic("a"), b"x", 0x32, b"") == -1
    assert outbox.count == 2


def test_an_unknown_acknowledgement_changes_nothing():
    outbox, head = fresh()
    put(outbox, outbox.add(Topic("a"), b"x", 0x32, b""), 1)
    assert not acknowledged(outbox, 1)  # not sent yet
    send(outbox, head)
    assert not acknowledged(outbox, 2)
    assert acknowledged(outbox, 1)
    assert not acknowledged(outbox, 1)
    assert outbox.count == 0


def test_a_resumed_session_sends_again_with_dup_and_in_order():  # [MQTT-3.3.1-1], [MQTT-4.6.0-1]
    outbox, head = fresh()
    for i in (1, 2, 3):
        put(outbox, outbox.add(Topic("t"), b"%d" % i, 0x32, b""), i)
    send(outbox, head), send(outbox, head)
    acknowledged(outbox, 1)
    outbox.rewind(True)
    assert send(outbox, head) == b"\x3a\x07\x00\x01t\x00\x02\x002"
    assert send(outbox, head) == b"\x32\x07\x00\x01t\x00\x03\x003"  # never sent: no DUP
    assert send(outbox, head) is None


def test_a_lost_session_sends_again_as_new():
    outbox, head = fresh()
    put(outbox, outbox.add(Topic("t"), b"1", 0x32, b""), 1)
    send(outbox, head)
    outbox.rewind(True)
    send(outbox, head)
    outbox.rewind(False)
    assert send(outbox, head) == b"\x32\x07\x00\x01t\x00\x01\x001"


def test_random_steps_against_a_list():
    """The arena against a plain list: the same messages, whole, in order, whatever is acknowledged when."""
    outbox, head = fresh(size=300, slots=6)
    waiting, sent, state, number = [], [], 12345, 0
    topics = [Topic("t"), Topic("a/longer/topic")]
    for _ in range(3000):
        state = (state * 1103515245 + 12345) & 0x7FFFFFF
        what = state >> 8 & 3
        if what < 2:
            number = number % 65535 + 1
            payload = bytes((state >> 10 & 255,)) * (state >> 12 & 127)
            slot = outbox.add(topics[state & 1], payload, 0x32, b"")
            if slot >= 0:
                put(outbox, slot, number)
                waiting.append((number, payload))
        elif what == 2:
            out = send(outbox, head)
            if waiting:
                number_, payload = waiting.pop(0)
                assert out is not None and out.endswith(payload)
                sent.append((number_, payload))
            else:
                assert out is None
        elif sent:
            index = state >> 12 & 1 and len(sent) - 1  # mostly the oldest, sometimes the newest
            assert acknowledged(outbox, sent.pop(index)[0])
        if not state & 127:
            outbox.rewind(True)
            waiting = sent + waiting
            sent = []
    assert len(outbox.arena) == 300
