"""A timeout of each awaitable of the asyncio client holds in each state of the link (simulated clock)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from errno import ENOTCONN, ETIMEDOUT
from typing import Any

import pytest

from helper import make_packet
from host_tests.aio.async_broker import AsyncBrokerSimulation
from host_tests.aio.simulated_loop import run
from umqtt5.aio import Client

TIMEOUT = 700  # ms
TOLERANCE = 60  # ms


async def publish_in_background(client: Client, count: int, **arguments: Any) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(client.publish("fill", bytes(60), **arguments)) for _ in range(count)]
    await asyncio.sleep(0.01)
    return tasks


# ---- states of the link: each function brings the client into its state, and returns the tasks that it began


async def no_attempt_has_succeeded(sim: AsyncBrokerSimulation) -> list[asyncio.Task[Any]]:
    sim.broker_listens = False
    await sim.mqtt.connect(wait=False)
    await asyncio.sleep(400)
    return []


async def tcp_is_opening(sim: AsyncBrokerSimulation) -> list[asyncio.Task[Any]]:
    sim.is_writable = False
    await sim.mqtt.connect(wait=False)
    await asyncio.sleep(0.1)
    return []


async def connack_is_outstanding(sim: AsyncBrokerSimulation) -> list[asyncio.Task[Any]]:
    sim.replies[0x10] = lambda stream, first, body: b""
    await sim.mqtt.connect(wait=False)
    await asyncio.sleep(0.1)
    return []


async def link_is_lost(sim: AsyncBrokerSimulation) -> list[asyncio.Task[Any]]:
    await sim.mqtt.connect()
    sim.broker_listens = False
    sim.stream.closed_by_broker = True
    await asyncio.sleep(400)  # the delay between two tries grows to a minute
    return []


async def broker_refuses_permanently(sim: AsyncBrokerSimulation) -> list[asyncio.Task[Any]]:
    sim.replies[0x10] = lambda stream, first, body: make_packet(0x20, b"\x00\x87\x00")
    await sim.mqtt.connect(wait=False)
    await asyncio.sleep(1)
    assert sim.mqtt.has_permanent_error
    return []


async def outbox_is_full(sim: AsyncBrokerSimulation) -> list[asyncio.Task[Any]]:
    await sim.mqtt.connect()
    sim.withholds_acks = True
    return await publish_in_background(sim.mqtt, 20, qos=1)


async def link_is_lost_and_outbox_is_full(sim: AsyncBrokerSimulation) -> list[asyncio.Task[Any]]:
    tasks = await link_is_lost(sim)
    return tasks + await publish_in_background(sim.mqtt, 20, qos=1)


async def window_is_full(sim: AsyncBrokerSimulation) -> list[asyncio.Task[Any]]:
    sim.connack_properties = b"\x21\x00\x01"  # Receive Maximum 1
    await sim.mqtt.connect()
    sim.withholds_acks = True
    return await publish_in_background(sim.mqtt, 1, qos=2)


async def broker_is_silent(sim: AsyncBrokerSimulation) -> list[asyncio.Task[Any]]:
    await sim.mqtt.connect()
    sim.replies.clear()
    return []


async def tx_is_full(sim: AsyncBrokerSimulation) -> list[asyncio.Task[Any]]:
    await sim.mqtt.connect()
    sim.stream.is_stalled = True
    return await publish_in_background(sim.mqtt, 30)


async def client_is_disconnecting(sim: AsyncBrokerSimulation) -> list[asyncio.Task[Any]]:
    await sim.mqtt.connect()
    sim.stream.is_stalled = True
    tasks = [asyncio.create_task(sim.mqtt.disconnect())]
    await asyncio.sleep(0.01)
    return tasks


async def link_is_up(sim: AsyncBrokerSimulation) -> list[asyncio.Task[Any]]:
    await sim.mqtt.connect()
    return []


STATES = [
    no_attempt_has_succeeded,
    tcp_is_opening,
    connack_is_outstanding,
    link_is_lost,
    broker_refuses_permanently,
    outbox_is_full,
    link_is_lost_and_outbox_is_full,
    window_is_full,
    broker_is_silent,
    tx_is_full,
    client_is_disconnecting,
    link_is_up,
]


async def enter_messages(client: Client, **timeout: int) -> None:
    async with client.messages("m", qos=1, **timeout):
        pass


async def next_message(client: Client, **timeout: int) -> Any:
    messages = client.messages("m", qos=1, **timeout)
    try:
        return await messages.__anext__()
    except StopAsyncIteration:
        return None
    finally:
        messages.close()


CALLS: dict[str, Callable[..., Awaitable[Any]]] = {
    "connect": lambda client, **timeout: client.connect(**timeout),
    "disconnect": lambda client, **timeout: client.disconnect(**timeout),
    "publish 0": lambda client, **timeout: client.publish("a", b"x", **timeout),
    "publish 1": lambda client, **timeout: client.publish("a", b"x", qos=1, **timeout),
    "publish 2": lambda client, **timeout: client.publish("a", b"x", qos=2, **timeout),
    "subscribe": lambda client, **timeout: client.subscribe("s", print, **timeout),
    "unsubscribe": lambda client, **timeout: client.unsubscribe("u", **timeout),
    "request": lambda client, **timeout: client.request("r", b"x", **timeout),
    "request 1": lambda client, **timeout: client.request("r", b"x", qos=1, **timeout),
    "responder": lambda client, **timeout: client.responder("q", lambda message: b"", **timeout),
    "messages": enter_messages,
    "next message": next_message,
}


def assert_nothing_waits(client: Client, before: int) -> None:
    assert len(client._waiters) <= before
    assert not client._queues[2] and not client._connecting
    pending = getattr(client.sync_client, "_pending_requests", None)
    assert not pending or not pending._open


def play(state: Any, measure: Callable[[AsyncBrokerSimulation, Client], Awaitable[None]]) -> None:
    sim = AsyncBrokerSimulation(tx=256, outbox=1024, inflight=4)

    async def main() -> None:
        client = sim.mqtt
        client.sync_client.subscribe("u", print)
        tasks = await state(sim)
        before = len(client._waiters)
        await measure(sim, client)
        assert_nothing_waits(client, before)
        sim.is_writable = True
        await client.disconnect(timeout=1)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not client._waiters and client._scheduler is None and not sim.open_streams()
        assert not client.iterators and client._queues == ([], [], [])

    run(sim, main())


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_a_timeout_holds_in_each_state(state: Any, call: str) -> None:
    async def measure(sim: AsyncBrokerSimulation, client: Client) -> None:
        start = sim.now
        try:
            await CALLS[call](client, timeout=TIMEOUT)
        except OSError as error:
            if error.errno == ETIMEDOUT:
                assert sim.now - start >= TIMEOUT, sim.now - start
            else:
                # `connect` makes a try at once, which the broker may refuse
                assert error.errno == ENOTCONN or call == "connect"
        except Exception as error:
            assert call == "connect" and state is broker_refuses_permanently, error
        assert sim.now - start <= TIMEOUT + TOLERANCE, sim.now - start

    play(state, measure)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_wait_for_cancels_in_each_state_and_leaves_no_waiter(state: Any, call: str) -> None:
    async def measure(sim: AsyncBrokerSimulation, client: Client) -> None:
        start = sim.now
        try:
            await asyncio.wait_for(CALLS[call](client), TIMEOUT / 1000)
        except (asyncio.TimeoutError, OSError):
            pass
        except Exception as error:
            assert call == "connect" and state is broker_refuses_permanently, error
        assert sim.now - start <= TIMEOUT + TOLERANCE, sim.now - start

    play(state, measure)


def test_the_time_in_a_queue_counts() -> None:
    """The wait begins in a queue for room, and continues until the acknowledgement."""
    sim = AsyncBrokerSimulation(inflight=1)

    async def main(client: Client) -> None:
        sim.withholds_acks = True
        first = asyncio.create_task(client.publish("a", b"1", qos=1))
        await asyncio.sleep(0.01)
        start = sim.now
        second = asyncio.create_task(client.publish("a", b"2", qos=1, timeout=1000))
        await asyncio.sleep(0.6)
        sim.send(b"\x40\x02\x00\x01")  # acknowledges the first, so the second is sent
        with pytest.raises(OSError) as late:
            await second
        assert late.value.errno == ETIMEDOUT and 1000 <= sim.now - start <= 1000 + TOLERANCE
        assert first.done() and len(sim.written(0x32)) == 2
        sim.withholds_acks = False

    sim.play(main)


def test_a_request_from_the_queue_expires_at_the_broker_with_its_timeout() -> None:
    sim = AsyncBrokerSimulation(inflight=1)

    async def main(client: Client) -> None:
        first = asyncio.create_task(client.request("nobody", b"1", timeout=4000))
        await asyncio.sleep(0.01)
        start = sim.now
        with pytest.raises(OSError) as late:
            await client.request("nobody", b"2", timeout=5500)
        assert late.value.errno == ETIMEDOUT and 5500 <= sim.now - start <= 5500 + TOLERANCE
        with pytest.raises(OSError):
            await first
        # Message Expiry Interval (0x02) in seconds: the second request spent 4 s in the queue
        expiry = [body[body.index(b"\x02\x00\x00\x00") + 4] for body in sim.received_bodies(0x30)]
        assert expiry == [4, 2]

    sim.play(main)


@pytest.mark.parametrize("ended_by", ["timeout", "cancel"])
def test_a_request_that_is_given_up_frees_its_place(ended_by: str) -> None:
    sim = AsyncBrokerSimulation(inflight=1)

    async def main(client: Client) -> None:
        await client.responder("ask", lambda message: b"!")
        timeout = 500 if ended_by == "timeout" else 60_000
        first = asyncio.create_task(client.request("nobody", b"", timeout=timeout))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(client.request("ask", b"", timeout=2000))
        await asyncio.sleep(0.1)
        assert not second.done()
        if ended_by == "cancel":
            first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        start = sim.now
        assert await second == b"!" and sim.now - start < TOLERANCE

    sim.play(main)


def test_an_iterator_works_after_its_timeout() -> None:
    sim = AsyncBrokerSimulation()

    async def main(client: Client) -> None:
        async with client.messages("c", qos=1, timeout=500) as messages:
            for number in range(3):
                with pytest.raises(OSError) as late:
                    await messages.__anext__()
                assert late.value.errno == ETIMEDOUT
                await client.publish("c", b"%d" % number, qos=1)
                assert (await messages.__anext__()).payload == b"%d" % number

    sim.play(main)


def test_disconnect_returns_after_its_timeout_if_the_broker_reads_one_byte_at_a_time() -> None:
    """Each byte that the stream accepts restarts the write timeout of the session."""
    sim = AsyncBrokerSimulation()

    async def main() -> None:
        await sim.mqtt.connect()
        stream, write = sim.stream, sim.stream.write
        stream.is_stalled = True
        await publish_in_background(sim.mqtt, 10)
        stream.is_stalled = False

        def write_one(buf: Any, at: int, n: int) -> Any:
            accepted = write(buf, at, 1)
            stream.is_stalled = True
            return accepted

        async def read_slowly() -> None:
            while not stream.closed:
                stream.is_stalled = False
                await asyncio.sleep(1)

        stream.write = write_one
        reader = asyncio.create_task(read_slowly())
        start = sim.now
        await sim.mqtt.disconnect(timeout=3000)
        assert 3000 <= sim.now - start <= 3000 + TOLERANCE and stream.closed
        await reader

    run(sim, main())
