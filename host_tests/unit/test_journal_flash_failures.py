"""Journal on a flash that is full, read-only or removed: the link stays, `publish` returns 0."""

from power_cycles import DeviceBoot, DeviceHistory
from simulated_flash import SeededRandom, SimulatedFlash

from helper import publish_packet
from umqtt5.core.outbox import QUEUED, RELEASED, SENT
from umqtt5.journal import record_log
from umqtt5.journal.journal_outbox import RELEASE

FOREVER = 1 << 20


def history(**journal):
    """Return a `DeviceHistory` with fixed seeds."""
    hist = DeviceHistory(SeededRandom(1), journal=journal, flash=SimulatedFlash(SeededRandom(1)))
    hist.broker.limits = b"\x03\x21\x00\x0a"
    return hist


def power_cut(hist):
    hist.cut()
    hist.flash.errors = 0
    hist.power_on()


class FullFlash(SimulatedFlash):
    """A flash with room for `room` bytes in all files; bytes of open files are not freed."""

    room = FOREVER

    def raise_pending_error(self):
        if sum([len(self.content(path)) for path in self.files]) > self.room:
            self.failures += 1
            raise OSError(28, "no space left")


def test_a_device_connects_while_flash_fails_from_the_start():
    hist = history()
    hist.flash.errors = FOREVER
    hist.power_on()
    hist.step(20)
    now = hist.now
    assert isinstance(now.journal.error, OSError) and now.client.is_connected
    assert not hist.publish() and not hist.publish()
    assert now.client.publish("up", b"x")  # QoS 0 needs no flash
    hist.step(60000)
    assert now.client.is_connected and now.client.connection_count == 1
    hist.flash.errors = 0
    hist.step(2000)
    assert hist.publish() and hist.publish() and not now.journal.unsynced
    hist.step(50)
    power_cut(hist)
    hist.step(50)
    assert hist.now.client.session.resumed  # the session was stored when the flash worked again


def test_messages_of_the_last_start_are_sent_while_flash_fails():
    hist = history()
    hist.power_on()
    hist.now.broker_listens = False
    assert hist.publish() and hist.publish()
    hist.cut()
    hist.flash.errors = FOREVER
    hist.power_on()
    hist.step(10000)
    assert hist.now.client.connection_count == 1
    assert hist.broker.delivered == {1: [0], 2: [1]} and not hist.now.client.session.outbox.count


def test_the_link_stays_while_flash_fails_and_publish_returns_0():
    for errors in (7, FOREVER):
        hist = history()
        hist.power_on()
        hist.step(50)
        hist.flash.errors = errors
        assert not hist.publish()
        for _ in range(60):
            hist.step(1000)
            assert hist.now.client.is_connected
        assert hist.now.client.connection_count == 1 and isinstance(hist.now.journal.error, OSError)
        hist.flash.errors = 0
        hist.step(1500)
        assert hist.publish() and hist.publish()
        hist.step(50)
        hist.check()
        assert not hist.now.client.session.outbox.count


def test_messages_in_flight_end_although_their_records_cannot_be_written():
    """After some seconds PUBREL is sent without its record, so the broker is not kept waiting."""
    hist = history()
    hist.power_on()
    hist.step(50)
    stream = hist.now.streams[-1]
    stream.is_stalled = True
    hist.publish(), hist.publish()
    hist.flash.errors = FOREVER
    stream.is_stalled = False
    hist.step(3000)
    assert hist.now.client.session.outbox.count == 1  # PUBREL waits
    hist.step(60000)
    assert hist.now.client.session.outbox.count == 0 and hist.now.client.connection_count == 1
    assert hist.broker.delivered == {1: [0], 2: [1]} and not hist.broker.unreleased
    hist.flash.errors = 0
    power_cut(hist)
    hist.step(50)
    hist.step(50)
    assert hist.now.client.session.outbox.count == 0


def test_an_accepted_message_that_is_not_synced_is_sent_after_some_seconds():
    hist = history(sync_every=1000, sync_ms=200)
    hist.power_on()
    hist.step(400)
    assert hist.publish() and hist.publish()
    hist.flash.errors = FOREVER
    hist.step(3000)
    assert hist.broker.delivered == {1: [0], 2: []}
    hist.step(10000)
    assert hist.broker.delivered == {1: [0], 2: [1]} and not hist.now.client.session.outbox.count


def test_a_failed_flash_is_tried_each_second_whatever_sync_ms_is():
    hist = history(sync_ms=60000)
    hist.power_on()
    hist.step(50)
    hist.flash.errors = FOREVER
    assert not hist.publish()
    hist.step(500)
    hist.flash.errors = 0
    hist.step(1000)
    assert not hist.now.journal.unsynced


def test_more_acknowledgements_than_can_wait_are_sent_without_their_records():
    hist = history()
    hist.power_on()
    hist.step(50)
    hist.flash.errors = FOREVER
    for _ in range(30):
        for _ in range(10):
            hist.now.streams[-1].send_to_client(publish_packet(b"down", b"1", 2, 1, flags=8))
        hist.step(5)
    assert hist.now.client.connection_count == 1 and hist.handled == [1]


def test_a_released_message_of_a_lost_session_waits_for_its_record():
    hist = history()
    hist.power_on()
    hist.step(50)
    hist.disconnect_network()
    assert hist.publish() and hist.publish()
    outbox = hist.now.client.session.outbox
    outbox.states[1] = RELEASED
    outbox.record_flags[1] = RELEASE
    hist.flash.errors = FOREVER
    outbox.rewind(False)
    outbox.states[0] = SENT
    assert outbox.states[1] == QUEUED and outbox.oldest(QUEUED) == -1
    hist.flash.errors = 0
    hist.now.journal.sync()
    assert outbox.oldest(QUEUED) == 1


def test_received_messages_are_handled_and_acknowledged_while_flash_fails():
    hist = history()
    hist.power_on()
    hist.step(50)
    hist.flash.errors = FOREVER
    for i in range(40):  # more than the Receive Maximum
        hist.sent += 1
        hist.broker.send(b"%d" % hist.sent, 1 + i % 2, hist.now.streams[-1])
        hist.step(5 if i % 8 else 6000)
    hist.step(20000)
    assert hist.now.client.connection_count == 1 and not hist.broker.pending
    assert sorted(hist.handled) == list(range(1, 41))
    assert not max(hist.now.client.session.received_ids)


def test_a_short_failure_releases_no_packet_before_its_record():
    hist = history()
    hist.power_on()
    hist.step(50)
    hist.flash.errors = 4
    hist.now.streams[-1].send_to_client(publish_packet(b"down", b"1", 2, 1))
    hist.step(50)
    assert b"\x50\x02\x00\x01" not in hist.now.streams[-1].written
    hist.step(4000)
    assert not hist.flash.errors and b"\x50\x02\x00\x01" in hist.now.streams[-1].written


def test_the_wait_for_the_flash_ends_before_a_short_timeout():
    hist = history()
    hist.options = {"timeout": 3000}
    hist.power_on()
    hist.step(50)
    stream = hist.now.streams[-1]
    stream.is_stalled = True
    hist.publish(), hist.publish()
    hist.flash.errors = FOREVER
    stream.is_stalled = False
    hist.step(30000)
    assert hist.now.client.connection_count == 1 and not hist.now.client.session.outbox.count


def test_a_refused_message_takes_no_room_in_the_outbox():
    hist = history()
    hist.power_on()
    hist.step(50)
    hist.disconnect_network()
    assert hist.publish()
    hist.flash.errors = FOREVER
    for _ in range(50):
        assert not hist.publish()
    hist.flash.errors = 0
    assert hist.publish() and hist.publish()  # without a link, so that nothing is freed
    assert not hist.publish()  # the third slot is used


def test_a_full_flash_is_used_again_when_there_is_room():
    flash = FullFlash(SeededRandom(1))
    hist = DeviceHistory(SeededRandom(1), flash=flash)
    hist.power_on()
    hist.step(50)
    flash.room = 700  # less than the two files need in a rotation
    refused = accepted = 0
    for i in range(200):
        if hist.publish():
            accepted += 1
        else:
            refused += 1
        hist.step(1000)
        assert hist.now.client.is_connected
        if i == 100:
            assert refused > 5
            flash.room = FOREVER
    assert hist.now.client.connection_count == 1 and accepted > 90
    hist.check()


def test_removed_flash_is_used_again_when_it_is_back():
    hist = history()
    hist.power_on()
    hist.step(50)
    flash_open = record_log.open
    hist.flash.errors = FOREVER
    record_log.open = no_such_device
    for _ in range(20):
        assert not hist.publish()
        hist.step(1000)
    assert hist.now.client.connection_count == 1
    record_log.open = flash_open
    hist.flash.errors = 0
    hist.step(1500)
    assert hist.publish() and hist.publish()
    hist.step(50)
    hist.check()
    power_cut(hist)
    hist.step(50)
    assert hist.now.client.session.resumed and not hist.now.journal.damaged_bytes


def no_such_device(path, mode):
    raise OSError(19, "no such device")


def test_a_journal_without_heap_for_its_file_refuses_messages():
    hist = history()
    hist.power_on()
    hist.step(50)
    flash_open = record_log.open
    record_log.open = no_heap
    hist.flash.errors = 1
    assert not hist.publish() and not hist.publish()
    assert isinstance(hist.now.journal.error, MemoryError)
    hist.step(5000)
    record_log.open = flash_open
    hist.step(1500)
    assert hist.publish() and hist.now.client.connection_count == 1


def no_heap(path, mode):
    raise MemoryError


def test_a_new_session_that_could_not_be_stored_is_stored_later():
    """A later connection that resumes this session does not begin it again."""
    hist = history()
    hist.power_on()
    hist.step(50)
    hist.broker.lose_session()
    hist.disconnect_network()
    hist.publish()
    hist.flash.errors = FOREVER
    hist.now.broker_listens = True
    for _ in range(20):
        hist.step(50)
    assert hist.now.client.is_connected and not hist.now.client.session.resumed
    hist.now.streams[-1].bytes_left = 0
    hist.now.client.publish("up", b"x")  # the client notices the lost connection
    for _ in range(20):
        hist.step(50)
    assert hist.now.client.session.resumed
    hist.flash.errors = 0
    hist.step(2000)
    hist.cut()
    hist.power_on()
    hist.step(50)
    assert hist.now.client.session.resumed


def test_forty_thousand_failures_do_not_make_the_new_file_look_old():
    flash = SimulatedFlash()
    log = record_log.RecordLog("/log", 300, b"test 1", lambda: None)
    list(log.records())
    log.open_for_append()
    path = list(flash.files)[0]
    old = flash.files[path]
    for _ in range(40000):
        flash.errors = 1
        try:
            log.rotate()
        except OSError:
            pass
    log.begin_record(7, 7, 0)
    log.end_record()
    log.close()
    flash.files[path] = old  # power failed before the old file was removed
    log = record_log.RecordLog("/log", 300, b"test 1", lambda: None)
    assert [record[1] for record in log.records()] == [7]


def test_a_folder_in_place_of_a_file_is_an_error_of_the_flash():
    import os

    SimulatedFlash.restore()
    try:
        os.mkdir("folder")
    except OSError:
        return  # the 32-bit VM has no files
    os.mkdir("folder/j.0"), os.mkdir("folder/j.1")
    for path in ("folder/j", "missing/j"):
        hist = DeviceHistory(SeededRandom(1), flash=SimulatedFlash())
        SimulatedFlash.restore()
        device = DeviceBoot(hist, {"path": path})
        assert isinstance(device.journal.error, OSError) and device.journal.restored_count == 0
        assert device.journal.damaged_bytes == 0
        device.client.poll(50)
        assert device.client.is_connected and not device.client.publish("up", b"1", qos=1)
        assert device.client.publish("up", b"1")
