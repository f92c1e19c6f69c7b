"""Recovery of a journal from hostile files: linear in their size, bounded in memory, without exceptions."""

import sys

from forged_log import garbage, log_file, message, record, u16
from power_cycles import DeviceBoot, DeviceHistory
from simulated_flash import SeededRandom, SimulatedFlash

from umqtt5.journal import Journal
from umqtt5.journal.record_log import RecordLog

FAST = sys.implementation.name == "cpython"
PATH = "/outbox.0"
LIMIT = 64  # maximum number of messages for an outbox of 3 slots


def history(content, other=None, size=2500, **options):
    """Return a `DeviceHistory` whose flash has one or two files; `size` is the size of the journal."""
    journal = {"size": size}
    hist = DeviceHistory(SeededRandom(1), journal=journal, flash=SimulatedFlash(SeededRandom(1)))
    hist.broker.limits = b"\x03\x21\x00\x0a"
    hist.damaged = True
    hist.options = options
    hist.flash.files[PATH] = content, b""
    if other is not None:
        hist.flash.files["/outbox.1"] = other, b""
    return hist


def restored(records, session=b"c", **options):
    """Boot with a log of these records; check that the device works, and return its history.

    `session` is the client identifier in the log.
    """
    hist = history(log_file(records, session), **options)
    check_device(hist)
    return hist


def check_device(hist):
    """Check that a device with these files starts, sends its messages, and starts again."""
    hist.power_on()
    journal = hist.now.journal
    assert (journal.damaged_bytes == 0) == (journal.error is None), journal.error
    assert len(journal.outbox.states) <= LIMIT and len(journal.outbox.arena) <= hist.journal["size"] // 2
    assert len(journal._received_ids) <= 4 * LIMIT
    hist.restored = [topic.name for topic in journal.outbox.topics if topic]
    hist.step(50)
    hist.step(50)
    assert hist.now.client.is_connected and hist.now.client.connection_count == 1, hist.now.client.error
    hist.next = 900
    assert hist.publish() and hist.publish()
    for _ in range(20):
        hist.step(50)
    outbox = hist.now.client.session.outbox
    assert not outbox.count and hist.now.client.connection_count == 1
    hist.cut()
    hist.first = journal
    hist.power_on()
    assert not hist.now.journal.damaged_bytes and not hist.now.journal.error


# ---- the work is linear


def count_work(content):
    """Return (bytes read, number of reads, bytes added to a checksum, records) of a scan of this file."""
    flash = SimulatedFlash()
    flash.files["/log.0"] = content, b""
    log = RecordLog("/log", 1 << 20, b"umqtt5 outbox 1", print)
    work = [0, 0, 0]
    opened = flash.open

    def open_counted(path, mode):
        file = opened(path, mode)
        readinto = file.readinto

        def counted(buf, n):
            work[0] += n
            work[1] += 1
            return readinto(buf, n)

        file.readinto = counted
        return file

    from umqtt5.journal import record_log

    record_log.open = open_counted
    add = log._add_to_checksum

    def add_counted(buf, at, end):
        work[2] += end - at
        add(buf, at, end)

    log._add_to_checksum = add_counted
    found = [entry[1] for entry in log.records()]
    flash.install()
    return work, found


def test_the_work_is_linear_in_the_size_of_the_garbage():
    """The bytes read, the reads and the additions per byte of garbage have a bound for every size.

    Without the search, they were up to 16,000 per byte at 64 KB.
    """
    head = log_file([])
    rng = SeededRandom(7)
    sizes = (16384, 32768, 65536, 131072) if FAST else (4096, 8192)
    for name in garbage(rng, 100):
        per_byte = []
        for size in sizes:
            content = head + garbage(rng, size)[name]
            content += record(len(content), 0x40, 7)
            (read, reads, added), found = count_work(content)
            assert found[-1:] == [7], name  # the record after the garbage
            per_byte.append((read / size, reads / size, added / size))
        for i in range(3):
            # two scans read the file; each reads a byte twice, and less than two blocks for each record
            assert max([work[i] for work in per_byte]) <= (145, 3.1, 2.1)[i], (name, per_byte)


def test_garbage_between_valid_records_is_read_in_linear_time():
    """After each valid record follows a header that claims the rest of the file."""
    per_byte = []
    for count in (50, 100, 200, 400) if FAST else (30, 60):
        content = log_file([])
        for i in range(count):
            content += record(len(content), 0x40, i)
            rest = (count - i - 1) * 26
            content += b"\x32\x00\x01\x00" + u16(rest) + b"abcdefghij"
        (read, reads, added), found = count_work(content)
        assert [number for number in found if number < count][-count:] == list(range(count))
        per_byte.append((read / len(content), reads / len(content), added / len(content)))
    for i in range(3):
        assert per_byte[-1][i] <= per_byte[0][i] * 1.1 + 0.01, per_byte


def test_every_record_between_garbage_is_found():
    rng = SeededRandom(11)
    for round_ in range(200 if FAST else 20):
        content = log_file([])
        numbers = []
        for i in range(1 + rng.below(8)):
            content += bytes([rng.below(256) if round_ % 2 else 0 for _ in range(rng.below(150))])
            content += record(len(content), 0x50, i + 1, bytes(rng.below(200)))
            numbers.append(i + 1)
        content += bytes([rng.below(256) for _ in range(rng.below(80))])
        assert [n for n in count_work(content)[1] if n] == numbers, round_


def test_a_search_without_heap_counts_the_rest_as_damaged():
    from umqtt5.optional import record_reader

    begin_search = record_reader.begin_search

    def no_heap(log, at, size):
        raise MemoryError

    record_reader.begin_search = no_heap
    try:
        content = log_file([(0x32, 0, message())])
        hist = history(content + b"?" * 50 + record(len(content) + 50, 0x40, 0))
        hist.power_on()
        assert hist.now.journal.restored_count == 1 and hist.now.journal.damaged_bytes == 60
    finally:
        record_reader.begin_search = begin_search


def test_a_large_file_of_garbage_is_replaced():
    for name, content in garbage(SeededRandom(3), 65536 if FAST else 6000).items():
        hist = history(log_file([(0x32, 0, message())]) + content, content)
        check_device(hist)
        assert hist.first.restored_count == 1, name
        assert hist.first.torn_bytes + hist.first.damaged_bytes >= len(content), name


# ---- records that the journal does not write

BAD_MESSAGES = (
    b"",
    b"\x00",
    b"\x00\x02\x00\x00",
    message(topic_size=65535),
    message(topic_size=4),
    message(properties_size=2),
    message(properties_size=0xFFFFFF),
    message(topic=b""),
    message(topic=b"a/#"),
    message(topic=b"a/+/b"),
    message(topic=b"a\x00b"),
    message(topic=b"\xff\xfe"),
    message(topic=b"\xed\xa0\x80"),
    message(properties=b"\x23\x00\x01"),  # Topic Alias, which the session adds
    message(properties=b"\x0b\x01"),  # Subscription Identifier
    message(properties=b"\x11\x00\x00\x00\x01"),  # Session Expiry Interval
    message(properties=b"\x15\x00\x01a"),
    message(properties=b"\x18\x00\x00\x00\x01"),  # Will Delay Interval
    message(properties=b"\x01\x01\x01\x01"),  # twice
    message(properties=b"\x01\x02"),  # not a flag
    message(properties=b"\x02\x00\x00"),  # incomplete
    message(properties=b"\x03\x00\x09a"),  # longer than the block
    message(properties=b"\x03\x00\x01\xff"),  # not UTF-8
    message(properties=b"\x08\x00\x03a/#"),  # Response Topic with a wildcard
    message(properties=b"\x08\x00\x01+"),
    message(properties=b"\x26\x00\x01a\x00\x05b"),
    message(properties=b"\x7f"),
    message(properties=b"\xff\xff"),
)


def test_messages_that_a_broker_would_refuse_are_dropped_and_counted():
    for body in BAD_MESSAGES:
        for kind in (0x32, 0x34):
            hist = restored([(kind, 0, message(b"good")), (kind, 1, body), (0x32, 2, message(b"also"))])
            assert hist.restored == [b"good", b"also"], body
            assert hist.first.damaged_bytes == len(body) + 10, body
            assert "damaged" in str(hist.first.error) and isinstance(hist.first.error, ValueError)


def test_valid_messages_are_not_dropped():
    properties = b"\x01\x01\x02\x00\x00\x00\x09\x03\x00\x01t\x08\x00\x03a/b\x09\x00\x02\xff\x00"
    properties += b"\x26\x00\x01a\x00\x01b\x26\x00\x01a\x00\x01b"
    for kind in (0x32, 0x33, 0x34, 0x35):
        hist = restored(
            [(kind, 0, message(b"\xc3\xa9/$", b"1 ", properties)), (kind, 2, message(payload=b""))]
        )
        assert hist.first.restored_count == 2 and not hist.first.error, kind


def test_unknown_kinds_and_first_bytes_are_counted():
    good = (0x32, 0, message())
    for kind in range(1, 255):
        if kind in (0x10, 0x32, 0x33, 0x34, 0x35, 0x40, 0x50, 0x62, 0x70):
            continue
        hist = restored([good, (kind, 1, message(b"forged"))])
        assert hist.restored == [b"up"] and hist.first.damaged_bytes == 22, kind
    for kind in (0x40, 0x50, 0x62, 0x70):  # these have no body
        hist = restored([good, (kind, 0, b"body")])
        assert hist.first.restored_count == 1 and hist.first.damaged_bytes == 14, kind


def test_the_header_of_a_file_is_not_valid_elsewhere():
    hist = restored([(0x32, 0, message()), (0, 7, b""), (0x32, 1, message(b"also"))])
    assert hist.restored == [b"up", b"also"] and hist.first.damaged_bytes == 10


def test_slots_beyond_the_limit_are_renumbered_in_a_new_session():
    for number in (LIMIT, 1000, 0x7FFF, 0x8000, 65534):
        hist = restored([(0x32, number, message(b"one")), (0x34, 1, message(b"two")), (0x62, 1, b"")])
        assert hist.restored == [b"one", b"two"] and not hist.first.error, number
        assert hist.broker.delivered == {1: [1, 900], 2: [1, 901]}
    for kind in (0x32, 0x62, 0x40):  # its packet identifier would be 65536
        hist = restored([(kind, 65535, message() if kind == 0x32 else b"")])
        assert hist.first.restored_count == 0 and hist.first.damaged_bytes


def test_the_number_of_messages_is_bounded():
    count = 3000 if FAST else 200
    hist = restored([(0x32, i, message(payload=b"%d" % i)) for i in range(count)], size=6000)
    assert hist.first.restored_count == LIMIT and hist.first.damaged_bytes > (count - LIMIT) * 15
    assert hist.broker.delivered[1][:-1] == list(range(LIMIT))
    hist = restored([(0x62, i, b"") for i in range(count)])
    assert hist.first.damaged_bytes == (count - LIMIT) * 10
    assert not hist.broker.delivered[2][:-1]
    hist = restored([(0x62, 7, b"") for i in range(count)])  # one slot, repeated
    assert hist.first.damaged_bytes == 0


def test_the_bytes_of_messages_are_bounded():
    """The messages of the log take at most half of the size of the journal."""
    hist = restored([(0x32, i, message(payload=b"%d " % i + b"x" * 200)) for i in range(20)])
    assert 3 < hist.first.restored_count < 7
    assert hist.broker.delivered[1] == list(range(hist.first.restored_count)) + [900]
    hist = restored([(0x32, 0, message(payload=bytes(30000))), (0x32, 1, message(payload=b"1"))])
    assert hist.broker.delivered[1] == [1, 900]


def test_messages_are_restored_without_heap_for_a_larger_outbox():
    from umqtt5.optional import journal_recovery

    outbox = journal_recovery.JournalOutbox

    def small_heap(journal, old, size, slots):
        if size > len(old.arena) or slots > len(old.states):
            raise MemoryError
        return outbox(journal, old, size, slots)

    journal_recovery.JournalOutbox = small_heap
    try:
        hist = restored([(0x32, i, message(payload=b"%d " % i + b"x" * 90)) for i in range(5)], inflight=3)
        assert hist.broker.delivered[1] == [0, 1, 900]
        hist = restored([(0x32, i, message(payload=b"%d" % i)) for i in range(9, 1, -1)])
        assert hist.broker.delivered[1] == [9, 8, 7, 900]
    finally:
        journal_recovery.JournalOutbox = outbox


def test_the_number_of_received_identifiers_is_bounded():
    count = 5000 if FAST else 300
    hist = restored([(0x50, i + 1, b"") for i in range(count)])
    assert hist.first.damaged_bytes == (count - 4 * LIMIT) * 10
    hist = history(log_file([(0x50, 65535, b"")]))
    hist.power_on()
    assert max(hist.now.journal._received_ids) == 65535 and not hist.now.journal.error
    hist = restored([(0x50, 0, b""), (0x70, 0, b"")])
    assert hist.first.damaged_bytes == 10


def test_a_pubrel_of_a_message_of_qos_1_is_not_valid():
    hist = restored([(0x32, 0, message()), (0x62, 0, b"")])
    assert hist.broker.delivered[1] == [1, 900] and hist.first.damaged_bytes == 10


def test_client_identifiers_of_any_size_and_content_are_no_error():
    for client_id in (b"", b"other", b"x" * 65535, b"x" * 100000, b"\xff", b"a\x00"):
        hist = restored([(0x34, 0, message()), (0x50, 3, b"")], client_id)
        assert hist.broker.delivered[2] == [1, 901] and not hist.first._old_ids
        hist = restored([(0x34, 0, message())], client_id, client_id="")
        assert len(hist.now.client.session.client_id) < 100
        assert b"\x00" not in hist.now.client.session.client_id


def test_a_dropped_message_ends_the_session_of_its_packet_identifier():
    """Otherwise the broker would take a new message with this identifier for the dropped one."""
    hist = history(log_file([(0x34, 0, message(properties=b"\x7f"))]))
    hist.broker.has_session = True
    hist.power_on()
    assert hist.now.client.session.clean_start
    hist.step(50)
    for _ in range(4):
        hist.publish()
        hist.step(50)
    assert len(hist.broker.delivered[2]) == 2


def test_a_journal_smaller_than_its_log_keeps_what_fits():
    flash = SimulatedFlash()
    hist = DeviceHistory(SeededRandom(1), flash=flash, journal={"size": 60000})
    hist.options = {"outbox": 20000, "inflight": 200}
    hist.power_on()
    hist.now.broker_listens = False
    for i in range(100):
        assert hist.now.client.publish("up", b"%d " % i + b"x" * 60, qos=1)
    hist.cut()
    hist.options = {"outbox": 256, "inflight": 3}
    hist.journal["size"] = 2500
    hist.damaged = True
    check_device(hist)
    assert hist.first.restored_count > 10
    assert hist.broker.delivered[1][:-1] == list(range(hist.first.restored_count))


# ---- random changes


def mutated(rng, content):
    """Return `content` with a few random changes."""
    content = bytearray(content)
    for _ in range(1 + rng.below(4)):
        at = rng.below(len(content))
        kind = rng.below(6)
        if kind == 0:
            content[at] ^= 1 << rng.below(8)
        elif kind == 1:
            content[at] = (0, 255, 0x32, 0x7F)[rng.below(4)]
        elif kind == 2:
            content = content[:at] + content[at + rng.below(40) :]
        elif kind == 3:
            content = content[:at] + bytes([rng.below(256) for _ in range(rng.below(40))]) + content[at:]
        elif kind == 4:
            content = content[:at] + content[rng.below(len(content)) :]
        else:
            content = content[:at] + bytearray(rng.below(64)) + content[at + rng.below(64) :]
        content = content or bytearray(b"?")
    return bytes(content)


def random_records(rng):
    """Return records with valid checksums and random kinds, numbers and bodies."""
    records = []
    for _ in range(rng.below(12)):
        kind = (0x32, 0x34, 0x33, 0x35, 0x40, 0x50, 0x62, 0x70, 0x10, rng.below(256))[rng.below(10)]
        number = (rng.below(4), rng.below(4), rng.below(65536), 0, 65535, LIMIT)[rng.below(6)]
        body = b""
        if kind >> 4 == 3 or not rng.below(8):
            properties = bytes([rng.below(64) for _ in range(rng.below(6))]) if not rng.below(3) else b""
            body = message(payload=b"%d " % rng.below(90), properties=properties)
            if not rng.below(3):
                body = mutated(rng, body)
        elif kind == 0x10:
            body = (b"c", b"", b"other", bytes([rng.below(256) for _ in range(rng.below(30))]))[rng.below(4)]
        records.append((kind, number, body))
    return records


def test_mutated_and_forged_logs_raise_nothing():
    rng = SeededRandom(20)
    for round_ in range(600 if FAST else 60):
        content = log_file(random_records(rng), (None, b"c", b"", b"d")[rng.below(4)])
        other = None
        if round_ % 3 == 0:
            content = mutated(rng, content)
        if round_ % 5 == 0:
            other = log_file(random_records(rng), b"c", (0, 2, 65535)[rng.below(3)])
        hist = history(content, other)
        hist.broker.has_session = bool(rng.below(2))
        try:
            check_device(hist)
        except Exception:
            print("round", round_, content)
            raise


def test_the_journal_of_a_client_with_the_smallest_buffers_recovers():
    records = [(0x32, 0, message(payload=b"1 " + b"x" * 400)), (0x50, 9, b"")]
    hist = history(log_file(records))
    device = DeviceBoot(hist, {"size": 1800}, outbox=64, inflight=1)
    assert isinstance(device.journal, Journal) and device.journal.restored_count == 1
    device.client.poll(50)
    assert device.client.is_connected and hist.broker.delivered[1] == [1]
