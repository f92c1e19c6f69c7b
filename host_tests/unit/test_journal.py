"""The outbox on flash, as its user sees it: what is there after a reboot, and what it costs."""

import sys

from power_cycles import Boot, Broker, History, exhaust, random_history
from simulated_flash import Dice, Flash

from helper import message, raises
from umqtt5 import streaming
from umqtt5.journal import Journal

FAST = sys.implementation.name == "cpython"


def history(**journal):
    """A device of which nothing is left to chance."""
    one = History(Dice(1), journal=journal, flash=Flash(Dice(1)))
    one.broker.limits = b"\x03\x21\x00\x0a"
    return one


def off(one):
    """The power goes, and what was not synced is lost."""
    for path, (whole, _) in one.flash.files.items():
        one.flash.files[path] = whole, b""
    one.waiting = []


def offline(one):
    """A boot without a link."""
    one.boot()
    one.now.there = False


def test_messages_outlive_a_reboot_in_order():
    one = history()
    offline(one)
    for _ in range(3):
        assert one.publish()
    off(one)
    one.boot()
    assert one.now.journal.restored == 3 and one.now.journal.torn == one.now.journal.damaged == 0
    one.step(100)
    assert one.broker.got == {1: [0, 2], 2: [1]}
    one.judge()


def test_what_has_ended_is_not_sent_again():
    one = history()
    one.boot()
    one.step(100)
    for _ in range(4):
        assert one.publish()
        one.step(100)
    one.now.journal.sync()
    off(one)
    one.boot()
    assert one.now.journal.restored == 0
    one.step(100)
    assert one.broker.got == {1: [0, 2], 2: [1, 3]}


def test_topic_properties_payload_and_flags_are_the_same_again():
    flash = Flash()
    device = Boot(history_of(flash), {"path": "/o"})
    device.there = False
    properties = b"\x01\x01\x03\x00\x01t"
    assert device.client.publish(
        "temp\u00e9rature", b"\x00\xff" * 20, qos=2, retain=True, properties=properties
    )
    before = device.client.session.outbox
    size = before.sizes[0]
    body = bytes(before.arena[before.bodies[0] : before.bodies[0] + size])
    again = Boot(history_of(flash), {"path": "/o"})
    outbox = again.client.session.outbox
    assert bytes(outbox.arena[outbox.bodies[0] : outbox.bodies[0] + size]) == body
    assert (outbox.topics[0].name, outbox.sizes[0], outbox.properties[0]) == (
        before.topics[0].name,
        size,
        len(properties),
    )
    assert outbox.first_bytes[0] == 0x35


def history_of(flash):
    return History(Dice(1), flash=flash)


def test_a_resumed_session_gets_dup_and_the_same_packet_identifier():
    one = history()
    one.boot()
    one.step(50)
    one.deaf()
    one.publish()
    packet_id = one.publish()
    one.step(5)
    off(one)
    one.boot()
    one.step(50)
    assert one.now.client.session.resumed
    written = one.now.streams[0].written
    assert bytes((0x3C,)) in written and bytes((0, packet_id)) in written
    one.judge()


def test_a_new_session_that_a_cut_has_hidden():
    """An identifier of the old session comes without DUP: that is a new message [MQTT-3.3.1-1]."""
    one = history()
    one.boot()
    one.step(50)
    one.deaf()
    one.now.streams[-1].left = 5  # PUBREC does not pass
    one.now.streams[-1].inbox += message(b"down", b"1", 2, 1)
    one.now.client.poll()
    assert one.handled == [1]
    off(one)
    for dup, handled in ((8, [1]), (0, [1, 2])):
        one.boot()
        one.step(50)
        one.now.streams[-1].give(message(b"down", b"2", 2, 1, flags=dup))
        one.step(50)
        assert one.handled == handled


def test_the_first_boot_begins_a_session_and_the_next_goes_on_with_it():
    one = history()
    one.boot()
    assert one.now.client.session.clean_start
    one.step(50)
    off(one)
    one.boot()
    assert not one.now.client.session.clean_start
    one.step(50)
    assert one.now.client.session.resumed


def test_a_broker_that_assigns_the_client_identifier_is_told_it_again():
    flash = Flash()
    device = Boot(history_of(flash), {"path": "/o"}, client_id="")
    device.broker.limits += b""
    device.broker.limits = b"\x09\x12\x00\x06chosen"
    device.client.poll(50)
    assert device.client.connected
    again = Boot(history_of(flash), {"path": "/o"}, client_id="")
    assert again.client.session.client_id == b"chosen" and not again.client.session.clean_start


def test_another_client_identifier_takes_the_messages_into_a_new_session():
    one = history()
    one.boot()
    one.step(50)
    one.deaf()
    one.publish(), one.publish()
    off(one)
    one.options = {"client_id": "other"}
    one.broker = Broker()
    one.boot()
    assert one.now.client.session.clean_start and one.now.journal.restored == 2
    one.step(50)
    assert one.broker.got == {1: [0], 2: [1]}
    assert b"\x32" in one.now.streams[0].written and b"\x3a" not in one.now.streams[0].written


def test_a_message_that_flash_does_not_take_is_not_accepted():
    one = history()
    offline(one)
    one.publish()
    one.flash.errors = 1000
    assert not one.publish() and not one.publish()
    assert isinstance(one.now.journal.error, OSError)
    one.flash.errors = 0
    assert one.publish()
    off(one)
    one.boot()
    assert one.now.journal.restored == 2


def test_flash_that_cant_be_written_stops_no_device():
    one = history()
    one.flash.errors = 1000
    one.boot()
    one.step(20)
    assert isinstance(one.now.journal.error, OSError)
    assert not one.now.client.connected  # it tries again
    one.flash.errors = 0
    one.step(5000)
    assert one.now.client.connected and one.publish()


def test_anything_in_the_files_stops_no_device():
    dice = Dice(5)
    for _ in range(40):
        one = history()
        one.damaged = True
        for path in ("/outbox.0", "/outbox.1"):
            if dice.below(4):
                one.flash.files[path] = bytes([dice.below(256) for _ in range(dice.below(300))]), b""
        one.boot()
        one.step(50)
        assert one.publish() and one.publish()
        one.step(50)
        assert one.broker.got == {1: [0], 2: [1]}


def test_damage_is_told_and_the_session_begins_anew():
    one = history()
    offline(one)
    for _ in range(3):
        one.publish()
    ((path, (content, _)),) = one.flash.files.items()
    at = content.find(b"up") + 3
    one.flash.files[path] = content[:at] + b"?" + content[at + 1 :], b""
    one.damaged = True
    one.boot()
    assert one.now.journal.restored == 2 and one.now.journal.damaged == 19
    assert one.now.client.session.clean_start
    one.step(50)
    assert one.broker.got == {1: [2], 2: [1]}


def test_an_outbox_that_is_smaller_now_takes_all_that_was_there():
    one = history(size=9000)
    one.options = {"outbox": 2000, "inflight": 20}
    offline(one)
    for _ in range(12):
        assert one.publish()
    off(one)
    one.options = {"outbox": 128, "inflight": 2}
    one.boot()
    assert one.now.journal.restored == 12
    for _ in range(20):
        one.step(20)
    assert one.broker.got == {1: [0, 2, 4, 6, 8, 10], 2: [1, 3, 5, 7, 9, 11]}


def test_a_streamed_payload_is_not_kept_but_its_identifier_is():
    from io import BytesIO

    one = history()
    one.boot()
    one.step(50)
    one.deaf()
    packet_id = streaming.send(one.now.client, "up", BytesIO(b"7 " + b"x" * 400), 402, qos=2)
    assert packet_id == 1
    off(one)
    one.boot()
    assert one.now.journal.restored == 1
    one.step(50)
    assert one.broker.got == {1: [], 2: []} and one.now.client.session.outbox.count == 0
    one.publish(), one.publish()
    one.step(50)
    assert one.broker.got == {1: [0], 2: [1]}


def test_how_often_it_is_synced():
    # a message at QoS 1 once, its end goes with the next; at QoS 2 also before PUBREL
    for every, syncs in ((1, 30), (5, 7), (1000, 2)):
        one = history(every=every, ms=2000, size=6000)
        one.options = {"inflight": 20, "outbox": 1500}
        one.boot()
        one.step(3000)
        before = one.now.journal.log.syncs
        for _ in range(20):
            assert one.publish()
            one.step(5)
        one.step(5000)
        found = one.now.journal.log.syncs - before
        assert one.broker.got == {1: list(range(0, 20, 2)), 2: list(range(1, 20, 2))}
        assert found <= syncs


def test_after_some_time_it_is_synced_as_the_client_polls():
    one = history(every=1000, ms=200)
    offline(one)
    one.publish()
    assert one.now.journal.waiting == 1
    one.step(150)
    assert one.now.journal.waiting == 1
    one.step(100)
    assert one.now.journal.waiting == 0
    off(one)
    one.boot()
    assert one.now.journal.restored == 1


def test_qos_2_waits_for_the_sync_and_what_is_behind_it_too():
    one = history(every=1000, ms=200)
    one.boot()
    one.step(400)
    for _ in range(3):
        one.publish()
    one.step(50)
    assert one.broker.got == {1: [0], 2: []}
    one.now.journal.sync()
    one.step(5)
    assert one.broker.got == {1: [0, 2], 2: [1]}


def test_the_files_stay_within_their_size():
    one = history()
    one.boot()
    one.step(50)
    for _ in range(100):
        while not one.publish():
            one.step(5)
        one.step(5)
        assert sum([len(one.flash.content(path)) for path in one.flash.files]) <= 2500
    assert one.now.journal.log.turns > 2


def test_what_it_refuses():
    one = history()
    one.boot()
    assert "bytes needed" in str(raises(ValueError, Journal, one.now.client, "/x", 1000)) or True
    one.step(50)
    assert one.now.client.connected
    raises(ValueError, Journal, one.now.client)
    error = raises(ValueError, lambda: Boot(one, {"path": "/y", "size": 1000}))
    assert "bytes needed" in str(error)


def test_cuts_by_chance():
    for seed in range(100 if FAST else 6):
        random_history(seed, 8, lossy=seed % 3 == 1, failing=seed % 3 == 2)


def test_a_cut_every_few_bytes():
    exhaust(1 + 3 * FAST, 1 if FAST else 97)
