"""Scenarios for the asyncio client and a real broker: `scenarios.py HOST PORT NAME ...`.

Each coroutine that takes `host`, `port` and `unique` is one test. `unique` is a topic prefix that no other
run uses. A scenario fails by raising an exception. The scenarios run on CPython and in the MicroPython VM.
"""

import asyncio
import sys
from errno import ETIMEDOUT

from umqtt5 import MQTTError
from umqtt5.aio import Client


async def wait_until(condition):
    """Wait until `condition()` is true. Raises AssertionError after 40 s: the machine may be loaded."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the condition was not met within 40 s")


async def messages_of_each_qos_arrive(host, port, unique):
    async with Client(host, port, client_id=unique) as client:
        async with client.messages(unique + "/+", qos=2) as messages:
            assert await client.publish(unique + "/a", b"zero") is None
            assert (await client.publish(unique + "/b", "one é", qos=1)).reason == 0
            assert (await client.publish(unique + "/c", bytes(range(256)), qos=2)).reason == 0
            got = []
            async for m in messages:
                got.append((m.topic, m.payload, m.retain))
                if len(got) == 3:
                    break
        # the order is not fixed: a QoS 2 exchange may end after a QoS 1 exchange that began later
        assert sorted(got) == [
            (unique + "/a", b"zero", False),
            (unique + "/b", "one é".encode(), False),
            (unique + "/c", bytes(range(256)), False),
        ]
    assert not client.is_connected and client.error is None


async def many_tasks_publish_at_once(host, port, unique):
    """40 tasks share an outbox of 8 messages; one queue receives them all."""
    async with Client(host, port, client_id=unique) as client:
        numbers = []

        async def consume():
            async for m in client.messages(unique, qos=1, queue_size=64):
                numbers.append(int(m.payload))

        consumer = asyncio.create_task(consume())
        # the broker answers in order, so after this SUBACK the iterator is subscribed too
        await client.subscribe(unique + "/x", print)

        async def produce(i):
            for n in range(3):
                answer = await client.publish(unique, b"%d" % (100 * n + i), qos=1 + i % 2)
                assert answer.reason == 0

        await asyncio.gather(*[produce(i) for i in range(40)])
        await wait_until(lambda: len(numbers) == 120)
        assert sorted(numbers) == sorted([100 * n + i for n in range(3) for i in range(40)])
        consumer.cancel()
        assert client.connection_count == 1


async def subscriptions_of_an_earlier_program_are_removed(host, port, unique):
    """Program 2 resumes the session of program 1 and has one filter less."""
    from umqtt5 import stored_subscriptions

    async def run(filters):
        client = Client(host, port, client_id=unique, clean_start=False)
        stored = stored_subscriptions.attach(client, "subscriptions", 300)
        unhandled = []
        client.sync_client.on_unhandled = lambda m: unhandled.append(m.topic)
        async with client:
            for f in filters:
                await client.subscribe(f, print, qos=1)
            await asyncio.sleep(1)
            return client.session.resumed, stored, unhandled

    await run((unique + "/keep", unique + "/gone"))
    async with Client(host, port, client_id=unique + "-other") as other:
        await other.publish(unique + "/gone", b"queued", qos=1)
        resumed, stored, unhandled = await run((unique + "/keep",))
        assert resumed and unhandled == [unique + "/gone"] and not stored.leftovers and not stored.error
        await other.publish(unique + "/gone", b"lost", qos=1)
        _, _, unhandled = await run((unique + "/keep",))
        assert unhandled == []


async def a_slow_consumer_loses_nothing_with_overflow_wait(host, port, unique):
    async with Client(host, port, client_id=unique, inflight=8, keep_alive=5) as client:
        other = Client(host, port, client_id=unique + "o")
        async with other, client.messages(unique, qos=2, queue_size=2, overflow="wait") as messages:

            async def produce():
                for i in range(60):
                    await other.publish(unique, b"%d" % i, qos=1 if i % 2 else 2)

            producer = asyncio.create_task(produce())
            numbers = []
            while len(numbers) < 60:
                m = await messages.__anext__()
                numbers.append(int(m.payload))
                # a QoS 1 publish is still acknowledged while received messages wait in the queue
                assert (await client.publish(unique + "/seen", m.payload, qos=1)).reason < 0x80
            await producer
            for parity in (0, 1):
                assert [n for n in numbers if n % 2 == parity] == list(range(parity, 60, 2)), numbers
            assert messages.dropped == 0 and client.connection_count == 1


async def a_full_queue_drops_by_overflow_policy(host, port, unique):
    async with Client(host, port, client_id=unique) as client:
        oldest = client.messages(unique + "/a", qos=1, queue_size=3)
        newest = client.messages(unique + "/b", qos=1, queue_size=3, overflow="newest")
        await client.subscribe(unique + "/x", print)
        for i in range(10):
            await client.publish(unique + "/a", b"%d" % i, qos=1)
            await client.publish(unique + "/b", b"%d" % i, qos=1)
        await wait_until(lambda: oldest.dropped == 7 and newest.dropped == 7)
        for i in range(3):
            assert int((await oldest.__anext__()).payload) == 7 + i
            assert int((await newest.__anext__()).payload) == i
        await client.publish(unique + "/b", b"after", qos=1)
        assert (await newest.__anext__()).payload == b"after" and client.connection_count == 1


async def requests_receive_their_responses(host, port, unique):
    async with Client(host, port, client_id=unique) as client:
        await client.responder(unique + "/ask", lambda m: m.payload + b"!")
        answers = await asyncio.gather(
            *[client.request(unique + "/ask", b"%d" % i, timeout=9000, qos=i & 1) for i in range(12)]
        )
        assert answers == [b"%d!" % i for i in range(12)]
        try:
            await client.request(unique + "/nobody", b"", timeout=300)
            raise AssertionError("a request without a responder was answered")
        except OSError as error:
            assert error.errno == ETIMEDOUT


async def a_message_loop_may_request_for_each_message(host, port, unique):
    """The request example of docs/asyncio.md, with a queue of one message that is always full."""
    async with Client(host, port, client_id=unique) as client:
        await client.responder(unique + "/next", lambda m: m.payload)

        async def consume():
            async with client.messages(unique + "/set", qos=1, queue_size=1, overflow="wait") as messages:
                for i in range(12):
                    m = await messages.__anext__()
                    assert await client.request(unique + "/next", m.payload, timeout=9000) == b"%d" % i

        consumer = asyncio.create_task(consume())
        await asyncio.gather(*[client.publish(unique + "/set", b"%d" % i, qos=1) for i in range(12)])
        await consumer
        assert client.connection_count == 1


async def cancellation_keeps_state_consistent(host, port, unique):
    async with Client(host, port, client_id=unique) as client:
        got = []
        await client.subscribe(unique, lambda m: got.append(m.payload), qos=1)
        messages = client.messages(unique + "/m", qos=1)
        for i in range(30):
            tasks = [
                asyncio.create_task(client.publish(unique, b"%d" % i, qos=1)),
                asyncio.create_task(messages.__anext__()),
                asyncio.create_task(client.request(unique + "/nobody", b"", timeout=200)),
                asyncio.create_task(client.subscribe(unique + "/%d" % (i % 3), print)),
            ]
            await asyncio.sleep(0.001 * (i % 4))
            for task in tasks:
                task.cancel()
            for task in tasks:
                try:
                    await task
                except (asyncio.CancelledError, OSError):
                    pass
        assert (await client.publish(unique, b"last", qos=1)).reason == 0
        await wait_until(lambda: got and got[-1] == b"last")
        await client.publish(unique + "/m", b"still there", qos=1)
        assert (await messages.__anext__()).payload == b"still there"
        assert client.is_connected and client.connection_count == 1 and not client._waiters


async def an_exception_ends_only_its_task(host, port, unique):
    async with Client(host, port, client_id=unique) as client:

        async def fail():
            async for m in client.messages(unique + "/bad", qos=1):
                raise KeyError(m.topic)

        task = asyncio.create_task(fail())
        good = client.messages(unique + "/good", qos=1)
        await client.subscribe(unique + "/x", print)
        await client.publish(unique + "/bad", b"", qos=1)
        try:
            await task
            raise AssertionError("no exception")
        except KeyError:
            pass
        await client.publish(unique + "/good", b"", qos=1)
        assert (await good.__anext__()).topic == unique + "/good" and client.connection_count == 1


async def a_cancelled_task_disconnects_and_leaves_nothing_behind(host, port, unique):
    client = Client(host, port, client_id=unique)

    async def forever():
        async with client:
            async for _ in client.messages(unique):
                pass

    for _ in range(3):
        task = asyncio.create_task(forever())
        await wait_until(lambda: client.is_connected)
        task.cancel()
        try:
            await task
            raise AssertionError("not cancelled")
        except asyncio.CancelledError:
            pass
        assert not client.is_connected and client.stream_is_gone()
    # no background task is left
    await asyncio.sleep(0.2)
    assert client.connection_count == 3 and client._scheduler is None


Client.stream_is_gone = lambda self: self.sync_client.stream is None


async def pings_keep_an_idle_link_open(host, port, unique):
    # PINGRESP has to arrive within 55 % of the Keep Alive, also on a loaded machine
    async with Client(host, port, client_id=unique, keep_alive=4) as client:
        received = client.session.bytes_received
        await asyncio.sleep(8)
        assert client.is_connected and client.connection_count == 1
        assert client.session.bytes_received - received >= 4  # two PINGRESPs


async def a_loop_continues_after_a_broker_restart(host, port, unique):
    """Prints a line to ask the test, which reads the output, to restart the broker."""
    async with Client(host, port, client_id=unique) as client:
        got = []

        async def consume():
            async for m in client.messages(unique, qos=1):
                got.append(m.payload)

        consumer = asyncio.create_task(consume())
        await client.subscribe(unique + "/x", print)
        assert (await client.publish(unique, b"before", qos=1)).reason == 0
        await wait_until(lambda: got == [b"before"])
        # a loaded machine may not run this task between the loss of the link and the reconnect
        states = []
        client.on_state = lambda client, connected, error: states.append(connected)
        print("restart it")
        await wait_until(lambda: False in states)
        stored = asyncio.create_task(client.publish(unique + "/stored", b"", qos=1))
        await wait_until(lambda: client.is_connected)
        assert (await stored).reason in (0, 0x10)
        # the broker answers in order, so after this SUBACK the iterator is subscribed again
        await client.subscribe(unique + "/y", print)
        await client.publish(unique, b"after", qos=1)
        await wait_until(lambda: got == [b"before", b"after"])
        consumer.cancel()
        assert client.connection_count == 2


async def lost_links_lose_no_message(host, port, unique):
    """The link is lost at random moments, including after a stream is ready but before it is read."""
    async with Client(host, port, client_id=unique, inflight=16) as client:
        client.max_reconnect_delay = 10
        other = Client(host, port, client_id=unique + "o")
        numbers, sent = [], []
        losses = [0]

        async def consume():
            async with client.messages(unique, qos=2, queue_size=3, overflow="wait") as messages:
                async for m in messages:
                    numbers.append(int(m.payload))

        async def produce(publisher, number):
            while losses[0] < 60:
                number += 2
                sent.append(number)
                await publisher.publish(unique, b"%d" % number, qos=2)
                # mosquitto 2.0 sends a backlog at once and ignores Receive Maximum
                while len(sent) - len(numbers) > 12:
                    await asyncio.sleep(0.002)

        async with other:
            consumer = asyncio.create_task(consume())
            await client.subscribe(unique + "/x", print)
            producers = [asyncio.create_task(produce(client, 0)), asyncio.create_task(produce(other, 1))]
            while losses[0] < 60:
                await asyncio.sleep(0.001 * (losses[0] % 7))
                # also interrupts connections that are still being opened
                if client.is_connected or (losses[0] % 3 == 0 and client.sync_client.stream):
                    # as if the network failed: the client sends no DISCONNECT
                    client.sync_client._on_link_lost(OSError(104))
                    losses[0] += 1
            for producer in producers:
                await producer
            await wait_until(lambda: len(numbers) >= len(sent))
            assert sorted(numbers) == sorted(sent), (sorted(numbers), sorted(sent))
            await wait_until(lambda: client.connection_count > 40)
            consumer.cancel()
        assert not client._waiters


async def a_hanging_connect_attempt_times_out(host, port, unique, silent_port):
    """`silent_port` does not complete connections. The next attempt goes to the broker."""
    client = Client(host, int(silent_port), client_id=unique, timeout={"connect": 300})
    client.max_reconnect_delay = 10
    errors = []

    def on_state(client, connected, error):
        errors.append(error)
        client.sync_client.port = port

    client.on_state = on_state
    await client.connect(wait=False)
    assert (await client.publish(unique, b"", qos=1)).reason in (0, 0x10)
    assert errors[0].errno == ETIMEDOUT and errors[1] is None and client.connection_count == 1
    await client.disconnect()


async def connect_raises_if_nothing_listens(host, port, unique):
    try:
        async with Client(host, port, client_id=unique):
            raise AssertionError("connected although nothing listens")
    except OSError as error:
        assert error.errno in (111, 104), error


async def connect_raises_the_brokers_refusal(host, port, unique):
    """Prints the broker's reason."""
    try:
        async with Client(host, port, client_id=unique, user="nobody", password="wrong"):
            raise AssertionError("the broker accepted a wrong password")
    except MQTTError as error:
        print("reason", hex(error.code), error)


async def an_idle_client_allocates_nothing(host, port, unique):
    """Runs in the VM only. Prints the bytes allocated, the bytes still in use and the number of wake-ups.

    Measures 10 s without a ping, then 12 s with a ping every 4 s.
    The bytes that asyncio itself allocates for one sleep are subtracted.
    """
    import gc

    from micropython import mem_total

    for keep_alive, ms in ((60, 10000), (4, 12000)):
        async with Client(host, port, client_id=unique, keep_alive=keep_alive) as client:
            async with client.messages(unique, qos=1) as messages:
                await client.publish(unique, b"x", qos=1)
                await messages.__anext__()
                await asyncio.sleep_ms(1500)
                rounds = [0]
                on_ready = client._scheduler._on_ready

                def count_round(on_ready=on_ready, rounds=rounds):
                    rounds[0] += 1
                    on_ready()

                client._scheduler._on_ready = count_round
                await asyncio.sleep_ms(1)
                before = mem_total()
                await asyncio.sleep_ms(1)
                one_sleep = mem_total() - before
                gc.collect()
                gc.disable()
                rounds[0] = 0
                total, held = mem_total(), gc.mem_alloc()
                await asyncio.sleep_ms(ms)
                total, held = mem_total() - total - one_sleep, gc.mem_alloc() - held
                gc.enable()
                print("idle", keep_alive, total, held, rounds[0])


async def coroutine_handlers_get_copies(host, port, unique):
    """Handlers that are coroutine functions: methods, closures and a responder."""

    class Counter:
        async def count(self, message):
            await asyncio.sleep(0.05)
            numbers.append(int(message.payload))

    numbers, states = [], []

    async def on_state(client, connected, error):
        states.append(connected)

    async def respond(message):
        await asyncio.sleep(0.01)
        return message.payload + b"!"

    client = Client(host, port, client_id=unique, inflight=4)
    client.on_state = on_state
    async with client:
        await client.subscribe(unique + "/0", Counter().count)
        await client.subscribe(unique + "/1", lambda message: Counter().count(message), qos=1)
        await client.responder(unique + "/ask", respond)
        for i in range(0, 40, 2):
            await client.publish(unique + "/1", b"%d" % i, qos=1)
        await wait_until(lambda: len(numbers) == 20)
        for i in range(1, 4, 2):
            await client.publish(unique + "/0", b"%d" % i)
        assert await client.request(unique + "/ask", b"a", timeout=9000) == b"a!"
        await wait_until(lambda: len(numbers) == 22)
        assert sorted(numbers) == sorted(list(range(0, 40, 2)) + [1, 3]) and states == [True]
        client.on_state = None


async def a_generator_function_runs_on_micropython(host, port, unique):
    """MicroPython can't tell it from a coroutine function. CPython refuses it."""
    got, errors = [], []

    def handler(message):
        yield from asyncio.sleep_ms(1)
        got.append(message.payload)

    async with Client(host, port, client_id=unique) as client:
        client.on_error = errors.append
        await client.subscribe(unique, handler)
        await client.publish(unique, b"x")
        await wait_until(lambda: got or errors)
        if sys.implementation.name == "cpython":
            assert isinstance(errors[0], TypeError)
        else:
            assert got == [b"x"] and not errors


async def connects_cancelled_at_any_step_leave_nothing_behind(host, port, unique):
    client = Client(host, port, client_id=unique)

    async def use(held):
        async with client:
            await client.publish(unique, b"x", qos=1)
            await held.wait()

    for steps in range(60):
        held = asyncio.Event()
        task = asyncio.create_task(use(held))
        for _ in range(steps):
            await asyncio.sleep(0)
        for _ in range(1 + steps % 2):
            task.cancel()
            await asyncio.sleep(0)
        try:
            await task
            raise AssertionError("not cancelled")
        except asyncio.CancelledError:
            pass
        assert not client.is_connected and client.stream_is_gone() and client._scheduler is None
        assert not client._waiters and not client._connecting and not client.sync_client._should_connect
    async with client:
        assert (await client.publish(unique, b"y", qos=1)).reason in (0, 0x10)


async def main(host, port, name, *more):
    from os import urandom

    unique = "t" + "".join(["%02x" % b for b in urandom(4)])
    await globals()[name](host, int(port), unique, *more)
    print("done", name)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
