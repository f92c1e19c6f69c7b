"""An error of a transport that can't mend by itself is not hammered."""

from simulation import World

from helper import raises
from umqtt5.optional.permanent_error import LastingError


def pause(kind):
    """ms between the first try and the second, where each fails with `kind`."""
    world = World()
    tries = []

    def connect(host, port):
        tries.append(world.now)
        raise kind(1, "certificate")

    world.client._transport = connect
    world.client.connect(wait=False)
    world.client.poll(10)
    assert world.client.lasting == (kind is LastingError)
    while len(tries) < 2:
        world.client.poll(1000)
    return tries[1] - tries[0]


def test_a_lasting_error_has_the_long_pause():
    assert 600000 <= pause(LastingError) <= 1100000
    assert pause(OSError) <= 1001


def test_one_that_comes_before_connack_is_lasting_too():
    world = World(timeout=5000)
    world.greeting = b""
    world.client.connect(wait=False)
    world.client.poll(10)

    def fails(buf, n):
        raise LastingError(1, "alert")

    world.stream.readinto = fails
    world.client.poll(0)
    assert world.client.lasting and not world.client.connected


def test_what_ends_a_connection_that_was_up_is_not_lasting():
    world = World()
    world.client.connect()

    def fails(buf, n):
        raise LastingError(1, "alert")

    world.stream.readinto = fails
    world.client.poll(0)
    assert not world.client.lasting and not world.client.connected


def test_connect_raises_it():
    world = World()

    def connect(host, port):
        raise LastingError(1, "certificate")

    world.client._transport = connect
    assert raises(OSError, world.client.connect).errno == 1 and world.client.lasting
