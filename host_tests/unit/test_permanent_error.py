"""An error of a transport that can't mend by itself is not hammered."""

from simulation import Simulation

from helper import raises
from umqtt5.optional.permanent_error import PermanentError


def pause(kind):
    """ms between the first try and the second, where each fails with `kind`."""
    sim = Simulation()
    tries = []

    def connect(host, port):
        tries.append(sim.now)
        raise kind(1, "certificate")

    sim.client._transport = connect
    sim.client.connect(wait=False)
    sim.client.poll(10)
    assert sim.client.has_permanent_error == (kind is PermanentError)
    while len(tries) < 2:
        sim.client.poll(1000)
    return tries[1] - tries[0]


def test_a_lasting_error_has_the_long_pause():
    assert 600000 <= pause(PermanentError) <= 1100000
    assert pause(OSError) <= 1001


def test_one_that_comes_before_connack_is_lasting_too():
    sim = Simulation(timeout=5000)
    sim.connect_reply = b""
    sim.client.connect(wait=False)
    sim.client.poll(10)

    def fails(buf, n):
        raise PermanentError(1, "alert")

    sim.stream.readinto = fails
    sim.client.poll(0)
    assert sim.client.has_permanent_error and not sim.client.is_connected


def test_what_ends_a_connection_that_was_up_is_not_lasting():
    sim = Simulation()
    sim.client.connect()

    def fails(buf, n):
        raise PermanentError(1, "alert")

    sim.stream.readinto = fails
    sim.client.poll(0)
    assert not sim.client.has_permanent_error and not sim.client.is_connected


def test_connect_raises_it():
    sim = Simulation()

    def connect(host, port):
        raise PermanentError(1, "certificate")

    sim.client._transport = connect
    assert raises(OSError, sim.client.connect).errno == 1 and sim.client.has_permanent_error
