"""The client under asyncio with a scripted broker, on a simulated clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from errno import ENOTCONN, ETIMEDOUT
from typing import Any

import pytest
from answering_broker import Answers

from helper import message, packet
from host_tests.aio.simulated_loop import Selector, run
from umqtt5.aio import Client
from umqtt5.core.errors import MQTTError
from umqtt5.properties import CONTENT_TYPE, pack


class There(Answers):  # type: ignore[misc]
    """A broker, and an asyncio client of it."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.mqtt = Client("broker", client_id="c", transport=self.connect, **options)
        self.silent = False  # it does not acknowledge

    def connect(self, host: str, port: int) -> Any:
        stream = super().connect(host, port)
        stream.number = 10_000 + len(self.streams)
        stream.fileno = lambda: stream.number
        return stream

    def publish_came(self, stream: Any, first: int, body: bytes) -> bytes:
        return b"" if self.silent else super().publish_came(stream, first, body)  # type: ignore[no-any-return]

    def send(self, *packets: bytes) -> None:
        self.stream.inbox += b"".join(packets)

    def written(self, first: int) -> list[bytes]:
        """The bodies of the packets with just this first byte."""
        return [body for kind, body in self.packets if kind == first]

    def play(self, main: Callable[[Client], Awaitable[Any]]) -> Any:
        """Run `main(client)` in `async with client`."""

        async def inside() -> Any:
            async with self.mqtt as client:
                return await main(client)

        return run(self, inside())


def to_c(number: int, qos: int = 1, topic: bytes = b"c") -> bytes:
    """A message of the broker to `topic`, whose payload is its number."""
    return message(topic, b"%d" % number, qos, number)  # type: ignore[no-any-return]


# ---- the link


def test_async_with_connects_and_disconnects() -> None:
    there = There()
    told = []
    there.mqtt.on_state = lambda client, connected, error: told.append((client, connected, error))

    async def main(client: Client) -> None:
        assert client.connected and client.packet is client.driver.packet

    there.play(main)
    assert told == [(there.mqtt, True, None), (there.mqtt, False, None)]
    assert there.stream.written.endswith(b"\xe0\x00") and there.stream.closed and not there.mqtt.connected


def test_leaving_by_a_cancellation_disconnects_too() -> None:
    there = There()

    async def main() -> None:
        async def forever() -> None:
            async with there.mqtt as client:
                async for _ in client.messages("a"):
                    pass

        task = asyncio.create_task(forever())
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(there, main())
    assert there.stream.written.endswith(b"\xe0\x00") and there.stream.closed


def test_a_first_try_that_fails_is_raised_and_not_repeated() -> None:
    there = There()
    there.there = False

    async def main() -> None:
        with pytest.raises(OSError):
            await there.mqtt.connect()
        await asyncio.sleep(1000)
        assert len(there.times) == 1
        there.there = True
        there._answers[0x10] = lambda stream, first, body: packet(0x20, b"\x00\x86\x00")
        with pytest.raises(MQTTError) as refused:
            await there.mqtt.connect()
        assert refused.value.code == 0x86
        await asyncio.sleep(1000)
        assert len(there.times) == 2

    run(there, main())


def test_connect_has_a_deadline_and_can_be_cancelled() -> None:
    there = There(timeout=3000)
    there.reachable = False

    async def main() -> None:
        start = there.now
        with pytest.raises(OSError) as late:
            await there.mqtt.connect()
        assert late.value.errno == ETIMEDOUT and 3000 <= there.now - start < 3100
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(there.mqtt.connect(), 1)
        await asyncio.sleep(100)
        assert len(there.times) == 2 and there.stream.closed

    run(there, main())


def test_connect_may_leave_it_to_the_background() -> None:
    there = There()
    there.there = False

    async def main() -> None:
        assert await there.mqtt.connect(wait=False) is False
        waiting = asyncio.create_task(there.mqtt.publish("a", b"x", qos=1))
        await asyncio.sleep(3)
        there.there = True
        assert (await waiting).reason == 0 and there.mqtt.connected
        await there.mqtt.disconnect()

    run(there, main())


def test_what_no_transport_should_raise_reaches_the_user() -> None:
    there = There()
    errors: list[Exception] = []

    def broken(host: str, port: int) -> None:
        raise ValueError("no such bus")

    client = Client("broker", transport=broken)
    client.on_error = errors.append

    async def main() -> None:
        with pytest.raises(ValueError):
            await client.connect()

    run(there, main())
    assert [str(error) for error in errors] == ["no such bus"]


def test_idle_it_wakes_for_its_deadlines_only() -> None:
    """A ping, its bound, and its answer: no more than that in each interval."""
    there = There(keep_alive=60)
    rounds = []
    step = there.mqtt.driver._step
    there.mqtt.driver._step = lambda: rounds.append(there.now) or step()

    async def main(client: Client) -> None:
        await client.publish("a", b"x", qos=1)
        await asyncio.sleep(1)
        loop: Any = asyncio.get_running_loop()
        selector: Selector = loop.selector
        waits = selector.waits
        rounds.clear()
        await asyncio.sleep(600)
        pings = len(there.written(0xC0))
        assert 9 <= pings <= 12 and there.mqtt.connects == 1
        assert selector.waits - waits == pings + 1  # and the end of the sleep
        assert len({now // 1000 for now in rounds}) == pings

    there.play(main)


def test_a_half_dead_link_is_noticed_and_comes_back() -> None:
    there = There(keep_alive=8)

    async def main(client: Client) -> None:
        there.stream.write = lambda buf, at, n: n  # swallowed
        start = there.now
        while client.connects < 2:
            await asyncio.sleep(0.1)
        assert there.now - start < 12000 + 1100

    there.play(main)


# ---- publish


def test_publish_returns_the_acknowledgement() -> None:
    there = There()
    heard = []
    there.mqtt.on_ack = lambda answer: heard.append(answer.reason)
    there._answers[0x30] = lambda stream, first, body: packet(0x40, body[3:5], b"\x10\x05\x1f\x00\x02no")

    async def main(client: Client) -> None:
        answer = await client.publish("a", b"x", qos=1)
        assert (answer.reason, answer.detail) == (0x10, "no")
        assert await client.publish("a", b"x") is None

    there.play(main)
    assert heard == [0x10]


def test_publish_raises_the_brokers_words_and_the_link_lives_on() -> None:
    there = There()
    there._answers[0x30] = lambda stream, first, body: packet(0x40, body[3:5], b"\x97\x05\x1f\x00\x02no")

    async def main(client: Client) -> None:
        with pytest.raises(MQTTError) as refused:
            await client.publish("a", b"x", qos=1)
        assert (refused.value.code, refused.value.detail) == (0x97, "no")
        with pytest.raises(ValueError):
            await client.publish("a/+", b"x")
        with pytest.raises(ValueError):
            await client.publish("a", bytes(5000), qos=1)
        assert client.connected and client.connects == 1

    there.play(main)


def test_many_publish_at_once_through_a_small_outbox_in_the_order_of_their_calls() -> None:
    there = There(inflight=2, outbox=200)

    async def main(client: Client) -> None:
        answers = await asyncio.gather(*[client.publish("a", b"%03d" % i, qos=1) for i in range(100)])
        assert [answer.reason for answer in answers] == [0] * 100

    there.play(main)
    assert [int(body[-3:]) for body in there.written(0x32)] == list(range(100))


def test_qos_0_waits_for_a_link_and_for_room() -> None:
    there = There(tx=128)

    async def main(client: Client) -> None:
        there.stream.stalled = True
        sent = [asyncio.create_task(client.publish("a", bytes(80))) for _ in range(3)]
        await asyncio.sleep(1)
        assert [task.done() for task in sent] == [True, False, False]
        there.stream.stalled = False
        await asyncio.gather(*sent)
        there.stream.gone, there.there = True, False
        await asyncio.sleep(1)
        later = asyncio.create_task(client.publish("late", b""))
        stored = asyncio.create_task(client.publish("stored", b"", qos=1))
        await asyncio.sleep(1)
        assert not later.done() and client.session.outbox.count == 1  # which does not wait behind it
        there.there = True
        await asyncio.gather(later, stored)

    there.play(main)
    assert len(there.written(0x30)) == 4


def test_a_publish_that_is_given_up_stays_in_the_outbox() -> None:
    there = There()

    async def main(client: Client) -> None:
        there.silent = True
        with pytest.raises(OSError) as late:
            await client.publish("a", b"1", qos=1, timeout=700)
        assert late.value.errno == ETIMEDOUT
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.publish("a", b"2", qos=1), 1)
        assert client.session.outbox.count == 2
        there.silent = False
        there.stream.gone = True
        answer = await client.publish("a", b"3", qos=1)
        assert answer.reason == 0 and client.session.outbox.count == 0 and not client._waits

    there.play(main)
    assert [body[-1:] for body in there.written(0x32)][-1:] == [b"3"]


def test_one_that_waits_for_room_and_is_cancelled_lets_the_next_go() -> None:
    there = There(inflight=1)

    async def main(client: Client) -> None:
        there.silent = True
        tasks = [asyncio.create_task(client.publish("a", b"%d" % i, qos=1)) for i in range(3)]
        await asyncio.sleep(1)
        tasks[1].cancel()
        there.silent = False
        there.send(b"\x40\x02\x00\x01")
        await tasks[0]
        await tasks[2]
        assert tasks[1].cancelled()

    there.play(main)
    assert [body[-1:] for body in there.written(0x32)] == [b"0", b"2"]


def test_one_that_is_cancelled_when_its_turn_comes_lets_the_next_go_at_once() -> None:
    there = There(inflight=1)

    async def main(client: Client) -> None:
        there.silent = True
        tasks = [asyncio.create_task(client.publish("a", b"%d" % i, qos=1)) for i in range(3)]
        await asyncio.sleep(1)
        client.on_ack = lambda answer: tasks[1].cancel()
        there.silent = False
        there.send(b"\x40\x02\x00\x01")
        await asyncio.sleep(1)
        assert tasks[2].done() and tasks[1].cancelled()

    there.play(main)


def test_disconnect_ends_who_waits_and_before_connect_nobody_does() -> None:
    there = There()
    there.silent = True

    async def main() -> None:
        with pytest.raises(OSError) as early:
            await there.mqtt.publish("a", b"x")
        assert early.value.errno == ENOTCONN
        await there.mqtt.connect()
        waiting = asyncio.create_task(there.mqtt.publish("a", b"x", qos=1))
        await asyncio.sleep(1)
        await there.mqtt.disconnect()
        with pytest.raises(OSError) as ended:
            await waiting
        assert ended.value.errno == ENOTCONN and there.mqtt.session.outbox.count == 1
        there.silent = False
        await there.mqtt.connect()
        await asyncio.sleep(1)
        assert there.mqtt.session.outbox.count == 0
        await there.mqtt.disconnect()

    run(there, main())


def test_a_broker_that_reads_nothing_does_not_hold_up_the_end() -> None:
    there = There(timeout=2000)

    async def main() -> None:
        await there.mqtt.connect()
        there.stream.stalled = True
        await there.mqtt.publish("a", b"x")
        start = there.now
        await there.mqtt.disconnect()
        assert there.now - start <= 2100 and there.stream.closed

    run(there, main())


# ---- subscribe


def test_subscribe_awaits_the_brokers_answer() -> None:
    there = There()
    got = []

    async def main(client: Client) -> None:
        answer = await client.subscribe("c", lambda m: got.append(m.payload), qos=1)
        assert answer.reason == 1
        await client.publish("c", b"x", qos=1)
        await asyncio.sleep(1)
        assert (await client.unsubscribe("c")).reason == 0
        with pytest.raises(ValueError):
            await client.unsubscribe("c")
        there._answers[0x80] = lambda stream, first, body: packet(
            0x90, body[:2], b"\x05\x1f\x00\x02no", b"\x87"
        )
        with pytest.raises(MQTTError) as refused:
            await client.subscribe("secret", print)
        assert (refused.value.code, refused.value.detail) == (0x87, "no")

    there.play(main)
    assert got == [b"x"]


def test_unsubscribing_ends_where_a_new_session_knows_of_nothing() -> None:
    there = There()

    async def main(client: Client) -> None:
        await client.subscribe("c", print)
        there._answers[0xA0] = lambda stream, first, body: b""
        ending = asyncio.create_task(client.unsubscribe("c"))
        await asyncio.sleep(1)
        assert not ending.done()
        there.stream.gone = True
        assert await ending is None

    there.play(main)


# ---- requests


def test_requests_and_their_answers() -> None:
    there = There(inflight=2)

    async def main(client: Client) -> None:
        await client.responder("ask", lambda m: m.payload + b"!")
        answers = await asyncio.gather(*[client.request("ask", b"%d" % i, timeout=5000) for i in range(7)])
        assert answers == [b"%d!" % i for i in range(7)]
        start = there.now
        with pytest.raises(OSError) as late:
            await client.request("nobody", b"", timeout=700)
        assert late.value.errno == ETIMEDOUT and 700 <= there.now - start < 800

    there.play(main)


def test_a_copy_of_a_request_can_be_answered_later() -> None:
    there = There()

    async def main(client: Client) -> None:
        async def serve() -> None:
            async for request in client.messages("ask", qos=1):
                assert request.property(CONTENT_TYPE) == "text/plain"
                client.respond(request, request.payload * 2)

        task = asyncio.create_task(serve())
        assert await client.request("ask", b"x", properties=pack(content_type="text/plain")) == b"xx"
        task.cancel()

    there.play(main)


# ---- messages


def test_messages_are_copies() -> None:
    there = There()
    block = pack(content_type="text", user=[("a", "1"), ("a", "2")])

    async def main(client: Client) -> None:
        async with client.messages("c", qos=1) as messages:
            there.send(message(b"c", b"one", 1, 1, block, flags=1), message(b"c", b"two"))
            first = await messages.__anext__()
            second = await messages.__anext__()
            assert (first.topic, first.payload, first.qos, first.retain) == ("c", b"one", 1, True)
            assert first.property(CONTENT_TYPE) == "text" and first.property(0x26, 1) == ("a", "2")
            assert (second.payload, second.retain, second.property(CONTENT_TYPE)) == (b"two", False, None)

    there.play(main)
    assert there.written(0x40) == [b"\x00\x01"] and len(there.came(0xA0)) == 0


def take(messages: Any, n: int) -> Awaitable[list[int]]:
    async def some() -> list[int]:
        return [int((await messages.__anext__()).payload) for _ in range(n)]

    return some()


def acknowledged(there: There) -> list[tuple[int, int]]:
    """(packet identifier, reason) of the PUBACKs and PUBRECs that went out, in order."""
    return [
        (body[1], body[2] if len(body) > 2 else 0) for first, body in there.packets if first in (0x40, 0x50)
    ]


@pytest.mark.parametrize("qos", [1, 2])
def test_the_oldest_gives_way(qos: int) -> None:
    there = There()

    async def main(client: Client) -> None:
        messages = client.messages("c", qos=qos, queue=3)
        await asyncio.sleep(1)
        there.send(*[to_c(i, qos) for i in range(1, 6)])
        await asyncio.sleep(1)
        assert messages.dropped == 2 and await take(messages, 3) == [3, 4, 5]

    there.play(main)
    assert acknowledged(there) == [(i, 0) for i in range(1, 6)]


@pytest.mark.parametrize("qos", [1, 2])
def test_the_newest_is_refused_and_the_broker_told(qos: int) -> None:
    there = There()
    errors: list[Exception] = []
    there.mqtt.on_error = errors.append

    async def main(client: Client) -> None:
        messages = client.messages("c", qos=qos, queue=3, overflow="newest")
        await asyncio.sleep(1)
        there.send(*[to_c(i, qos) for i in range(1, 6)])
        await asyncio.sleep(1)
        assert messages.dropped == 2 and await take(messages, 3) == [1, 2, 3]

    there.play(main)
    assert acknowledged(there) == [(1, 0), (2, 0), (3, 0), (4, 0x80), (5, 0x80)] and not errors


@pytest.mark.parametrize("qos", [1, 2])
def test_with_wait_a_message_is_not_acknowledged_before_there_is_room(qos: int) -> None:
    there = There()

    async def main(client: Client) -> None:
        messages = client.messages("c", qos=qos, queue=2, overflow="wait")
        await asyncio.sleep(1)
        there.send(*[to_c(i, qos) for i in range(1, 6)])
        await asyncio.sleep(1)
        assert acknowledged(there) == [(1, 0), (2, 0)]
        assert await take(messages, 1) == [1]
        await asyncio.sleep(1)
        assert acknowledged(there) == [(1, 0), (2, 0), (3, 0)]
        assert await take(messages, 4) == [2, 3, 4, 5]
        await asyncio.sleep(1)
        assert acknowledged(there) == [(i, 0) for i in range(1, 6)] and messages.dropped == 0

    there.play(main)


def test_while_it_waits_the_link_and_all_else_goes_on() -> None:
    there = There(keep_alive=10)
    others = []

    async def main(client: Client) -> None:
        messages = client.messages("c", qos=1, queue=1, overflow="wait")
        await client.subscribe("other", lambda m: others.append(m.payload), 1)
        there.send(*[to_c(i) for i in range(1, 4)], message(b"other", b"1", 1, 9), message(b"other", b"0"))
        await asyncio.sleep(3600)
        assert client.connects == 1 and client.connected and others == [b"1", b"0"]
        # in the order of arrival (4.6): that of the other message, too
        assert acknowledged(there) == [(1, 0)]
        assert (await client.publish("a", b"x", qos=1)).reason == 0
        assert await take(messages, 3) == [1, 2, 3]
        await asyncio.sleep(1)
        assert acknowledged(there) == [(1, 0), (2, 0), (3, 0), (9, 0)]
        there.send(message(b"c", b"10"), message(b"c", b"11"))
        await asyncio.sleep(1)
        assert messages.dropped == 1 and await take(messages, 1) == [10]

    there.play(main)


@pytest.mark.parametrize("qos", [1, 2])
def test_a_resumed_session_sends_what_was_not_acknowledged_again(qos: int) -> None:
    there = There()
    there.accept = lambda stream, properties: packet(
        0x20, b"\x01" if len(there.streams) > 1 else b"\x00", b"\x00\x00"
    )

    async def main(client: Client) -> None:
        messages = client.messages("c", qos=qos, queue=1, overflow="wait")
        await asyncio.sleep(1)
        there.send(*[to_c(i, qos) for i in range(1, 4)])
        await asyncio.sleep(1)
        for _ in range(3):
            there.stream.gone = True
            await asyncio.sleep(10)
            there.send(message(b"c", b"2", qos, 2, flags=8), message(b"c", b"3", qos, 3, flags=8))
            await asyncio.sleep(1)
        assert acknowledged(there) == [(1, 0)] and client.connects == 4
        assert await take(messages, 3) == [1, 2, 3]
        await asyncio.sleep(1)
        assert acknowledged(there) == [(1, 0), (2, 0), (3, 0)] and not messages._queue

    there.play(main)


def test_a_lost_session_leaves_the_copies_there_are() -> None:
    there = There()

    async def main(client: Client) -> None:
        messages = client.messages("c", qos=1, queue=1, overflow="wait")
        await asyncio.sleep(1)
        there.send(*[to_c(i) for i in range(1, 4)])
        await asyncio.sleep(1)
        there.stream.gone = True
        await asyncio.sleep(10)
        there.send(to_c(1), to_c(2))
        await asyncio.sleep(1)
        assert await take(messages, 5) == [1, 2, 3, 1, 2]
        await asyncio.sleep(1)
        assert acknowledged(there) == [(1, 0), (1, 0), (2, 0)]

    there.play(main)


def test_a_broker_that_sends_far_more_than_it_may_is_sent_away() -> None:
    there = There(inflight=4)

    async def main(client: Client) -> None:
        client.messages("c", qos=1, queue=1, overflow="wait")
        await asyncio.sleep(1)
        there.send(*[to_c(i) for i in range(1, 60)])
        await asyncio.sleep(0.5)
        assert there.streams[0].written.endswith(b"\xe0\x01\x93")

    there.play(main)


def test_an_iterator_lives_on_over_reconnects_and_ends_with_disconnect() -> None:
    there = There()
    got = []

    async def main() -> None:
        await there.mqtt.connect()

        async def consume() -> str:
            async for m in there.mqtt.messages("c", qos=1):
                got.append(int(m.payload))
            return "ended"

        task = asyncio.create_task(consume())
        for i in range(1, 4):
            await asyncio.sleep(10)
            there.send(to_c(i))
            await asyncio.sleep(1)
            there.stream.gone = True
        await asyncio.sleep(10)
        there.send(to_c(4))
        await asyncio.sleep(1)
        await there.mqtt.disconnect()
        assert await task == "ended"

    run(there, main())
    assert got == [1, 2, 3, 4] and there.mqtt.connects == 4


def test_leaving_async_with_unsubscribes() -> None:
    there = There()

    async def main(client: Client) -> None:
        with pytest.raises(KeyError):
            async with client.messages("c", qos=1, overflow="wait", queue=1) as messages:
                assert "c" in [topic.decode() for topic in there.subscribed]
                there.send(*[to_c(i) for i in range(1, 4)])
                async for m in messages:
                    raise KeyError(m.topic)
        await asyncio.sleep(1)
        assert not there.subscribed and acknowledged(there) == [(1, 0), (2, 0), (3, 0)]
        assert client.connected and not client.open

    there.play(main)


def test_a_refused_subscription_is_raised_by_the_iterator() -> None:
    there = There()
    there._answers[0x80] = lambda stream, first, body: packet(0x90, body[:2], b"\x05\x1f\x00\x02no", b"\x87")

    async def main(client: Client) -> None:
        with pytest.raises(MQTTError) as refused:
            async for _ in client.messages("c"):
                pass
        assert (refused.value.code, refused.value.detail) == (0x87, "no")
        with pytest.raises(MQTTError):
            async with client.messages("d"):
                pass

    there.play(main)


def test_another_iterator_over_the_same_filter_takes_over() -> None:
    there = There()

    async def main(client: Client) -> None:
        first = client.messages("c", qos=1)
        await asyncio.sleep(1)
        there.send(to_c(1), to_c(2))
        await asyncio.sleep(1)
        assert await take(first, 1) == [1]
        second = client.messages("c", qos=1)
        there.send(to_c(3))
        await asyncio.sleep(1)
        assert await take(second, 2) == [2, 3]
        assert [m async for m in first] == []

    there.play(main)


def test_unsubscribe_ends_an_iterator_behind_what_has_come() -> None:
    there = There()

    async def main(client: Client) -> None:
        messages = client.messages("c", qos=1)
        await asyncio.sleep(1)
        there.send(to_c(1))
        await asyncio.sleep(1)
        await client.unsubscribe("c")
        assert [m.payload async for m in messages] == [b"1"]

    there.play(main)


def test_arguments_that_make_no_sense() -> None:
    there = There()
    for options in ({"overflow": "all"}, {"queue": 0}):
        with pytest.raises(ValueError):
            there.mqtt.messages("c", **options)
    assert not there.mqtt.open
    with pytest.raises(AttributeError):
        there.mqtt.poll(1000)  # would block the loop


def test_an_exception_in_one_consumer_and_in_a_callback_ends_nothing_else() -> None:
    there = There()
    errors: list[Exception] = []
    there.mqtt.on_error = errors.append
    there.mqtt.on_ack = lambda answer: 1 // 0

    async def main(client: Client) -> None:
        async def fail() -> None:
            async for _ in client.messages("c", qos=1):
                raise KeyError("mine")

        task = asyncio.create_task(fail())
        await asyncio.sleep(1)
        there.send(to_c(1))
        with pytest.raises(KeyError):
            await task
        assert (await client.publish("a", b"x", qos=1)).reason == 0
        assert client.connected and client.connects == 1

    there.play(main)
    assert [type(error) for error in errors] == [ZeroDivisionError]


def test_cancelling_a_consumer_that_waits_leaves_the_iterator_whole() -> None:
    there = There()

    async def main(client: Client) -> None:
        messages = client.messages("c", qos=1)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(messages.__anext__(), 1)
        there.send(to_c(1))
        assert await take(messages, 1) == [1]

    there.play(main)
