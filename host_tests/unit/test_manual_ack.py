"""Manual acknowledgement (`ack="manual"`, `client.ack`): tokens, order, reconnects and reboots."""

from simulated_flash import SeededRandom, SimulatedFlash
from simulation import Simulation

from helper import publish_packet, raises
from umqtt5.journal import Journal


def manual_ack_sim(**options):
    """Return a simulation with a manual-ack subscription whose handler stores its tokens."""
    sim = Simulation(**options)
    sim.tokens = []
    sim.handled = []

    def handler(message, token):
        sim.handled.append(message.payload)
        sim.tokens.append(token)

    sim.client.subscribe("work", handler, 2, ack="manual")
    sim.client.connect()
    sim.client.poll()
    sim.stream.written = b""
    return sim


def deliver(sim, *messages):
    for payload, qos, packet_id, flags in messages:
        sim.stream.inbox += publish_packet(b"work", payload, qos, packet_id, flags=flags)
    sim.client.poll()


def take_written(sim):
    written, sim.stream.written = sim.stream.written, b""
    return written


def test_a_message_is_acknowledged_when_the_application_calls_ack():
    sim = manual_ack_sim()
    deliver(sim, (b"a", 1, 1, 0), (b"b", 2, 2, 0))
    assert sim.handled == [b"a", b"b"] and take_written(sim) == b""
    assert sim.client.ack(sim.tokens[0])
    assert take_written(sim) == b"\x40\x02\x00\x01"
    assert sim.client.ack(sim.tokens[1])
    assert take_written(sim) == b"\x50\x02\x00\x02"
    assert not sim.client.ack(sim.tokens[1])  # a second time
    assert take_written(sim) == b""


def test_acknowledgements_are_sent_in_the_order_of_the_messages():
    sim = manual_ack_sim()
    deliver(sim, (b"a", 1, 1, 0), (b"b", 1, 2, 0), (b"c", 1, 3, 0))
    sim.client.ack(sim.tokens[2])
    sim.client.ack(sim.tokens[1])
    assert take_written(sim) == b""
    sim.client.ack(sim.tokens[0])
    assert take_written(sim) == b"\x40\x02\x00\x01\x40\x02\x00\x02\x40\x02\x00\x03"


def test_a_handler_may_acknowledge_at_once():
    sim = Simulation()
    sim.client.subscribe("work", lambda message, token: sim.client.ack(token), 1, ack="manual")
    sim.client.connect()
    sim.client.poll()
    take_written(sim)
    deliver(sim, (b"a", 1, 7, 0))
    assert take_written(sim) == b"\x40\x02\x00\x07"


def test_a_qos_0_message_needs_no_acknowledgement():
    sim = manual_ack_sim()
    deliver(sim, (b"a", 0, 0, 0))
    assert sim.tokens == [-1] and not sim.client.ack(-1)


def test_a_message_whose_handler_raises_is_acknowledged_with_0x80():
    sim = Simulation()

    def handler(message, token):
        raise ValueError("no")

    sim.client.on_error = lambda error: None
    sim.client.subscribe("work", handler, 1, ack="manual")
    sim.client.connect()
    sim.client.poll()
    take_written(sim)
    deliver(sim, (b"a", 1, 7, 0))
    assert take_written(sim) == b"\x40\x03\x00\x07\x80"


def test_unacknowledged_messages_are_handled_again_after_a_reconnect():
    sim = manual_ack_sim()
    deliver(sim, (b"a", 2, 1, 0), (b"b", 2, 2, 0))
    sim.client.ack(sim.tokens[1])  # its PUBREC waits for that of message a
    old = sim.tokens[0]
    sim.connect_reply = b"\x20\x03\x01\x00\x00"
    sim.stream.closed_by_broker = True
    sim.client.poll(5000)
    assert sim.client.is_connected
    assert not sim.client.ack(old)
    take_written(sim)
    deliver(sim, (b"a", 2, 1, 8), (b"b", 2, 2, 8))
    assert sim.handled == [b"a", b"b", b"a"]  # b was acknowledged
    assert take_written(sim) == b""
    sim.client.ack(sim.tokens[2])
    assert take_written(sim) == b"\x50\x02\x00\x01\x50\x02\x00\x02"


def test_an_invalid_ack_argument_raises_value_error():
    raises(ValueError, lambda: Simulation().client.subscribe("work", print, 1, ack="never"))


def rebooted(early):
    """Boot three times with one QoS 2 message that the second boot acknowledges.

    `early`: the journal is created before the subscription. Returns how often each boot handles it.
    """
    flash = SimulatedFlash(SeededRandom(1))
    counts = []
    for boot in range(3):
        sim = Simulation(client_id="c")
        seen = []
        sim.client.max_reconnect_delay = 10

        def handler(message, token, seen=seen):
            seen.append(token)

        if early:
            journal = Journal(sim.client, "/o")
            sim.client.subscribe("work", handler, 2, ack="manual")
        else:
            sim.client.subscribe("work", handler, 2, ack="manual")
            journal = Journal(sim.client, "/o")
        sim.connect_reply = b"\x20\x03\x01\x00\x00" if boot else sim.connect_reply
        sim.client.connect()
        sim.client.poll()
        deliver(sim, (b"a", 2, 1, 8 if boot else 0))
        counts.append(len(seen))
        if boot == 1:
            sim.client.ack(seen[0])
        assert not journal.error
        for path, (whole, _) in flash.files.items():
            flash.files[path] = whole, b""
    return counts


def test_the_journal_stores_manual_acknowledgements_across_a_reboot():
    """A message without `ack` is handled again after the reboot; an acknowledged one is not."""
    assert rebooted(True) == [1, 1, 0]
    assert rebooted(False) == [1, 1, 0]
