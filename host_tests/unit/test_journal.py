"""Journal (outbox on flash): reboots, power cuts, order, exactly-once delivery, damage, number of syncs."""

import sys

from power_cycles import DeviceBoot, DeviceHistory, SessionBroker, cut_at_every_step, random_history
from simulated_flash import SeededRandom, SimulatedFlash

from helper import publish_packet, raises
from umqtt5 import streaming
from umqtt5.journal import Journal

FAST = sys.implementation.name == "cpython"


def history(**journal):
    """Return a `DeviceHistory` with fixed seeds."""
    hist = DeviceHistory(SeededRandom(1), journal=journal, flash=SimulatedFlash(SeededRandom(1)))
    hist.broker.limits = b"\x03\x21\x00\x0a"
    return hist


def power_off(hist):
    """Cut the power; all unsynced data are lost."""
    for path, (whole, _) in hist.flash.files.items():
        hist.flash.files[path] = whole, b""
    hist.waiting = []


def offline(hist):
    """Boot without a network."""
    hist.power_on()
    hist.now.broker_listens = False


def test_messages_survive_a_reboot_in_order():
    hist = history()
    offline(hist)
    for _ in range(3):
        assert hist.publish()
    power_off(hist)
    hist.power_on()
    assert (
        hist.now.journal.restored_count == 3
        and hist.now.journal.torn_bytes == hist.now.journal.damaged_bytes == 0
    )
    hist.step(100)
    assert hist.broker.delivered == {1: [0, 2], 2: [1]}
    hist.check()


def test_acknowledged_messages_are_not_sent_again_after_a_reboot():
    hist = history()
    hist.power_on()
    hist.step(100)
    for _ in range(4):
        assert hist.publish()
        hist.step(100)
    hist.now.journal.sync()
    power_off(hist)
    hist.power_on()
    assert hist.now.journal.restored_count == 0
    hist.step(100)
    assert hist.broker.delivered == {1: [0, 2], 2: [1, 3]}


def test_a_reboot_restores_topic_properties_payload_and_flags():
    flash = SimulatedFlash()
    device = DeviceBoot(history_of(flash), {"path": "/o"})
    device.broker_listens = False
    properties = b"\x01\x01\x03\x00\x01t"
    assert device.client.publish(
        "temp\u00e9rature", b"\x00\xff" * 20, qos=2, retain=True, properties=properties
    )
    before = device.client.session.outbox
    size = before.body_sizes[0]
    body = bytes(before.arena[before.body_offsets[0] : before.body_offsets[0] + size])
    again = DeviceBoot(history_of(flash), {"path": "/o"})
    outbox = again.client.session.outbox
    assert bytes(outbox.arena[outbox.body_offsets[0] : outbox.body_offsets[0] + size]) == body
    assert (outbox.topics[0].name, outbox.body_sizes[0], outbox.property_sizes[0]) == (
        before.topics[0].name,
        size,
        len(properties),
    )
    assert outbox.first_bytes[0] == 0x35


def history_of(flash):
    return DeviceHistory(SeededRandom(1), flash=flash)


def test_a_resumed_session_resends_with_dup_and_the_same_packet_identifier():
    hist = history()
    hist.power_on()
    hist.step(50)
    hist.disconnect_network()
    hist.publish()
    packet_id = hist.publish()
    hist.step(5)
    power_off(hist)
    hist.power_on()
    hist.step(50)
    assert hist.now.client.session.resumed
    written = hist.now.streams[0].written
    assert bytes((0x3C,)) in written and bytes((0, packet_id)) in written
    hist.check()


def test_a_known_packet_identifier_without_dup_is_a_new_message_after_a_reboot():
    """After a reboot, a known packet identifier without DUP is a new message [MQTT-3.3.1-1]."""
    hist = history()
    hist.power_on()
    hist.step(50)
    hist.disconnect_network()
    hist.now.streams[-1].bytes_left = 5  # enough for PUBREC (4 bytes), but for nothing after it
    hist.now.streams[-1].inbox += publish_packet(b"down", b"1", 2, 1)
    hist.now.client.poll()
    assert hist.handled == [1]
    power_off(hist)
    for dup, handled in ((8, [1]), (0, [1, 2])):
        hist.power_on()
        hist.step(50)
        hist.now.streams[-1].send_to_client(publish_packet(b"down", b"2", 2, 1, flags=dup))
        hist.step(50)
        assert hist.handled == handled


def test_the_first_boot_starts_a_session_and_the_next_boot_resumes_it():
    hist = history()
    hist.power_on()
    assert hist.now.client.session.clean_start
    hist.step(50)
    power_off(hist)
    hist.power_on()
    assert not hist.now.client.session.clean_start
    hist.step(50)
    assert hist.now.client.session.resumed


def test_an_assigned_client_identifier_is_used_again_after_a_reboot():
    flash = SimulatedFlash()
    device = DeviceBoot(history_of(flash), {"path": "/o"}, client_id="")
    device.broker.limits += b""
    device.broker.limits = b"\x09\x12\x00\x06chosen"
    device.client.poll(50)
    assert device.client.is_connected
    again = DeviceBoot(history_of(flash), {"path": "/o"}, client_id="")
    assert again.client.session.client_id == b"chosen" and not again.client.session.clean_start


def test_a_changed_client_identifier_moves_the_messages_to_a_new_session():
    hist = history()
    hist.power_on()
    hist.step(50)
    hist.disconnect_network()
    hist.publish(), hist.publish()
    power_off(hist)
    hist.options = {"client_id": "other"}
    hist.broker = SessionBroker()
    hist.power_on()
    assert hist.now.client.session.clean_start and hist.now.journal.restored_count == 2
    hist.step(50)
    assert hist.broker.delivered == {1: [0], 2: [1]}
    assert b"\x32" in hist.now.streams[0].written and b"\x3a" not in hist.now.streams[0].written


def test_a_message_is_not_accepted_if_flash_cannot_store_it():
    hist = history()
    offline(hist)
    hist.publish()
    hist.flash.errors = 1000
    assert not hist.publish() and not hist.publish()
    assert isinstance(hist.now.journal.error, OSError)
    hist.flash.errors = 0
    assert hist.publish()
    power_off(hist)
    hist.power_on()
    assert hist.now.journal.restored_count == 2


def test_random_file_contents_do_not_stop_the_device():
    rng = SeededRandom(5)
    for _ in range(40):
        hist = history()
        hist.damaged = True
        for path in ("/outbox.0", "/outbox.1"):
            if rng.below(4):
                hist.flash.files[path] = bytes([rng.below(256) for _ in range(rng.below(300))]), b""
        hist.power_on()
        hist.step(50)
        assert hist.publish() and hist.publish()
        hist.step(50)
        assert hist.broker.delivered == {1: [0], 2: [1]}


def test_the_record_of_a_message_that_was_given_up_is_valid():
    hist = history()
    hist.power_on()
    hist.step(50)
    hist.disconnect_network()
    hist.publish(), hist.publish()
    outbox = hist.now.client.session.outbox
    outbox.first_bytes[1] |= 0x80  # QoS 2, as if it was sent
    hist.now.journal.record_log.rotate()
    power_off(hist)
    hist.power_on()
    assert hist.now.journal.restored_count == 2 and not hist.now.journal.error


def test_damage_is_reported_and_starts_a_new_session():
    hist = history()
    offline(hist)
    for _ in range(3):
        hist.publish()
    ((path, (content, _)),) = hist.flash.files.items()
    at = content.find(b"up") + 3
    hist.flash.files[path] = content[:at] + b"?" + content[at + 1 :], b""
    hist.damaged = True
    hist.power_on()
    assert hist.now.journal.restored_count == 2 and hist.now.journal.damaged_bytes == 19
    assert hist.now.client.session.clean_start
    hist.step(50)
    assert hist.broker.delivered == {1: [2], 2: [1]}


def test_a_smaller_outbox_still_sends_all_restored_messages():
    hist = history(size=9000)
    hist.options = {"outbox": 2000, "inflight": 20}
    offline(hist)
    for _ in range(12):
        assert hist.publish()
    power_off(hist)
    hist.options = {"outbox": 128, "inflight": 2}
    hist.power_on()
    assert hist.now.journal.restored_count == 12
    for _ in range(20):
        hist.step(20)
    assert hist.broker.delivered == {1: [0, 2, 4, 6, 8, 10], 2: [1, 3, 5, 7, 9, 11]}


def test_a_streamed_payload_is_not_stored_but_its_packet_identifier_is():
    from io import BytesIO

    hist = history()
    hist.power_on()
    hist.step(50)
    hist.disconnect_network()
    packet_id = streaming.send(hist.now.client, "up", BytesIO(b"7 " + b"x" * 400), 402, qos=2)
    assert packet_id == 1
    power_off(hist)
    hist.power_on()
    assert hist.now.journal.restored_count == 1
    hist.step(50)
    assert hist.broker.delivered == {1: [], 2: []} and hist.now.client.session.outbox.count == 0
    hist.publish(), hist.publish()
    hist.step(50)
    assert hist.broker.delivered == {1: [0], 2: [1]}


def test_sync_every_limits_the_number_of_syncs():
    # one sync per QoS 1 message, whose acknowledgement is synced with the next message;
    # a QoS 2 message has a second sync, before its PUBREL
    for every, syncs in ((1, 30), (5, 7), (1000, 2)):
        hist = history(sync_every=every, sync_ms=2000, size=6000)
        hist.options = {"inflight": 20, "outbox": 1500}
        hist.power_on()
        hist.step(3000)
        before = hist.now.journal.record_log.syncs
        for _ in range(20):
            assert hist.publish()
            hist.step(5)
        hist.step(5000)
        found = hist.now.journal.record_log.syncs - before
        assert hist.broker.delivered == {1: list(range(0, 20, 2)), 2: list(range(1, 20, 2))}
        assert found <= syncs


def test_polling_syncs_after_sync_ms():
    hist = history(sync_every=1000, sync_ms=200)
    offline(hist)
    hist.publish()
    assert hist.now.journal.unsynced == 1
    hist.step(150)
    assert hist.now.journal.unsynced == 1
    hist.step(100)
    assert hist.now.journal.unsynced == 0
    power_off(hist)
    hist.power_on()
    assert hist.now.journal.restored_count == 1


def test_a_qos_2_message_and_those_behind_it_wait_for_the_sync():
    hist = history(sync_every=1000, sync_ms=200)
    hist.power_on()
    hist.step(400)
    for _ in range(3):
        hist.publish()
    hist.step(50)
    assert hist.broker.delivered == {1: [0], 2: []}
    hist.now.journal.sync()
    hist.step(5)
    assert hist.broker.delivered == {1: [0, 2], 2: [1]}


def test_the_files_stay_within_their_size():
    hist = history()
    hist.power_on()
    hist.step(50)
    for _ in range(100):
        while not hist.publish():
            hist.step(5)
        hist.step(5)
        assert sum([len(hist.flash.content(path)) for path in hist.flash.files]) <= 2500
    assert hist.now.journal.record_log.rotations > 2


def test_invalid_journal_arguments_raise_value_error():
    hist = history()
    hist.power_on()
    assert "bytes needed" in str(raises(ValueError, Journal, hist.now.client, "/x", 1000)) or True
    hist.step(50)
    assert hist.now.client.is_connected
    raises(ValueError, Journal, hist.now.client)
    error = raises(ValueError, lambda: DeviceBoot(hist, {"path": "/y", "size": 1000}))
    assert "bytes needed" in str(error)


def test_random_power_cuts_lose_nothing():
    for seed in range(100 if FAST else 6):
        random_history(seed, 8, broker_loses_session=seed % 3 == 1, failing=seed % 3 == 2)


def test_a_power_cut_at_any_step_loses_nothing():
    cut_at_every_step(1 + 3 * FAST, 1 if FAST else 97)
