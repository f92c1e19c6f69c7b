"""`Framer`: finds packets in received bytes, with a buffer of fixed size."""

from helper import make_packet
from umqtt5.core.framer import Framer


def feed(framer, data, most):
    """Feed `data` in chunks; returns the packets found, or the reason code of an error."""
    found = []
    while data:
        n = min(most, framer.max_read, len(data))
        assert n > 0
        framer.read_buffer[:n] = data[:n]
        data = data[n:]
        framer.commit(n)
        while True:
            there = framer.next_packet()
            if there > 1:
                return there
            if not there:
                break
            found.append(bytes((framer.first_byte,)) + bytes(framer.rx[framer.at : framer.end]))
        framer.prepare_read()
    return found


def test_packets_are_found_in_chunks_of_any_size():
    bodies = [b"", b"a", b"b" * 50, b"c" * 126, b"", b"d" * 125, b"e" * 3, b"f" * 60]
    stream = b"".join([make_packet(0x30, body) for body in bodies])
    for most in (1, 2, 3, 5, 7, 63, 64, 65, 100, 128, 1000):
        framer = Framer(128)
        assert feed(framer, stream * 3, most) == [b"\x30" + body for body in bodies] * 3, most


def test_many_packets_are_read_with_few_reads():
    """A read is a system call, so a read should fill the buffer."""
    framer = Framer(1024)
    stream = make_packet(0x30, b"x" * 65) * 150
    reads = left = 0
    while left < len(stream):
        n = min(framer.max_read, len(stream) - left)
        framer.read_buffer[:n] = stream[left : left + n]
        left += n
        reads += 1
        framer.commit(n)
        while framer.next_packet():
            pass
        framer.prepare_read()
    assert reads <= 2 * (1 + len(stream) // 1024), reads


def test_a_packet_as_large_as_the_buffer_is_accepted():
    framer = Framer(256)
    largest = make_packet(0x30, b"x" * 253)
    assert len(largest) == 256
    for most in (1, 17, 256):
        assert feed(framer, b"\xd0\x00" + largest + largest, most) == [b"\xd0"] + [b"\x30" + b"x" * 253] * 2


def test_a_packet_larger_than_the_buffer_is_refused_at_its_length():
    framer = Framer(128)
    assert feed(framer, b"\x30\xff\x7f", 100) == 0x95
    framer = Framer(128)
    assert feed(framer, make_packet(0x30, b"x" * 126) + make_packet(0x30, b"x" * 127), 100) == 0x95


def test_a_malformed_length_ends_with_0x81():  # [MQTT-1.5.5-1]
    for data in (b"\x30\xff\xff\xff\xff", b"\x30\x80\x00"):
        for most in (1, 10):
            assert feed(Framer(128), data, most) == 0x81


def test_reset_discards_a_partial_packet():
    framer = Framer(64)
    assert feed(framer, b"\x30\x05ab", 10) == []
    framer.reset()
    assert feed(framer, b"\xd0\x00", 10) == [b"\xd0"]


def test_the_buffer_does_not_grow():
    framer = Framer(64)
    feed(framer, make_packet(0x30, b"x" * 40) * 20, 50)
    assert len(framer.rx) == 64
