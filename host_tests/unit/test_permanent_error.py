"""`PermanentError` of a transport: the client retries after a long pause."""

from simulation import Simulation

from helper import raises
from umqtt5.optional.permanent_error import PermanentError


def retry_pause_ms(kind):
    """Let each attempt fail with `kind`; returns the time between the first two attempts in ms."""
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


def test_a_permanent_error_is_retried_after_a_long_pause():
    assert 600000 <= retry_pause_ms(PermanentError) <= 1100000
    assert retry_pause_ms(OSError) <= 1001


def test_a_permanent_error_before_connack_is_permanent():
    sim = Simulation(timeout=5000)
    sim.connect_reply = b""
    sim.client.connect(wait=False)
    sim.client.poll(10)

    def fails(buf, n):
        raise PermanentError(1, "alert")

    sim.stream.readinto = fails
    sim.client.poll(0)
    assert sim.client.has_permanent_error and not sim.client.is_connected


def test_an_error_of_a_live_connection_is_not_permanent():
    sim = Simulation()
    sim.client.connect()

    def fails(buf, n):
        raise PermanentError(1, "alert")

    sim.stream.readinto = fails
    sim.client.poll(0)
    assert not sim.client.has_permanent_error and not sim.client.is_connected


def test_connect_raises_a_permanent_error():
    sim = Simulation()

    def connect(host, port):
        raise PermanentError(1, "certificate")

    sim.client._transport = connect
    assert raises(OSError, sim.client.connect).errno == 1 and sim.client.has_permanent_error
