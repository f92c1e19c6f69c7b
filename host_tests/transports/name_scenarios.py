"""Scenarios of a client that connects by name, on CPython and in the VM: `name_scenarios.py NAME JSON`.

The JSON object has `port` of the broker, `dns` (address and port of the DNS server), and perhaps `mdns` and
`ca`. The names of hosts tell how the DNS server answers: see `test_names.py`.
"""

import asyncio
import json
import sys
import time

if sys.implementation.name == "cpython":
    from umqtt5.cpython.compat import ticks_ms
else:
    from time import ticks_ms

from umqtt5 import Client, dns

_MAX_POLL = 1000  # ms. A silent DNS server blocks `getaddrinfo` for several times as long


def poll_times(client, condition, limit=20000):
    """Poll for 50 ms each time until `condition()`; returns the duration of each call in ms."""
    times = []
    start = ticks_ms()
    while not condition():
        before = ticks_ms()
        assert before - start < limit, "the condition was not met"
        client.poll(50)
        times.append(ticks_ms() - before)
    assert not times or max(times) < _MAX_POLL, times
    return times


def connected(client):
    return lambda: client.is_connected


def connects_by_name(settings):
    client = Client("good.example", settings["port"])
    client.connect()
    client.disconnect()
    client.connect()  # from the cache
    assert client.is_connected
    client.disconnect()


def polls_return_in_time_while_the_server_is_silent(settings):
    client = Client("silent.example", settings["port"], timeout=1500)
    errors = []
    client.on_state = lambda client, connected, error: errors.append(error)
    client.connect(wait=False)
    times = poll_times(client, lambda: len(errors) == 2)
    assert len(times) > 40 and sorted(times)[len(times) // 2] <= 70, times
    assert "no DNS server answered" in str(errors[0])


def a_blocking_connect_has_a_deadline(settings):
    client = Client("silent.example", settings["port"], timeout=700)
    before = ticks_ms()
    try:
        client.connect()
        raise AssertionError
    except OSError as error:
        assert "no DNS server answered" in str(error)
    assert 700 <= ticks_ms() - before < 3000


def a_server_that_answers_late_is_used(settings):
    client = Client("late.example", settings["port"])
    client.connect(wait=False)
    poll_times(client, connected(client))
    client.disconnect()


def a_server_that_fails_is_followed_by_the_next(settings):
    dns.servers = [settings["failing"], settings["dns"]]
    client = Client("good.example", settings["port"])
    client.connect()
    client.disconnect()


def the_last_address_is_used_if_the_server_is_silent(settings):
    client = Client("once.example", settings["port"])
    client.connect()
    client.disconnect()
    time.sleep(2.1)  # longer than the shortest time in the cache
    before = ticks_ms()
    client.connect(wait=False)
    poll_times(client, connected(client))
    assert ticks_ms() - before >= 1900
    client.disconnect()


def spoofed_answers_are_ignored(settings):
    assert look_up("spoofed.example") == "127.0.0.1"


def look_up(name):
    lookup = dns.Lookup(name)
    while not lookup.address:
        time.sleep(min(lookup.step(ticks_ms()), 20) / 1000)
    return lookup.address


def an_unknown_name_is_an_error(settings):
    try:
        look_up("unknown.example")
        raise AssertionError
    except OSError as error:
        assert "unknown.example: unknown host (NXDOMAIN)" in str(error)


def a_name_in_local_is_found_by_multicast(settings):
    dns.servers = []
    dns.mdns_server = settings["mdns"]
    client = Client("broker.local", settings["port"])
    client.connect()
    client.disconnect()


def tls_checks_the_name(settings):
    from umqtt5 import tls

    context = tls.context(ca=settings["ca"])
    client = Client("broker.local", settings["port"], ssl=context)
    client.connect()  # the certificate contains this name, and the DNS server knows it
    client.disconnect()
    client = Client("good.example", settings["port"], ssl=context)
    try:
        client.connect()
        raise AssertionError
    except OSError as error:
        print("wrong name:", error)


def the_asyncio_client_does_not_block(settings):
    from umqtt5.aio import Client

    gaps = []

    async def tick():
        before = ticks_ms()
        while True:
            await asyncio.sleep(0.02)
            gaps.append(ticks_ms() - before)
            before = ticks_ms()

    async def main():
        ticker = asyncio.create_task(tick())
        async with Client("late.example", settings["port"]) as client:
            assert client.is_connected
            await client.publish("a", b"x")
        client = Client("silent.example", settings["port"], timeout=1500)
        try:
            await client.connect()
            raise AssertionError
        except OSError as error:
            assert "no DNS server answered" in str(error)
        connecting = asyncio.create_task(client.connect())
        await asyncio.sleep(0.2)
        connecting.cancel()
        try:
            await connecting
        except asyncio.CancelledError:
            pass
        assert client.sync_client.stream is None
        client = Client("good.example", settings["port"])
        await client.connect()  # after a lookup was cancelled
        await client.disconnect()
        ticker.cancel()
        assert len(gaps) > 100 and max(gaps) < _MAX_POLL, gaps

    asyncio.run(main())


if __name__ == "__main__":
    settings = json.loads("".join(sys.argv[2:]))
    for key in ("dns", "failing", "mdns"):
        settings[key] = tuple(settings.get(key) or ())
    dns.servers = [settings["dns"]]
    globals()[sys.argv[1]](settings)
    print("done", sys.argv[1])
