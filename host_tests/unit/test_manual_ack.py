"""Acknowledge after the work: tokens, their order, what a reconnect and a reboot do to them."""

from simulated_flash import Dice, Flash
from simulation import World

from helper import message, raises
from umqtt5.journal import Journal


def at_work(**options):
    """A world whose handler keeps tokens, behind its SUBACK."""
    world = World(**options)
    world.tokens = []
    world.handled = []

    def handler(message, token):
        world.handled.append(message.payload)
        world.tokens.append(token)

    world.client.subscribe("work", handler, 2, ack="manual")
    world.client.connect()
    world.client.poll()
    world.stream.written = b""
    return world


def give(world, *messages):
    for payload, qos, packet_id, flags in messages:
        world.stream.inbox += message(b"work", payload, qos, packet_id, flags=flags)
    world.client.poll()


def taken(world):
    written, world.stream.written = world.stream.written, b""
    return written


def test_a_message_is_acknowledged_when_its_work_is_done():
    world = at_work()
    give(world, (b"a", 1, 1, 0), (b"b", 2, 2, 0))
    assert world.handled == [b"a", b"b"] and taken(world) == b""
    assert world.client.ack(world.tokens[0])
    assert taken(world) == b"\x40\x02\x00\x01"
    assert world.client.ack(world.tokens[1])
    assert taken(world) == b"\x50\x02\x00\x02"
    assert not world.client.ack(world.tokens[1])  # twice
    assert taken(world) == b""


def test_acknowledgements_keep_the_order_of_the_messages():
    world = at_work()
    give(world, (b"a", 1, 1, 0), (b"b", 1, 2, 0), (b"c", 1, 3, 0))
    world.client.ack(world.tokens[2])
    world.client.ack(world.tokens[1])
    assert taken(world) == b""
    world.client.ack(world.tokens[0])
    assert taken(world) == b"\x40\x02\x00\x01\x40\x02\x00\x02\x40\x02\x00\x03"


def test_work_that_is_done_at_once():
    world = World()
    world.client.subscribe("work", lambda message, token: world.client.ack(token), 1, ack="manual")
    world.client.connect()
    world.client.poll()
    taken(world)
    give(world, (b"a", 1, 7, 0))
    assert taken(world) == b"\x40\x02\x00\x07"


def test_qos_0_has_nothing_to_acknowledge():
    world = at_work()
    give(world, (b"a", 0, 0, 0))
    assert world.tokens == [-1] and not world.client.ack(-1)


def test_a_handler_that_fails_has_no_token_out():
    world = World()

    def handler(message, token):
        raise ValueError("no")

    world.client.on_error = lambda error: None
    world.client.subscribe("work", handler, 1, ack="manual")
    world.client.connect()
    world.client.poll()
    taken(world)
    give(world, (b"a", 1, 7, 0))
    assert taken(world) == b"\x40\x03\x00\x07\x80"


def test_what_was_not_done_comes_again_after_a_reconnect():
    world = at_work()
    give(world, (b"a", 2, 1, 0), (b"b", 2, 2, 0))
    world.client.ack(world.tokens[1])  # done, and its PUBREC waits behind that of a
    old = world.tokens[0]
    world.greeting = b"\x20\x03\x01\x00\x00"
    world.stream.gone = True
    world.client.poll(5000)
    assert world.client.connected
    assert not world.client.ack(old)
    taken(world)
    give(world, (b"a", 2, 1, 8), (b"b", 2, 2, 8))
    assert world.handled == [b"a", b"b", b"a"]  # b is done
    assert taken(world) == b""
    world.client.ack(world.tokens[2])
    assert taken(world) == b"\x50\x02\x00\x01\x50\x02\x00\x02"


def test_another_word_is_refused():
    raises(ValueError, lambda: World().client.subscribe("work", print, 1, ack="never"))


def rebooted(early):
    """A device that is cut off with work in hand; returns what its handler gets after the reboot."""
    flash = Flash(Dice(1))
    counts = []
    for boot in range(3):
        world = World(client_id="c")
        seen = []
        world.client.longest_pause = 10

        def handler(message, token, seen=seen):
            seen.append(token)

        if early:
            journal = Journal(world.client, "/o")
            world.client.subscribe("work", handler, 2, ack="manual")
        else:
            world.client.subscribe("work", handler, 2, ack="manual")
            journal = Journal(world.client, "/o")
        world.greeting = b"\x20\x03\x01\x00\x00" if boot else world.greeting
        world.client.connect()
        world.client.poll()
        give(world, (b"a", 2, 1, 8 if boot else 0))
        counts.append(len(seen))
        if boot == 1:
            world.client.ack(seen[0])
        assert not journal.error
        for path, (whole, _) in flash.files.items():
            flash.files[path] = whole, b""
    return counts


def test_a_reboot_before_the_work_is_done_with_a_journal():
    """Not acknowledged: it is handled again. Acknowledged, and the journal has it: it is not."""
    assert rebooted(True) == [1, 1, 0]
    assert rebooted(False) == [1, 1, 0]
