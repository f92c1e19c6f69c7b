"""What a client does over each transport: `scenarios.py NAME JSON`. Runs on CPython and in the VM.

The JSON object has `kind` (tcp, tls, mutual, ws, wss, line, socket), `host`, `port`, `ca`, `cert`, `path`.
"""

import json
import sys
from errno import ETIMEDOUT
from time import time

from umqtt5 import Client

_WAIT = 600  # times 50 ms


def wait_until(condition, *clients):
    for _ in range(_WAIT):
        if condition():
            return
        for client in clients:
            client.poll(50 // len(clients))
    raise AssertionError("it did not come")


def transport(settings):
    """The transport of a kind; the modules of others are not loaded."""
    from umqtt5.tcp import connect

    kind = settings["kind"]
    if kind in ("tls", "mutual", "wss"):
        from umqtt5 import tls

        cert = settings.get("cert")
        connect = tls.wrap(connect, tls.context(settings.get("ca"), cert, cert, settings.get("verify", True)))
    if kind in ("ws", "wss"):
        from umqtt5 import websocket

        connect = websocket.wrap(connect, settings.get("path", "/mqtt"), settings.get("headers", ()))
    if kind == "line":
        from umqtt5 import serial

        connect = serial.wrap(open(settings["fd"], "rb+", buffering=0))
    if kind == "socket":
        from umqtt5 import serial

        connect = serial.wrap(connected_socket(settings))
        if settings.get("secure"):
            from umqtt5 import tls

            connect = tls.wrap(connect, tls.context(settings["ca"]))
    return connect


def connected_socket(settings):
    import socket

    sock = socket.socket()
    sock.connect(socket.getaddrinfo(settings["host"], settings["port"])[0][-1])
    return sock


def make(settings, **options):
    return Client(settings["host"], settings["port"], transport=transport(settings), **options)


def publish(client, topic, data, qos):
    """Publish as soon as there is room."""
    wait_until(lambda: client.publish(topic, data, qos=qos), client)


def unique():
    from os import urandom

    return "t" + "".join(["%02x" % b for b in urandom(4)])


def pattern(size):
    return bytes([i * 7 + (i >> 8) & 255 for i in range(min(size, 70000))])


def messages_of_every_size_both_ways(settings):
    """QoS 0, 1 and 2, alone and many at once, to the broker and back."""
    topic = unique()
    sizes = settings.get("sizes", (0, 1, 100, 125, 126, 127, 500, 511, 512, 513, 4096, 16384, 17000, 70000))
    largest = max(sizes) + 100
    client = make(settings, client_id=topic, rx=largest, tx=largest, outbox=largest + 200)
    got = []

    def take(message):
        got.append((message.qos, message.payload))

    s = client.subscribe(topic + "/#", take, 2)
    client.connect()
    wait_until(lambda: s.reason is not None, client)
    for size in sizes:
        data = pattern(size)
        for qos in (0, 1, 2):
            publish(client, topic + "/x", data, qos)
            wait_until(lambda: len(got) == 1 and not client.session.outbox.count, client)
            assert got == [(qos, data)], (size, qos, got[0][0], len(got[0][1]))
            got.clear()
    for i in range(60):
        publish(client, topic + "/x", pattern(i), i % 3)
    wait_until(lambda: len(got) == 60, client)
    for qos in (0, 1, 2):
        assert [p for q, p in got if q == qos] == [pattern(i) for i in range(qos, 60, 3)]
    assert client.connection_count == 1
    client.disconnect()
    assert client.error is None


def lost_link_reconnects(settings):
    """A lost link is opened again, with all that the transport does."""
    topic = unique()
    client = make(settings, client_id=topic)
    got = []
    s = client.subscribe(topic, lambda m: got.append(m.payload), 1)
    client.connect()
    wait_until(lambda: s.reason is not None, client)
    for data in (b"0", b"1", b"2"):
        client._on_link_lost(OSError(104))
        client.publish(topic, data, qos=1)
        wait_until(lambda data=data: data in got, client)
    # a PUBACK of ours may have been lost with the link
    assert sorted(set(got)) == [b"0", b"1", b"2"] and client.connection_count == 4, (
        got,
        client.connection_count,
    )
    client.disconnect()


def refused(settings):
    """Says why the connection failed, three times in a row."""
    client = make(settings, client_id=unique(), timeout=settings.get("timeout", 20000))
    for _ in range(3):
        try:
            client.connect()
            print("connected")
            break
        except OSError as error:
            print("error", error.errno, str(error).replace("\n", " "))
            print("lasting", client.has_permanent_error)
    client.disconnect()


def stalled(settings):
    """The other side says nothing: each poll returns in time, and the wait has an end."""
    client = make(settings, client_id=unique(), timeout=1500)
    step = client._poll_once
    steps = []

    def counted():
        steps.append(1)
        return step()

    client._poll_once = counted
    client.connect(wait=False)
    from umqtt5.core.connection import ticks_ms

    start = ticks_ms()
    late = []
    while client.error is None:
        before = ticks_ms()
        client.poll(50)
        late.append((ticks_ms() - before) & 0x3FFFFFFF)
        assert len(late) < 200
    waited = (ticks_ms() - start) & 0x3FFFFFFF
    print("late", " ".join([str(ms) for ms in late]))
    print("waited", waited, "steps", len(steps), "timed out", client.error.errno == ETIMEDOUT)
    client.disconnect()


def what_could_not_be_written_goes_on_in_order(settings):
    """Fills the stream while the other side does not read, then adds to what waits."""
    client = make(settings, client_id="c", tx=2000, keep_alive=0, timeout=60000, aliases=0)
    client.connect()
    sent = refused = 0
    while refused < 20:  # until the stream takes no more, and `tx` is full
        if client.publish("a", b"%08d" % sent + b"." * (sent % 97)):
            sent += 1
        else:
            refused += 1
            client.poll(5)
    print("full")
    sys.stdout.flush() if hasattr(sys.stdout, "flush") else None
    end = b"end %d" % sent
    start = time()
    while not client.publish("a", end):
        client.poll(5)
        assert time() - start < 60
    while client.session.has_output():
        client.poll(5)
        assert time() - start < 60
    client.poll(2000)
    print("sent", sent)


def a_full_buffer_is_read_to_its_end(settings):
    """One block of TLS with more messages than can be answered at once, and nothing behind it."""
    client = make(settings, client_id="c", tx=64, rx=1024, keep_alive=0, inflight=1000)
    got = []
    client.subscribe("a", lambda m: got.append(m.payload), 1)
    client.connect()
    rounds = 0
    while len(got) < 600:
        client.poll(3000)
        rounds += 1
        assert rounds < 3, len(got)
    assert got == [b"%04d" % i for i in range(600)]
    client.disconnect()


def measure_allocations(settings):
    """Only in the VM: bytes allocated by a message, over the whole path."""
    import micropython

    topic = unique()
    client = make(settings, client_id=topic)
    count = [0]

    def take(message):
        count[0] += 1

    s = client.subscribe(topic, take, 1)
    client.connect()
    wait_until(lambda: s.reason is not None, client)
    handle = client.topic(topic)
    data = b"x" * 100
    box = client.session.outbox

    def there_and_back():
        before = count[0]
        client.publish(handle, data, qos=1)
        while count[0] == before or box.count:
            client.poll(0)

    for _ in range(10):
        there_and_back()
    before = micropython.mem_total()
    for _ in range(10):
        there_and_back()
    print("bytes", (micropython.mem_total() - before) // 10)
    client.disconnect()


def a_socket_is_used_once(settings):
    from umqtt5 import serial

    link = serial.wrap(connected_socket(settings))
    client = Client("", transport=link, client_id=unique())
    with client:
        assert client.publish("a", b"x", wait=True)
    try:
        client.connect()
        raise AssertionError("it was closed")
    except OSError as error:
        assert "transport.stream" in str(error) and client.has_permanent_error
    link.stream = connected_socket(settings)
    with client:
        assert client.publish("a", b"x", wait=True)


def a_line_comes_back(settings):
    """The line stays, what is behind it goes away and comes again."""
    topic = unique()
    client = make(settings, client_id=topic, keep_alive=1)
    states = []
    client.on_state = lambda c, connected, error: states.append(connected)
    got = []
    s = client.subscribe(topic, lambda m: got.append(m.payload), 1)
    client.connect()
    wait_until(lambda: s.reason is not None, client)
    print("cut")
    sys.stdout.flush() if hasattr(sys.stdout, "flush") else None
    wait_until(lambda: len(states) >= 3, client)
    client.publish(topic, b"again", qos=1)
    wait_until(lambda: got == [b"again"], client)
    client.disconnect()


def under_asyncio(settings):
    """The same by `umqtt5.aio`, with large messages and a link that is cut."""
    import asyncio

    from umqtt5 import aio

    async def main():
        topic = unique()
        sizes = {"rx": 5000, "tx": 5000, "outbox": 10000}
        client = aio.Client(
            settings["host"], settings["port"], transport=transport(settings), client_id=topic, **sizes
        )
        client.max_reconnect_delay = 10
        async with client, client.messages(topic, qos=1) as messages:
            for i in range(30):
                data = pattern(150 * i)
                sent = asyncio.create_task(client.publish(topic, data, qos=1))
                if i % 10 == 5:
                    client.sync_client._on_link_lost(OSError(104))  # as when the network goes: no DISCONNECT
                message = await messages.__anext__()
                assert message.payload == data
                assert (await sent).reason == 0
            assert client.connection_count == 4

    asyncio.run(main())


if __name__ == "__main__":
    globals()[sys.argv[1]](json.loads(sys.argv[2]))
    print("done", sys.argv[1])
