"""Nobody's connection: cancelled and concurrent connects, several event loops, callbacks that raise."""

from __future__ import annotations

import asyncio
from errno import ENOTCONN
from typing import Any

import pytest

from helper import make_packet, publish_packet
from host_tests.aio.async_broker import AsyncBrokerSimulation
from host_tests.aio.simulated_loop import SimulatedLoop, run, run_and_abandon
from umqtt5.aio import Client


def assert_closed(sim: AsyncBrokerSimulation) -> None:
    client = sim.mqtt
    assert not sim.open_streams() and not client.is_connected and client.sync_client.stream is None
    assert client._scheduler is None and not client.sync_client._should_connect
    assert not client._waiters and not client._connecting and not client._is_owned


# ---- cancellation


@pytest.mark.parametrize("cancels", [1, 2])
@pytest.mark.parametrize("steps", range(30))
def test_cancelling_async_with_at_any_step_leaves_no_connection(steps: int, cancels: int) -> None:
    sim = AsyncBrokerSimulation()

    async def use() -> None:
        async with sim.mqtt as client:
            await client.publish("a", b"x", qos=1)

    async def main() -> None:
        task = asyncio.create_task(use())
        for _ in range(steps):
            await asyncio.sleep(0)
        for _ in range(cancels):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(task, return_exceptions=True)
        assert_closed(sim)
        await asyncio.sleep(100)
        assert_closed(sim)
        await use()  # the client can still be used

    run(sim, main())
    assert_closed(sim)


def test_cancelling_connect_when_connack_has_arrived_disconnects() -> None:
    sim = AsyncBrokerSimulation()

    async def main() -> None:
        task = asyncio.create_task(sim.mqtt.connect())
        # the task is ready to run, but it has not run yet
        sim.mqtt.on_state = lambda client, connected, error: task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sim.mqtt.connection_count == 1
        assert_closed(sim)

    run(sim, main())
    assert sim.stream.written.endswith(b"\xe0\x00")  # with DISCONNECT, so that there is no will


@pytest.mark.parametrize("steps", range(12))
def test_cancelling_the_disconnect_at_the_end_of_async_with_closes_the_connection(steps: int) -> None:
    sim = AsyncBrokerSimulation()

    async def use() -> None:
        async with sim.mqtt as client:
            sim.stream.is_stalled = True
            await client.publish("a", b"x")

    async def main() -> None:
        task = asyncio.create_task(use())
        while not sim.streams or not sim.stream.is_stalled:
            await asyncio.sleep(0)
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert_closed(sim)

    run(sim, main())


def test_cancelling_connect_does_not_end_a_connection_of_the_background() -> None:
    sim = AsyncBrokerSimulation()
    sim.broker_listens = False

    async def main() -> None:
        await sim.mqtt.connect(wait=False)
        await asyncio.sleep(100)
        with pytest.raises(OSError):
            await sim.mqtt.connect()  # tries at once
        with pytest.raises((asyncio.TimeoutError, OSError)):
            await asyncio.wait_for(sim.mqtt.connect(), 0.01)
        sim.broker_listens = True
        assert (await sim.mqtt.publish("a", b"x", qos=1)).reason == 0
        await sim.mqtt.disconnect()
        assert_closed(sim)

    run(sim, main())


# ---- several tasks


@pytest.mark.parametrize("cancelled", [0, 1])
def test_a_connect_of_two_tasks_survives_the_cancellation_of_one(cancelled: int) -> None:
    sim = AsyncBrokerSimulation()
    sim.is_writable = False

    async def main() -> None:
        tasks = [asyncio.create_task(sim.mqtt.connect()) for _ in range(2)]
        await asyncio.sleep(1)
        tasks[cancelled].cancel()
        await asyncio.sleep(1)
        sim.is_writable = True
        assert await tasks[1 - cancelled] is False and sim.mqtt.is_connected
        assert len(sim.streams) == 1
        await sim.mqtt.disconnect()
        assert_closed(sim)

    run(sim, main())


def test_a_connect_of_two_tasks_ends_when_both_are_cancelled() -> None:
    sim = AsyncBrokerSimulation()

    async def main() -> None:
        tasks = [asyncio.create_task(sim.mqtt.connect()) for _ in range(2)]

        def cancel(client: Client, connected: bool, error: Any) -> None:
            for task in tasks:
                task.cancel()

        sim.mqtt.on_state = cancel
        await asyncio.gather(*tasks, return_exceptions=True)
        assert_closed(sim)

    run(sim, main())


def test_a_failed_try_is_raised_in_both_tasks_and_one_may_try_again_at_once() -> None:
    sim = AsyncBrokerSimulation()
    sim.broker_listens = False

    async def connect_again() -> bool:
        with pytest.raises(OSError):
            await sim.mqtt.connect()
        sim.broker_listens = True
        return await sim.mqtt.connect()

    async def connect() -> None:
        with pytest.raises(OSError):
            await sim.mqtt.connect()

    async def main() -> None:
        await asyncio.gather(connect_again(), connect())
        assert sim.mqtt.is_connected
        await sim.mqtt.disconnect()
        assert_closed(sim)

    run(sim, main())


@pytest.mark.parametrize("steps", range(12))
def test_disconnect_while_another_task_connects_ends_both(steps: int) -> None:
    sim = AsyncBrokerSimulation()

    async def main() -> None:
        task = asyncio.create_task(sim.mqtt.connect())
        for _ in range(steps):
            await asyncio.sleep(0)
        await sim.mqtt.disconnect()
        results = await asyncio.gather(task, return_exceptions=True)
        if steps:
            assert_closed(sim)
            assert results[0] is False or results[0].errno == ENOTCONN
        else:  # the task had not called `connect` yet
            await sim.mqtt.disconnect()
            assert_closed(sim)

    run(sim, main())


def test_connect_during_a_disconnect_waits_for_its_end() -> None:
    sim = AsyncBrokerSimulation()

    async def main() -> None:
        await sim.mqtt.connect()
        sim.stream.is_stalled = True
        await sim.mqtt.publish("a", b"x")
        ending = asyncio.create_task(sim.mqtt.disconnect())
        await asyncio.sleep(0.1)
        again = asyncio.create_task(sim.mqtt.connect())
        await asyncio.sleep(0.1)
        assert len(sim.streams) == 1
        sim.stream.is_stalled = False
        await ending
        await again
        assert sim.mqtt.is_connected and len(sim.streams) == 2 and sim.streams[0].closed
        await asyncio.gather(sim.mqtt.disconnect(), sim.mqtt.disconnect())
        assert_closed(sim)

    run(sim, main())


def test_a_connect_after_one_of_two_disconnects_is_not_ended_by_the_other() -> None:
    sim = AsyncBrokerSimulation()

    async def end_and_connect() -> None:
        await sim.mqtt.disconnect()
        await sim.mqtt.connect()

    async def main() -> None:
        await sim.mqtt.connect()
        await asyncio.gather(end_and_connect(), sim.mqtt.disconnect())
        assert sim.mqtt.is_connected and len(sim.streams) == 2
        await sim.mqtt.disconnect()
        assert_closed(sim)

    run(sim, main())


def test_async_with_can_be_used_twice() -> None:
    sim = AsyncBrokerSimulation()

    async def main() -> None:
        for number in range(2):
            async with sim.mqtt as client:
                async with client.messages("c", qos=1) as messages:
                    await client.publish("c", b"%d" % number, qos=1)
                    assert (await messages.__anext__()).payload == b"%d" % number
            assert_closed(sim)

    run(sim, main())


def test_a_subscribe_ends_if_its_subscription_is_removed_by_a_new_session() -> None:
    sim = AsyncBrokerSimulation()

    async def main(client: Client) -> None:
        sim.replies[0x80] = lambda stream, first, body: b""
        waiting = asyncio.create_task(client.subscribe("c", print))
        await asyncio.sleep(0.1)
        sim.broker_listens = False
        sim.stream.closed_by_broker = True
        await asyncio.sleep(0.1)
        ending = asyncio.create_task(client.unsubscribe("c"))
        await asyncio.sleep(0.1)
        sim.broker_listens = True
        assert await ending is None and await waiting is None

    sim.play(main)


def test_a_waiting_publish_does_not_keep_the_event_loop_busy() -> None:
    """Neither does it if a SUBSCRIBE is due, which needs the connection, too."""
    sim = AsyncBrokerSimulation()
    sim.broker_listens = False

    async def main() -> None:
        await sim.mqtt.connect(wait=False)
        sim.mqtt.sync_client.subscribe("a", print)
        waiting = asyncio.create_task(sim.mqtt.publish("a", b"x"))
        await asyncio.sleep(0.1)
        runs = []
        step = sim.mqtt.sync_client._poll_once
        sim.mqtt.sync_client._poll_once = lambda: runs.append(sim.now) or step()
        await asyncio.sleep(300)
        assert len(runs) < 40
        waiting.cancel()
        await sim.mqtt.disconnect()

    run(sim, main())


# ---- several event loops


async def publish_and_receive(client: Client, messages: Any) -> None:
    await client.publish("c", b"x", qos=1)
    assert (await messages.__anext__()).payload == b"x"


@pytest.mark.parametrize("link", ["up", "down"])
def test_a_second_event_loop_continues_the_connection_that_the_first_has_left(link: str) -> None:
    sim = AsyncBrokerSimulation()
    client = sim.mqtt

    async def first() -> Any:
        await client.connect()
        messages = client.messages("c", qos=1)
        await publish_and_receive(client, messages)
        return messages

    async def second(messages: Any) -> None:
        await publish_and_receive(client, messages)
        await client.connect()

    async def third(messages: Any) -> None:
        await publish_and_receive(client, messages)
        await client.disconnect()

    messages = run_and_abandon(sim, first())
    if link == "down":
        sim.stream.closed_by_broker = True
    run_and_abandon(sim, second(messages))
    run(sim, third(messages))
    assert_closed(sim)


@pytest.mark.parametrize("cancel", [True, False])
def test_coroutines_of_an_ended_loop_do_not_block_those_of_the_next(cancel: bool) -> None:
    """Their places in the queues for room are free, whether they were cancelled or just never continued."""
    sim = AsyncBrokerSimulation(inflight=1)
    client = sim.mqtt
    sim.withholds_acks = True
    left: list[asyncio.Task[Any]] = []

    async def first() -> None:
        await client.connect()
        left.extend(asyncio.create_task(client.publish("a", b"%d" % i, qos=1)) for i in range(3))
        left.append(asyncio.create_task(client.request("a", b"", timeout=5000)))
        await asyncio.sleep(1)

    async def second() -> None:
        sim.withholds_acks = False
        sim.send(b"\x40\x02\x00\x01")
        assert (await client.publish("a", b"x", qos=1)).reason == 0
        await client.disconnect()

    run_and_abandon(sim, first(), cancel)
    run(sim, second())
    assert_closed(sim)


def test_a_connect_of_an_ended_loop_belongs_to_nobody() -> None:
    sim = AsyncBrokerSimulation()
    sim.is_writable = False
    left = []

    async def first() -> None:
        left.append(asyncio.create_task(sim.mqtt.connect()))
        await asyncio.sleep(1)

    async def second() -> None:
        with pytest.raises(OSError) as error:
            await sim.mqtt.publish("a", b"x")
        assert error.value.errno == ENOTCONN
        assert_closed(sim)
        sim.is_writable = True
        async with sim.mqtt as client:
            await client.publish("a", b"x", qos=1)

    run_and_abandon(sim, first(), cancel=False)
    run(sim, second())


def test_the_client_continues_after_a_keyboard_interrupt_in_a_handler() -> None:
    sim = AsyncBrokerSimulation()

    def interrupt(message: Any) -> None:
        raise KeyboardInterrupt

    async def first() -> None:
        await sim.mqtt.connect()
        await sim.mqtt.subscribe("c", interrupt)
        sim.withholds_acks = True
        waiting.append(asyncio.create_task(sim.mqtt.publish("a", b"x", qos=1)))
        await asyncio.sleep(0.1)
        sim.send(publish_packet(b"c", b"x"))
        await asyncio.sleep(1)

    async def second() -> None:
        sim.withholds_acks = False
        sim.send(b"\x40\x02\x00\x01")
        assert (await sim.mqtt.publish("a", b"x", qos=1)).reason == 0
        assert (await waiting[0]).reason == 0  # it continues, because it is in the same loop
        await sim.mqtt.disconnect()

    waiting: list[asyncio.Task[Any]] = []
    loop = SimulatedLoop(sim)
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(first())
    loop.run_until_complete(asyncio.wait_for(second(), 100))
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert_closed(sim)


# ---- callbacks that raise


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
@pytest.mark.parametrize("name", ["on_state", "on_ack", "on_subscribed", "on_unsubscribed"])
def test_an_exception_in_a_callback_does_not_stop_the_client(name: str, error: Any) -> None:
    sim = AsyncBrokerSimulation()
    errors: list[Any] = []

    def fail(*arguments: Any) -> None:
        setattr(sim.mqtt, name, None)
        raise error

    def report(error: Any) -> None:
        errors.append(type(error))
        raise ValueError("in on_error, too")

    sim.mqtt.on_error = report

    async def main(client: Client) -> None:
        setattr(client, name, fail)
        if name == "on_state":
            sim.stream.closed_by_broker = True
            await asyncio.sleep(10)
        await client.subscribe("c", print)
        await client.unsubscribe("c")
        assert (await client.publish("a", b"x", qos=1)).reason == 0

    sim.play(main)
    assert errors == [error]


def test_an_unexpected_exception_and_a_failing_on_error_do_not_stop_the_client() -> None:
    sim = AsyncBrokerSimulation()

    def fail(error: Any) -> None:
        raise ValueError("in on_error")

    async def main(client: Client) -> None:
        client.on_error = fail
        sim.stream.readinto = lambda buf, n: 1 // 0
        sim.send(b"\xd0\x00")
        await asyncio.sleep(10)
        assert client.is_connected and client.connection_count == 2

    sim.play(main)


def test_a_refused_connect_closes_everything() -> None:
    sim = AsyncBrokerSimulation()
    sim.replies[0x10] = lambda stream, first, body: make_packet(0x20, b"\x00\x86\x00")

    async def main() -> None:
        for _ in range(2):
            with pytest.raises(Exception, match="0x86"):
                async with sim.mqtt:
                    pass
            assert_closed(sim)

    run(sim, main())
    sim.mqtt.sync_client.poll(1000)
    assert len(sim.streams) == 2
