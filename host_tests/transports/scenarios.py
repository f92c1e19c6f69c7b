"""Scenarios of a client over each transport, on CPython and in the VM: `scenarios.py NAME JSON`.

The JSON object may be divided into several arguments. It has the options `kind` (tcp, tls, mutual, ws, wss,
serial or socket), `host`, `port`, `ca`, `cert`, `path` and so on.
"""

import json
import sys
from errno import ETIMEDOUT
from time import time

from umqtt5 import Client

_MAX_WAITS = 600  # number of waits of 50 ms


def wait_until(condition, *clients):
    for _ in range(_MAX_WAITS):
        if condition():
            return
        for client in clients:
            client.poll(50 // len(clients))
    raise AssertionError("the condition did not become true")


def transport(settings):
    """Return the transport of a kind. Imports only the modules that it needs."""
    from umqtt5.tcp import connect

    kind = settings["kind"]
    if kind in ("tls", "mutual", "wss"):
        from umqtt5 import tls

        if "ssl_params" in settings:
            from umqtt5.optional.ssl_params import make_context

            connect = tls.wrap(connect, *make_context(True, settings["ssl_params"], settings["host"]))
        else:
            connect = tls.wrap(connect, tls_context(settings), settings.get("server_hostname"))
    if kind in ("ws", "wss"):
        from umqtt5 import websocket

        connect = websocket.wrap(connect, settings.get("path", "/mqtt"), settings.get("headers", ()))
    if kind == "serial":
        from umqtt5 import serial

        connect = serial.wrap(open(settings["fd"], "rb+", buffering=0))
    if kind == "socket":
        from umqtt5 import serial

        connect = serial.wrap(connected_socket(settings))
        if settings.get("secure"):
            from umqtt5 import tls

            connect = tls.wrap(connect, tls.context(settings["ca"]))
    return connect


def tls_context(settings):
    """Return the SSLContext of the settings `ca`, `cert`, `verify`, `psk` and so on."""
    from umqtt5 import tls

    cert = settings.get("cert")
    context = tls.context(
        settings.get("ca"),
        cert,
        cert,
        settings.get("verify", True),
        psk=settings.get("psk"),
        psk_identity=settings.get("psk_identity"),
        alpn=settings.get("alpn"),
    )
    if settings.get("tls_1_2") and sys.implementation.name == "cpython":
        import ssl

        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def connected_socket(settings):
    import socket

    sock = socket.socket()
    sock.connect(socket.getaddrinfo(settings["host"], settings["port"])[0][-1])
    return sock


def make_client(settings, **options):
    return Client(settings["host"], settings["port"], transport=transport(settings), **options)


def publish(client, topic, data, qos):
    """Publish as soon as the outbox has room."""
    wait_until(lambda: client.publish(topic, data, qos=qos), client)


def unique_name():
    from os import urandom

    return "t" + "".join(["%02x" % b for b in urandom(4)])


def pattern(size):
    return bytes([i * 7 + (i >> 8) & 255 for i in range(min(size, 70000))])


def messages_of_every_size_both_ways(settings):
    """Send messages of each size at each QoS through the broker and back, one at a time and 60 at once."""
    topic = unique_name()
    sizes = settings.get("sizes", (0, 1, 100, 125, 126, 127, 500, 511, 512, 513, 4096, 16384, 17000, 70000))
    largest = max(sizes) + 100
    client = make_client(settings, client_id=topic, rx=largest, tx=largest, outbox=largest + 200)
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
    """Lose the connection three times and publish a message after each."""
    topic = unique_name()
    client = make_client(settings, client_id=topic)
    got = []
    s = client.subscribe(topic, lambda m: got.append(m.payload), 1)
    client.connect()
    wait_until(lambda: s.reason is not None, client)
    for data in (b"0", b"1", b"2"):
        client._on_link_lost(OSError(104))
        client.publish(topic, data, qos=1)
        wait_until(lambda data=data: data in got, client)
    # a message may arrive twice, because its PUBACK may be lost with the connection
    assert sorted(set(got)) == [b"0", b"1", b"2"] and client.connection_count == 4, (
        got,
        client.connection_count,
    )
    client.disconnect()


def connection_errors(settings):
    """Try to connect three times; print the error of each try and whether it is permanent."""
    client = make_client(settings, client_id=unique_name(), timeout=settings.get("timeout", 20000))
    for _ in range(3):
        try:
            client.connect()
            print("connected")
            break
        except OSError as error:
            print("error", error.errno, str(error).replace("\n", " "))
            print("permanent", client.has_permanent_error)
    client.disconnect()


def stalled_handshake(settings):
    """Connect to a peer that sends nothing; print how long each poll took, and how long until the error."""
    client = make_client(settings, client_id=unique_name(), timeout=1500)
    step = client._poll_once
    steps = []

    def counted():
        steps.append(1)
        return step()

    client._poll_once = counted
    client.connect(wait=False)
    from umqtt5.core.connection import ticks_ms

    start = ticks_ms()
    poll_times = []
    while client.error is None:
        before = ticks_ms()
        client.poll(50)
        poll_times.append((ticks_ms() - before) & 0x3FFFFFFF)
        assert len(poll_times) < 200
    waited = (ticks_ms() - start) & 0x3FFFFFFF
    print("poll times", " ".join([str(ms) for ms in poll_times]))
    print("waited", waited, "steps", len(steps), "timed out", client.error.errno == ETIMEDOUT)
    client.disconnect()


def unwritten_data_is_sent_later_in_order(settings):
    """Fill the stream while the peer does not read, and then publish more."""
    client = make_client(settings, client_id="c", tx=2000, keep_alive=0, timeout=60000, aliases=0)
    client.connect()
    sent = refused = 0
    while refused < 20:  # until the stream accepts no more data and `tx` is full
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


def data_buffered_by_tls_is_read_completely(settings):
    """Receive one TLS record with more messages than can be acknowledged at once, and nothing after it."""
    client = make_client(settings, client_id="c", tx=64, rx=1024, keep_alive=0, inflight=1000)
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
    """Print how many bytes a message allocates on its way to the broker and back. Only in the VM."""
    import micropython

    topic = unique_name()
    client = make_client(settings, client_id=topic)
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
    """Use a socket for one connection; the next one needs a new socket."""
    from umqtt5 import serial

    link = serial.wrap(connected_socket(settings))
    client = Client("", transport=link, client_id=unique_name())
    with client:
        assert client.publish("a", b"x", wait=True)
    try:
        client.connect()
        raise AssertionError("connected over a closed socket")
    except OSError as error:
        assert "transport.stream" in str(error) and client.has_permanent_error
    link.stream = connected_socket(settings)
    with client:
        assert client.publish("a", b"x", wait=True)


def a_serial_line_reconnects(settings):
    """Reconnect over the same serial line after the connection behind it was closed."""
    topic = unique_name()
    client = make_client(settings, client_id=topic, keep_alive=1)
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


def asyncio_client_reconnects(settings):
    """Send and receive large messages with `umqtt5.aio.Client`, and lose the connection three times."""
    import asyncio

    from umqtt5 import aio

    async def main():
        topic = unique_name()
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
                    client.sync_client._on_link_lost(
                        OSError(104)
                    )  # as after a network failure, without DISCONNECT
                message = await messages.__anext__()
                assert message.payload == data
                assert (await sent).reason == 0
            assert client.connection_count == 4

    asyncio.run(main())


if __name__ == "__main__":
    globals()[sys.argv[1]](json.loads("".join(sys.argv[2:])))
    print("done", sys.argv[1])
