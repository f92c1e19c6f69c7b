"""The asyncio client with a simulated broker, on a simulated clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from errno import ENOTCONN, ETIMEDOUT
from typing import Any

import pytest

from helper import make_packet, publish_packet
from host_tests.aio.async_broker import AsyncBrokerSimulation, to_c
from host_tests.aio.simulated_loop import SimulatedSelector, run
from umqtt5.aio import Client
from umqtt5.core.errors import MQTTError
from umqtt5.properties import CONTENT_TYPE, pack

# ---- connection


def test_async_with_connects_and_disconnects() -> None:
    sim = AsyncBrokerSimulation()
    states = []
    sim.mqtt.on_state = lambda client, connected, error: states.append((client, connected, error))

    async def main(client: Client) -> None:
        assert client.is_connected and client.packet is client.sync_client.packet

    sim.play(main)
    assert states == [(sim.mqtt, True, None), (sim.mqtt, False, None)]
    assert sim.stream.written.endswith(b"\xe0\x00") and sim.stream.closed and not sim.mqtt.is_connected


def test_cancelling_the_task_in_async_with_disconnects() -> None:
    sim = AsyncBrokerSimulation()

    async def main() -> None:
        async def forever() -> None:
            async with sim.mqtt as client:
                async for _ in client.messages("a"):
                    pass

        task = asyncio.create_task(forever())
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(sim, main())
    assert sim.stream.written.endswith(b"\xe0\x00") and sim.stream.closed


def test_connect_raises_a_failed_first_attempt_and_does_not_retry() -> None:
    sim = AsyncBrokerSimulation()
    sim.broker_listens = False

    async def main() -> None:
        with pytest.raises(OSError):
            await sim.mqtt.connect()
        await asyncio.sleep(1000)
        assert len(sim.connect_times) == 1
        sim.broker_listens = True
        sim.replies[0x10] = lambda stream, first, body: make_packet(0x20, b"\x00\x86\x00")
        with pytest.raises(MQTTError) as refused:
            await sim.mqtt.connect()
        assert refused.value.code == 0x86
        await asyncio.sleep(1000)
        assert len(sim.connect_times) == 2

    run(sim, main())


def test_connect_has_a_deadline_and_can_be_cancelled() -> None:
    sim = AsyncBrokerSimulation(timeout=3000)
    sim.is_writable = False

    async def main() -> None:
        start = sim.now
        with pytest.raises(OSError) as late:
            await sim.mqtt.connect()
        assert late.value.errno == ETIMEDOUT and 3000 <= sim.now - start < 3100
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(sim.mqtt.connect(), 1)
        await asyncio.sleep(100)
        assert len(sim.connect_times) == 2 and sim.stream.closed

    run(sim, main())


def test_connect_without_wait_retries_in_the_background() -> None:
    sim = AsyncBrokerSimulation()
    sim.broker_listens = False

    async def main() -> None:
        assert await sim.mqtt.connect(wait=False) is False
        waiting = asyncio.create_task(sim.mqtt.publish("a", b"x", qos=1))
        await asyncio.sleep(3)
        sim.broker_listens = True
        assert (await waiting).reason == 0 and sim.mqtt.is_connected
        await sim.mqtt.disconnect()

    run(sim, main())


def test_an_unexpected_exception_of_a_transport_is_raised_and_reported() -> None:
    sim = AsyncBrokerSimulation()
    errors: list[Exception] = []

    def broken(host: str, port: int) -> None:
        raise ValueError("no such bus")

    client = Client("broker", transport=broken)
    client.on_error = errors.append

    async def main() -> None:
        with pytest.raises(ValueError):
            await client.connect()

    run(sim, main())
    assert [str(error) for error in errors] == ["no such bus"]


def test_an_idle_client_wakes_only_for_its_deadlines() -> None:
    """The event loop sleeps once per ping, and once more for the sleep of the test itself."""
    sim = AsyncBrokerSimulation(keep_alive=60)
    rounds = []
    step = sim.mqtt.sync_client._poll_once
    sim.mqtt.sync_client._poll_once = lambda: rounds.append(sim.now) or step()

    async def main(client: Client) -> None:
        await client.publish("a", b"x", qos=1)
        await asyncio.sleep(1)
        loop: Any = asyncio.get_running_loop()
        selector: SimulatedSelector = loop.selector
        waits = selector.waits
        rounds.clear()
        await asyncio.sleep(600)
        pings = len(sim.written(0xC0))
        assert 9 <= pings <= 12 and sim.mqtt.connection_count == 1
        assert selector.waits - waits == pings + 1  # + 1: the sleep of the test
        assert len({now // 1000 for now in rounds}) == pings

    sim.play(main)


def test_a_half_open_link_is_detected_and_replaced() -> None:
    sim = AsyncBrokerSimulation(keep_alive=8)

    async def main(client: Client) -> None:
        sim.stream.write = lambda buf, at, n: n  # discards all data
        start = sim.now
        while client.connection_count < 2:
            await asyncio.sleep(0.1)
        assert sim.now - start < 12000 + 1100

    sim.play(main)


# ---- publish


def test_publish_returns_the_acknowledgement() -> None:
    sim = AsyncBrokerSimulation()
    reasons = []
    sim.mqtt.on_ack = lambda answer: reasons.append(answer.reason)
    sim.replies[0x30] = lambda stream, first, body: make_packet(0x40, body[3:5], b"\x10\x05\x1f\x00\x02no")

    async def main(client: Client) -> None:
        answer = await client.publish("a", b"x", qos=1)
        assert (answer.reason, answer.detail) == (0x10, "no")
        assert await client.publish("a", b"x") is None

    sim.play(main)
    assert reasons == [0x10]


def test_a_refused_publish_raises_the_reason_string_and_the_link_stays_up() -> None:
    sim = AsyncBrokerSimulation()
    sim.replies[0x30] = lambda stream, first, body: make_packet(0x40, body[3:5], b"\x97\x05\x1f\x00\x02no")

    async def main(client: Client) -> None:
        with pytest.raises(MQTTError) as refused:
            await client.publish("a", b"x", qos=1)
        assert (refused.value.code, refused.value.detail) == (0x97, "no")
        with pytest.raises(ValueError):
            await client.publish("a/+", b"x")
        with pytest.raises(ValueError):
            await client.publish("a", bytes(5000), qos=1)
        assert client.is_connected and client.connection_count == 1

    sim.play(main)


def test_concurrent_publishes_through_a_small_outbox_are_sent_in_call_order() -> None:
    sim = AsyncBrokerSimulation(inflight=2, outbox=200)

    async def main(client: Client) -> None:
        answers = await asyncio.gather(*[client.publish("a", b"%03d" % i, qos=1) for i in range(100)])
        assert [answer.reason for answer in answers] == [0] * 100

    sim.play(main)
    assert [int(body[-3:]) for body in sim.written(0x32)] == list(range(100))


def test_qos_0_waits_for_a_connection_and_for_room_in_the_buffer() -> None:
    sim = AsyncBrokerSimulation(tx=128)

    async def main(client: Client) -> None:
        sim.stream.is_stalled = True
        sent = [asyncio.create_task(client.publish("a", bytes(80))) for _ in range(3)]
        await asyncio.sleep(1)
        assert [task.done() for task in sent] == [True, False, False]
        sim.stream.is_stalled = False
        await asyncio.gather(*sent)
        sim.stream.closed_by_broker, sim.broker_listens = True, False
        await asyncio.sleep(1)
        later = asyncio.create_task(client.publish("late", b""))
        stored = asyncio.create_task(client.publish("stored", b"", qos=1))
        await asyncio.sleep(1)
        assert not later.done() and client.session.outbox.count == 1  # QoS 1 is stored at once
        sim.broker_listens = True
        await asyncio.gather(later, stored)

    sim.play(main)
    assert len(sim.written(0x30)) == 4


def test_a_publish_that_times_out_or_is_cancelled_stays_in_the_outbox() -> None:
    sim = AsyncBrokerSimulation()

    async def main(client: Client) -> None:
        sim.withholds_acks = True
        with pytest.raises(OSError) as late:
            await client.publish("a", b"1", qos=1, timeout=700)
        assert late.value.errno == ETIMEDOUT
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.publish("a", b"2", qos=1), 1)
        assert client.session.outbox.count == 2
        sim.withholds_acks = False
        sim.stream.closed_by_broker = True
        answer = await client.publish("a", b"3", qos=1)
        assert answer.reason == 0 and client.session.outbox.count == 0 and not client._waiters

    sim.play(main)
    assert [body[-1:] for body in sim.written(0x32)][-1:] == [b"3"]


def test_a_publish_cancelled_while_it_waits_for_room_does_not_block_the_next() -> None:
    sim = AsyncBrokerSimulation(inflight=1)

    async def main(client: Client) -> None:
        sim.withholds_acks = True
        tasks = [asyncio.create_task(client.publish("a", b"%d" % i, qos=1)) for i in range(3)]
        await asyncio.sleep(1)
        tasks[1].cancel()
        sim.withholds_acks = False
        sim.send(b"\x40\x02\x00\x01")
        await tasks[0]
        await tasks[2]
        assert tasks[1].cancelled()

    sim.play(main)
    assert [body[-1:] for body in sim.written(0x32)] == [b"0", b"2"]


def test_a_publish_cancelled_when_its_turn_comes_does_not_delay_the_next() -> None:
    sim = AsyncBrokerSimulation(inflight=1)

    async def main(client: Client) -> None:
        sim.withholds_acks = True
        tasks = [asyncio.create_task(client.publish("a", b"%d" % i, qos=1)) for i in range(3)]
        await asyncio.sleep(1)
        client.on_ack = lambda answer: tasks[1].cancel()
        sim.withholds_acks = False
        sim.send(b"\x40\x02\x00\x01")
        await asyncio.sleep(1)
        assert tasks[2].done() and tasks[1].cancelled()

    sim.play(main)


def test_publish_raises_enotconn_before_connect_and_if_disconnect_ends_its_wait() -> None:
    sim = AsyncBrokerSimulation()
    sim.withholds_acks = True

    async def main() -> None:
        with pytest.raises(OSError) as early:
            await sim.mqtt.publish("a", b"x")
        assert early.value.errno == ENOTCONN
        await sim.mqtt.connect()
        waiting = asyncio.create_task(sim.mqtt.publish("a", b"x", qos=1))
        await asyncio.sleep(1)
        await sim.mqtt.disconnect()
        with pytest.raises(OSError) as ended:
            await waiting
        assert ended.value.errno == ENOTCONN and sim.mqtt.session.outbox.count == 1
        sim.withholds_acks = False
        await sim.mqtt.connect()
        await asyncio.sleep(1)
        assert sim.mqtt.session.outbox.count == 0
        await sim.mqtt.disconnect()

    run(sim, main())


def test_disconnect_returns_in_time_if_the_broker_reads_nothing() -> None:
    sim = AsyncBrokerSimulation(timeout=2000)

    async def main() -> None:
        await sim.mqtt.connect()
        sim.stream.is_stalled = True
        await sim.mqtt.publish("a", b"x")
        start = sim.now
        await sim.mqtt.disconnect()
        assert sim.now - start <= 2100 and sim.stream.closed

    run(sim, main())


# ---- subscribe


def test_subscribe_returns_the_suback_or_raises_the_refusal() -> None:
    sim = AsyncBrokerSimulation()
    got = []

    async def main(client: Client) -> None:
        answer = await client.subscribe("c", lambda m: got.append(m.payload), qos=1)
        assert answer.reason == 1
        await client.publish("c", b"x", qos=1)
        await asyncio.sleep(1)
        assert (await client.unsubscribe("c")).reason == 0
        assert (await client.unsubscribe("c")).reason == 0x11  # No subscription existed
        sim.replies[0x80] = lambda stream, first, body: make_packet(
            0x90, body[:2], b"\x05\x1f\x00\x02no", b"\x87"
        )
        with pytest.raises(MQTTError) as refused:
            await client.subscribe("secret", print)
        assert (refused.value.code, refused.value.detail) == (0x87, "no")

    sim.play(main)
    assert got == [b"x"]


def test_unsubscribe_returns_none_if_the_broker_starts_a_new_session() -> None:
    sim = AsyncBrokerSimulation()

    async def main(client: Client) -> None:
        await client.subscribe("c", print)
        sim.replies[0xA0] = lambda stream, first, body: b""
        ending = asyncio.create_task(client.unsubscribe("c"))
        await asyncio.sleep(1)
        assert not ending.done()
        sim.stream.closed_by_broker = True
        assert await ending is None

    sim.play(main)


# ---- requests


def test_requests_receive_their_responses_or_time_out() -> None:
    sim = AsyncBrokerSimulation(inflight=2)

    async def main(client: Client) -> None:
        await client.responder("ask", lambda m: m.payload + b"!")
        answers = await asyncio.gather(*[client.request("ask", b"%d" % i, timeout=5000) for i in range(7)])
        assert answers == [b"%d!" % i for i in range(7)]
        start = sim.now
        with pytest.raises(OSError) as late:
            await client.request("nobody", b"", timeout=700)
        assert late.value.errno == ETIMEDOUT and 700 <= sim.now - start < 800

    sim.play(main)


def test_a_request_received_by_an_iterator_can_be_answered() -> None:
    sim = AsyncBrokerSimulation()

    async def main(client: Client) -> None:
        async def serve() -> None:
            async for request in client.messages("ask", qos=1):
                assert request.property(CONTENT_TYPE) == "text/plain"
                client.respond(request, request.payload * 2)

        task = asyncio.create_task(serve())
        assert await client.request("ask", b"x", properties=pack(content_type="text/plain")) == b"xx"
        task.cancel()

    sim.play(main)


# ---- messages


def test_messages_of_an_iterator_are_copies_with_their_properties() -> None:
    sim = AsyncBrokerSimulation()
    block = pack(content_type="text", user_properties=[("a", "1"), ("a", "2")])

    async def main(client: Client) -> None:
        async with client.messages("c", qos=1) as messages:
            sim.send(publish_packet(b"c", b"one", 1, 1, block, flags=1), publish_packet(b"c", b"two"))
            first = await messages.__anext__()
            second = await messages.__anext__()
            assert (first.topic, first.payload, first.qos, first.retain) == ("c", b"one", 1, True)
            assert first.property(CONTENT_TYPE) == "text" and first.property(0x26, 1) == ("a", "2")
            assert (second.payload, second.retain, second.property(CONTENT_TYPE)) == (b"two", False, None)

    sim.play(main)
    assert sim.written(0x40) == [b"\x00\x01"] and len(sim.received_bodies(0xA0)) == 0


def take(messages: Any, n: int) -> Awaitable[list[int]]:
    """Return the payloads of the next `n` messages as numbers."""

    async def take_all() -> list[int]:
        return [int((await messages.__anext__()).payload) for _ in range(n)]

    return take_all()


@pytest.mark.parametrize("qos", [1, 2])
def test_overflow_oldest_drops_the_oldest_message(qos: int) -> None:
    sim = AsyncBrokerSimulation()

    async def main(client: Client) -> None:
        messages = client.messages("c", qos=qos, queue_size=3)
        await asyncio.sleep(1)
        sim.send(*[to_c(i, qos) for i in range(1, 6)])
        await asyncio.sleep(1)
        assert messages.dropped == 2 and await take(messages, 3) == [3, 4, 5]

    sim.play(main)
    assert sim.acknowledged() == [(i, 0) for i in range(1, 6)]


@pytest.mark.parametrize("qos", [1, 2])
def test_overflow_newest_refuses_the_newest_message_with_0x80(qos: int) -> None:
    sim = AsyncBrokerSimulation()
    errors: list[Exception] = []
    sim.mqtt.on_error = errors.append

    async def main(client: Client) -> None:
        messages = client.messages("c", qos=qos, queue_size=3, overflow="newest")
        await asyncio.sleep(1)
        sim.send(*[to_c(i, qos) for i in range(1, 6)])
        await asyncio.sleep(1)
        assert messages.dropped == 2 and await take(messages, 3) == [1, 2, 3]

    sim.play(main)
    assert sim.acknowledged() == [(1, 0), (2, 0), (3, 0), (4, 0x80), (5, 0x80)] and not errors


@pytest.mark.parametrize("qos", [1, 2])
def test_overflow_wait_does_not_acknowledge_a_message_before_there_is_room(qos: int) -> None:
    sim = AsyncBrokerSimulation()

    async def main(client: Client) -> None:
        messages = client.messages("c", qos=qos, queue_size=2, overflow="wait")
        await asyncio.sleep(1)
        sim.send(*[to_c(i, qos) for i in range(1, 6)])
        await asyncio.sleep(1)
        assert sim.acknowledged() == [(1, 0), (2, 0)]
        assert await take(messages, 1) == [1]
        await asyncio.sleep(1)
        assert sim.acknowledged() == [(1, 0), (2, 0), (3, 0)]
        assert await take(messages, 4) == [2, 3, 4, 5]
        await asyncio.sleep(1)
        assert sim.acknowledged() == [(i, 0) for i in range(1, 6)] and messages.dropped == 0

    sim.play(main)


def test_overflow_wait_does_not_block_the_link_or_other_handlers() -> None:
    sim = AsyncBrokerSimulation(keep_alive=10)
    others = []

    async def main(client: Client) -> None:
        messages = client.messages("c", qos=1, queue_size=1, overflow="wait")
        await client.subscribe("other", lambda m: others.append(m.payload), 1)
        sim.send(
            *[to_c(i) for i in range(1, 4)],
            publish_packet(b"other", b"1", 1, 9),
            publish_packet(b"other", b"0"),
        )
        await asyncio.sleep(3600)
        assert client.connection_count == 1 and client.is_connected and others == [b"1", b"0"]
        # messages are acknowledged in the order of their arrival (4.6), so message 9 is not acknowledged yet
        assert sim.acknowledged() == [(1, 0)]
        assert (await client.publish("a", b"x", qos=1)).reason == 0
        assert await take(messages, 3) == [1, 2, 3]
        await asyncio.sleep(1)
        assert sim.acknowledged() == [(1, 0), (2, 0), (3, 0), (9, 0)]
        sim.send(publish_packet(b"c", b"10"), publish_packet(b"c", b"11"))
        await asyncio.sleep(1)
        assert messages.dropped == 1 and await take(messages, 1) == [10]

    sim.play(main)


@pytest.mark.parametrize("qos", [1, 2])
def test_messages_resent_by_a_resumed_session_are_queued_only_once(qos: int) -> None:
    sim = AsyncBrokerSimulation()
    sim.make_connack = lambda stream, properties: make_packet(
        0x20, b"\x01" if len(sim.streams) > 1 else b"\x00", b"\x00\x00"
    )

    async def main(client: Client) -> None:
        messages = client.messages("c", qos=qos, queue_size=1, overflow="wait")
        await asyncio.sleep(1)
        sim.send(*[to_c(i, qos) for i in range(1, 4)])
        await asyncio.sleep(1)
        for _ in range(3):
            sim.stream.closed_by_broker = True
            await asyncio.sleep(10)
            sim.send(publish_packet(b"c", b"2", qos, 2, flags=8), publish_packet(b"c", b"3", qos, 3, flags=8))
            await asyncio.sleep(1)
        assert sim.acknowledged() == [(1, 0)] and client.connection_count == 4
        assert await take(messages, 3) == [1, 2, 3]
        await asyncio.sleep(1)
        assert sim.acknowledged() == [(1, 0), (2, 0), (3, 0)] and not messages._queue

    sim.play(main)


def test_a_lost_session_does_not_discard_queued_messages() -> None:
    sim = AsyncBrokerSimulation()

    async def main(client: Client) -> None:
        messages = client.messages("c", qos=1, queue_size=1, overflow="wait")
        await asyncio.sleep(1)
        sim.send(*[to_c(i) for i in range(1, 4)])
        await asyncio.sleep(1)
        sim.stream.closed_by_broker = True
        await asyncio.sleep(10)
        sim.send(to_c(1), to_c(2))
        await asyncio.sleep(1)
        assert await take(messages, 5) == [1, 2, 3, 1, 2]
        await asyncio.sleep(1)
        assert sim.acknowledged() == [(1, 0), (1, 0), (2, 0)]

    sim.play(main)


def test_a_broker_that_exceeds_receive_maximum_is_disconnected_with_0x93() -> None:
    sim = AsyncBrokerSimulation(inflight=4)

    async def main(client: Client) -> None:
        client.messages("c", qos=1, queue_size=1, overflow="wait")
        await asyncio.sleep(1)
        sim.send(*[to_c(i) for i in range(1, 60)])
        await asyncio.sleep(0.5)
        assert sim.streams[0].written.endswith(b"\xe0\x01\x93")

    sim.play(main)


def test_an_iterator_continues_across_reconnects_and_ends_at_disconnect() -> None:
    sim = AsyncBrokerSimulation()
    got = []

    async def main() -> None:
        await sim.mqtt.connect()

        async def consume() -> str:
            async for m in sim.mqtt.messages("c", qos=1):
                got.append(int(m.payload))
            return "ended"

        task = asyncio.create_task(consume())
        for i in range(1, 4):
            await asyncio.sleep(10)
            sim.send(to_c(i))
            await asyncio.sleep(1)
            sim.stream.closed_by_broker = True
        await asyncio.sleep(10)
        sim.send(to_c(4))
        await asyncio.sleep(1)
        await sim.mqtt.disconnect()
        assert await task == "ended"

    run(sim, main())
    assert got == [1, 2, 3, 4] and sim.mqtt.connection_count == 4


def test_leaving_the_async_with_of_an_iterator_unsubscribes() -> None:
    sim = AsyncBrokerSimulation()

    async def main(client: Client) -> None:
        with pytest.raises(KeyError):
            async with client.messages("c", qos=1, overflow="wait", queue_size=1) as messages:
                assert "c" in [topic.decode() for topic in sim.subscription_ids]
                sim.send(*[to_c(i) for i in range(1, 4)])
                async for m in messages:
                    raise KeyError(m.topic)
        await asyncio.sleep(1)
        assert not sim.subscription_ids and sim.acknowledged() == [(1, 0), (2, 0), (3, 0)]
        assert client.is_connected and not client.iterators

    sim.play(main)


def test_a_refused_subscription_is_raised_by_the_iterator() -> None:
    sim = AsyncBrokerSimulation()
    sim.replies[0x80] = lambda stream, first, body: make_packet(
        0x90, body[:2], b"\x05\x1f\x00\x02no", b"\x87"
    )

    async def main(client: Client) -> None:
        with pytest.raises(MQTTError) as refused:
            async for _ in client.messages("c"):
                pass
        assert (refused.value.code, refused.value.detail) == (0x87, "no")
        with pytest.raises(MQTTError):
            async with client.messages("d"):
                pass

    sim.play(main)


def test_a_second_iterator_over_a_filter_takes_the_queue_and_ends_the_first() -> None:
    sim = AsyncBrokerSimulation()

    async def main(client: Client) -> None:
        first = client.messages("c", qos=1)
        await asyncio.sleep(1)
        sim.send(to_c(1), to_c(2))
        await asyncio.sleep(1)
        assert await take(first, 1) == [1]
        second = client.messages("c", qos=1)
        sim.send(to_c(3))
        await asyncio.sleep(1)
        assert await take(second, 2) == [2, 3]
        assert [m async for m in first] == []

    sim.play(main)


def test_unsubscribe_ends_an_iterator_after_the_queued_messages() -> None:
    sim = AsyncBrokerSimulation()

    async def main(client: Client) -> None:
        messages = client.messages("c", qos=1)
        await asyncio.sleep(1)
        sim.send(to_c(1))
        await asyncio.sleep(1)
        await client.unsubscribe("c")
        assert [m.payload async for m in messages] == [b"1"]

    sim.play(main)


def test_invalid_arguments_raise_and_there_is_no_blocking_poll() -> None:
    sim = AsyncBrokerSimulation()
    for options in ({"overflow": "all"}, {"queue_size": 0}):
        with pytest.raises(ValueError):
            sim.mqtt.messages("c", **options)
    assert not sim.mqtt.iterators
    with pytest.raises(AttributeError):
        sim.mqtt.poll(1000)  # the asyncio client has no `poll`, because it would block the event loop


def test_an_exception_in_a_consumer_or_callback_does_not_stop_the_client() -> None:
    sim = AsyncBrokerSimulation()
    errors: list[Exception] = []
    sim.mqtt.on_error = errors.append
    sim.mqtt.on_ack = lambda answer: 1 // 0

    async def main(client: Client) -> None:
        async def fail() -> None:
            async for _ in client.messages("c", qos=1):
                raise KeyError("mine")

        task = asyncio.create_task(fail())
        await asyncio.sleep(1)
        sim.send(to_c(1))
        with pytest.raises(KeyError):
            await task
        assert (await client.publish("a", b"x", qos=1)).reason == 0
        assert client.is_connected and client.connection_count == 1

    sim.play(main)
    assert [type(error) for error in errors] == [ZeroDivisionError]


def test_an_iterator_works_after_a_waiting_consumer_was_cancelled() -> None:
    sim = AsyncBrokerSimulation()

    async def main(client: Client) -> None:
        messages = client.messages("c", qos=1)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(messages.__anext__(), 1)
        sim.send(to_c(1))
        assert await take(messages, 1) == [1]

    sim.play(main)
