"""Coroutine functions as handlers and callbacks of the asyncio client (simulated clock)."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

from helper import publish_packet
from host_tests.aio.async_broker import AsyncBrokerSimulation, to_c
from host_tests.aio.simulated_loop import run, run_and_abandon
from umqtt5.aio import Client
from umqtt5.properties import CONTENT_TYPE, pack


class Recorder:
    """Coroutine handlers of several kinds, which record the message after a pause."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    async def method(self, message: Any) -> None:
        await asyncio.sleep(0.5)
        self.got.append((message.topic, message.payload, message.qos, message.property(CONTENT_TYPE)))

    def closure(self) -> Any:
        async def handler(message: Any) -> None:
            await self.method(message)

        return handler


KINDS = {
    "method": lambda recorder: recorder.method,
    "closure": lambda recorder: recorder.closure(),
    "partial": lambda recorder: functools.partial(Recorder.method, recorder),
    "lambda": lambda recorder: lambda message: recorder.method(message),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_coroutine_handler_gets_a_copy_of_each_message(kind: str) -> None:
    sim = AsyncBrokerSimulation()
    recorder = Recorder()

    async def main(client: Client) -> None:
        await client.subscribe("c", KINDS[kind](recorder), qos=1)
        block = pack(content_type="text")
        sim.send(*[publish_packet(b"c", b"%d" % i, i % 2, i, block) for i in range(1, 5)])
        await asyncio.sleep(2)

    sim.play(main)
    # coroutines that sleep until the same time end in any order
    assert sorted(recorder.got) == [("c", b"%d" % i, i % 2, "text") for i in range(1, 5)]


def test_a_decorated_coroutine_function_is_subscribed_before_connect() -> None:
    sim = AsyncBrokerSimulation()
    got = []

    @sim.mqtt.on("c", qos=1)
    async def handler(message: Any) -> None:
        await asyncio.sleep(0.1)
        got.append(message.equals(b"7"))

    async def main(client: Client) -> None:
        await asyncio.sleep(0.1)
        sim.send(to_c(7))
        await asyncio.sleep(1)

    sim.play(main)
    assert got == [True]


@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_is_acknowledged_when_its_coroutine_has_ended(qos: int) -> None:
    sim = AsyncBrokerSimulation()
    errors: list[Exception] = []
    sim.mqtt.on_error = errors.append

    async def main(client: Client) -> None:
        async def handler(message: Any) -> None:
            number = int(message.payload)
            await asyncio.sleep(number)
            if number == 2:
                raise KeyError("mine")

        await client.subscribe("c", handler, qos=qos)
        sim.send(*[to_c(i, qos) for i in range(1, 4)])
        await asyncio.sleep(0.5)
        assert sim.acknowledged() == []
        await asyncio.sleep(1)
        assert sim.acknowledged() == [(1, 0)]
        await asyncio.sleep(1)
        assert sim.acknowledged() == [(1, 0), (2, 0x80)]
        if qos == 2:  # the identifier can be used by a new message
            sim.send(to_c(2, qos))
        await asyncio.sleep(3)
        assert sim.acknowledged()[2] == (3, 0)

    sim.play(main)
    assert [type(error) for error in errors][:1] == [KeyError]


def test_at_most_inflight_coroutines_run_and_the_messages_above_wait_or_are_dropped() -> None:
    sim = AsyncBrokerSimulation(inflight=3)
    errors: list[Exception] = []
    sim.mqtt.on_error = errors.append
    running = [0]
    most = [0]
    got = []

    async def handler(message: Any) -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await asyncio.sleep(1)
        running[0] -= 1
        got.append(int(message.payload))

    async def main(client: Client) -> None:
        await client.subscribe("c", handler, qos=1)
        sim.send(*[to_c(i) for i in range(1, 9)], publish_packet(b"c", b"99"))
        await asyncio.sleep(10)
        sim.send(publish_packet(b"c", b"100"))
        await asyncio.sleep(2)

    sim.play(main)
    assert most == [3] and sorted(got) == [*range(1, 9), 100] and not running[0]
    assert [str(error) for error in errors] == ["3 coroutines are running: a message was dropped"]
    assert sim.acknowledged() == [(i, 0) for i in range(1, 9)]


@pytest.mark.parametrize("resumed", [True, False])
@pytest.mark.parametrize("qos", [1, 2])
def test_a_lost_link_does_not_lose_the_messages_that_wait_for_a_coroutine(qos: int, resumed: bool) -> None:
    sim = AsyncBrokerSimulation(inflight=1)
    if resumed:
        sim.make_connack = lambda stream, properties: b"\x20\x03%c\x00\x00" % (len(sim.streams) > 1)
    got = []

    async def handler(message: Any) -> None:
        await asyncio.sleep(5)
        got.append(int(message.payload))

    async def main(client: Client) -> None:
        await client.subscribe("c", handler, qos=qos)
        sim.send(to_c(1, qos), to_c(2, qos))
        await asyncio.sleep(1)
        sim.stream.closed_by_broker = True
        await asyncio.sleep(2)
        if resumed:
            sim.send(publish_packet(b"c", b"2", qos, 2, flags=8))
        await asyncio.sleep(20)

    sim.play(main)
    assert got == [1, 2]


def test_a_coroutine_handler_may_use_the_client() -> None:
    sim = AsyncBrokerSimulation(inflight=2)
    got = []

    async def main(client: Client) -> None:
        async def handler(message: Any) -> None:
            assert (await client.publish("seen", message.payload, qos=1)).reason == 0
            got.append(await client.request("ask", message.payload))

        await client.responder("ask", lambda message: message.payload + b"!")
        await client.subscribe("c", handler, qos=1)
        sim.send(*[to_c(i) for i in range(1, 6)])
        await asyncio.sleep(5)

    sim.play(main)
    assert got == [b"%d!" % i for i in range(1, 6)]


def test_a_responder_may_be_a_coroutine_function() -> None:
    sim = AsyncBrokerSimulation()

    async def respond(message: Any) -> Any:
        await asyncio.sleep(0.1)
        return message.payload + b"!" if message.payload != b"none" else None

    async def main(client: Client) -> None:
        await client.responder("ask", respond)
        answers = await asyncio.gather(*[client.request("ask", b"%d" % i, timeout=5000) for i in range(6)])
        assert answers == [b"%d!" % i for i in range(6)]
        with pytest.raises(OSError):
            await client.request("ask", b"none", timeout=500)

    sim.play(main)


def test_callbacks_may_be_coroutine_functions() -> None:
    sim = AsyncBrokerSimulation()
    calls = []

    def record(name: str) -> Any:
        async def callback(*arguments: Any) -> None:
            await asyncio.sleep(0.01)
            calls.append((name, *arguments))

        return callback

    for name in ("on_state", "on_ack", "on_subscribed", "on_unsubscribed", "on_error"):
        setattr(sim.mqtt, name, record(name))

    async def main(client: Client) -> None:
        await client.subscribe("c", lambda message: 1 // 0)
        await client.publish("c", b"x", qos=1)
        await client.unsubscribe("c")
        await asyncio.sleep(0.1)
        client.on_state = None

    sim.play(main)
    arguments = {call[0]: call[1:] for call in calls}
    assert len(calls) == len(arguments) == 5
    assert arguments["on_state"] == (sim.mqtt, True, None)
    assert arguments["on_subscribed"][1].reason == arguments["on_unsubscribed"][1].reason == 0
    assert isinstance(arguments["on_error"][0], ZeroDivisionError)
    ack = arguments["on_ack"][0]
    assert (ack.packet_id, ack.reason) == (1, 0)


def test_manual_acknowledgement_in_a_coroutine() -> None:
    sim = AsyncBrokerSimulation()

    async def main(client: Client) -> None:
        async def handler(message: Any, token: int) -> None:
            await asyncio.sleep(1)
            assert client.sync_client.ack(token)
            client.wake()

        await client.subscribe("c", handler, qos=1, ack="manual")
        sim.send(to_c(1))
        await asyncio.sleep(0.5)
        assert sim.acknowledged() == []
        await asyncio.sleep(1)
        assert sim.acknowledged() == [(1, 0)]

    sim.play(main)


def test_a_generator_function_is_refused_and_its_message_does_not_block_later_ones() -> None:
    sim = AsyncBrokerSimulation()
    errors: list[Exception] = []
    sim.mqtt.on_error = errors.append

    def generator(message: Any) -> Any:
        yield message

    async def main(client: Client) -> None:
        await client.subscribe("c", generator, qos=1)
        sim.send(to_c(1), to_c(2))
        await asyncio.sleep(1)

    sim.play(main)
    assert [type(error) for error in errors] == [TypeError, TypeError]
    assert sim.acknowledged() == [(1, 0x80), (2, 0x80)]


@pytest.mark.parametrize("cancel", [True, False])
def test_coroutines_of_an_ended_loop_take_no_place_and_hold_no_acknowledgement(cancel: bool) -> None:
    sim = AsyncBrokerSimulation(inflight=1)
    got = []

    async def handler(message: Any) -> None:
        await asyncio.sleep(1)
        got.append(int(message.payload))

    async def first() -> None:
        await sim.mqtt.connect()
        await sim.mqtt.subscribe("c", handler, qos=1)
        sim.send(to_c(1), to_c(2))
        await asyncio.sleep(0.5)

    async def second() -> None:
        await sim.mqtt.connect()
        sim.send(to_c(3))
        await asyncio.sleep(2)
        await sim.mqtt.disconnect()

    run_and_abandon(sim, first(), cancel)
    run(sim, second())
    assert got == [3]
    assert sim.acknowledged() == [(1, 0x80), (2, 0x80), (3, 0)]


def test_a_plain_handler_is_called_once_with_the_message_in_the_receive_buffer() -> None:
    sim = AsyncBrokerSimulation()
    got = []

    async def main(client: Client) -> None:
        await client.subscribe("c", lambda message: got.append((message is client.packet, message.payload)))
        sim.send(publish_packet(b"c", b"1"))
        await asyncio.sleep(1)
        assert client.coroutines is None and client.deferred_acks is None

    sim.play(main)
    assert got == [(True, b"1")]
