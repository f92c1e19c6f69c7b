"""The plain client refuses coroutine functions as handlers and callbacks, because it does not run them."""

from answering_broker import BrokerSimulation

from helper import publish_packet, raises


async def coroutine_function(*arguments):
    raise AssertionError("a coroutine ran")


def generator_function(*arguments):
    raise AssertionError("a generator ran")
    yield


class Object:
    async def method(self, *arguments):
        raise AssertionError("a coroutine ran")


def closure():
    cell = 1

    async def handler(*arguments):
        return cell

    return handler


def test_a_coroutine_function_is_refused_at_once():
    sim = BrokerSimulation()
    for handler in (coroutine_function, generator_function):
        raises(TypeError, sim.client.subscribe, "a", handler)
        raises(TypeError, sim.client.on("a"), handler)
    assert not sim.client.session.subscriptions.entries


def test_a_handler_that_returns_a_coroutine_fails_with_typeerror():
    """MicroPython can't know before that a method or a closure returns a coroutine."""
    for handler in (Object().method, closure(), lambda message: coroutine_function()):
        sim = BrokerSimulation()
        errors = []
        sim.client.on_error = errors.append
        sim.client.connect()
        try:
            sim.client.subscribe("c", handler, 1)
        except TypeError:
            continue  # CPython
        sim.client.poll(100)
        sim.stream.inbox += publish_packet(b"c", b"x", 1, 7)
        sim.client.poll(100)
        assert [type(error) for error in errors] == [TypeError], errors
        assert "plain function" in str(errors[0])
        assert [body for first, body in sim.packets if first == 0x40] == [b"\x00\x07\x80"]


def test_a_callback_that_returns_a_coroutine_fails_with_typeerror():
    sim = BrokerSimulation()
    errors = []
    sim.client.on_error = errors.append
    for name in ("on_state", "on_ack", "on_subscribed", "on_unsubscribed"):
        setattr(sim.client, name, Object().method)
    sim.client.connect()
    sim.client.subscribe("c", print)
    sim.client.poll(100)
    sim.client.publish("a", b"x", 1)
    sim.client.unsubscribe("c")
    sim.client.poll(100)
    assert [type(error) for error in errors] == [TypeError] * 4, errors


def test_a_handler_may_return_a_value():
    sim = BrokerSimulation()
    errors = []
    sim.client.on_error = errors.append
    sim.client.connect()
    sim.client.subscribe("c", lambda message: 5)
    sim.client.poll(100)
    sim.stream.inbox += publish_packet(b"c", b"x", 0)
    sim.client.poll(100)
    assert not errors
