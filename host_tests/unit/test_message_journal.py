"""The journal of the device on a flash that fails for some time: it is used again when the flash works."""

from answering_broker import BrokerSimulation
from simulated_flash import SimulatedFlash

import app.message_journal as message_journal
from umqtt5.journal import journal, journal_outbox, record_log

RETRY = 300_000  # ms
FOREVER = 1 << 20


def run(function):
    """Call a function with a client and a flash; restore what the journal deletes and the test replaces."""
    saved = [
        (owner, "__init__", owner.__init__)
        for owner in (journal.Journal, record_log.RecordLog, journal_outbox.JournalOutbox)
    ]
    saved += [(journal.Journal, name, getattr(journal.Journal, name)) for name in ("_open", "_hook")]
    saved += [(journal.Journal, "_needed_size", journal.Journal._needed_size)]
    saved += [(message_journal, "os", message_journal.os)]
    flash = SimulatedFlash()
    message_journal.os = flash

    def start():
        for owner, name, value in saved[:-1]:
            setattr(owner, name, value)
        sim = BrokerSimulation(outbox=1024)
        message_journal.MessageJournal(sim.client, "dut", 8192)
        sim.broker_listens = False
        sim.client.connect(wait=False)
        return sim

    try:
        function(flash, start)
    finally:
        for owner, name, value in saved:
            setattr(owner, name, value)
        SimulatedFlash.restore()


def wait(sim, ms):
    ends = sim.now + ms
    while sim.now < ends:
        sim.client.poll(min(1000, ends - sim.now))


def restored(start):
    """Start again; return the payloads of the messages that the broker receives."""
    sim = start()
    sim.broker_listens = True
    wait(sim, 70_000)
    return [body[-2:] for body in sim.received_bodies(0x30)]


def test_messages_are_on_flash_again_after_a_short_failure():
    def test(flash, start):
        sim = start()
        assert sim.client.publish("a", b"m1", qos=1)
        flash.errors = 3
        assert sim.client.publish("a", b"m2", qos=1)  # at the second try, in RAM only
        wait(sim, 2000)
        assert sim.client.publish("a", b"m3", qos=1)
        assert not flash.files
        flash.errors = 0
        wait(sim, RETRY + 1000)
        assert sim.client.publish("a", b"m4", qos=1)
        assert restored(start) == [b"m1", b"m2", b"m3", b"m4"]

    run(test)


def test_a_flash_that_keeps_failing_is_tried_once_in_five_minutes():
    def test(flash, start):
        flash.errors = FOREVER
        sim = start()
        wait(sim, 2000)
        assert sim.client.publish("a", b"m1", qos=1)
        failures = flash.failures
        wait(sim, 4 * RETRY)
        assert 4 <= flash.failures - failures <= 5
        assert not flash.files and sim.client.publish("a", b"m2", qos=1)
        flash.errors = 0
        wait(sim, RETRY + 1000)
        assert restored(start) == [b"m1", b"m2"]

    run(test)


def test_messages_that_were_sent_while_the_flash_failed_do_not_return():
    def test(flash, start):
        sim = start()
        assert sim.client.publish("a", b"m1", qos=1)
        flash.errors = 3
        sim.client.publish("a", b"m2", qos=1)
        sim.broker_listens = True
        wait(sim, 70_000)
        assert not sim.client.session.outbox.count
        flash.errors = 0
        wait(sim, RETRY + 1000)
        assert restored(start) == []

    run(test)
