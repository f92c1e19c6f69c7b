"""Timeouts of the asyncio client on real sockets: `real_timeouts.py HOST PORT STATE`.

The server at HOST and PORT brings the client into STATE: see `test_brokers.serve`. Each call must end in
time.
"""

import asyncio
import sys
from errno import ETIMEDOUT

from umqtt5.aio import Client

TIMEOUT = 300  # ms
LIMIT = 3000  # ms, for a loaded machine


def elapsed(client, start):
    return (client.sync_client._ticks_ms() - start) & 0x3FFFFFFF


async def wait_until(condition):
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the condition was not met within 10 s")


async def reach(client, state):
    """Wait until the client is in the state; returns tasks that the test has to end."""
    tasks = []
    if state in ("silent", "stalled"):
        await wait_until(lambda: client.is_connected)
    if state == "stalled":
        full = 0
        while full < 10:  # the system makes its buffers larger for some time
            full += 1
            while client.sync_client.publish("fill", bytes(200)):
                full = 0
            await asyncio.sleep(0.02)
    if state in ("refusing", "closed"):
        await wait_until(lambda: client.error)
    if state == "closed":  # with a full outbox
        client.sync_client._reconnect_delay = 60000
        tasks = [asyncio.create_task(client.publish("a", bytes(100), qos=1)) for _ in range(9)]
    await asyncio.sleep(0.1)
    return tasks


async def next_message(client, timeout):
    messages = client.messages("n", timeout=timeout)
    try:
        await messages.__anext__()
    finally:
        messages.close()


async def enter_messages(client, timeout):
    async with client.messages("m", timeout=timeout):
        pass


CALLS = {
    "publish 0": lambda client: client.publish("a", bytes(200), timeout=TIMEOUT),
    "publish 1": lambda client: client.publish("a", b"x", qos=1, timeout=TIMEOUT),
    "publish 2": lambda client: client.publish("a", b"x", qos=2, timeout=TIMEOUT),
    "subscribe": lambda client: client.subscribe("s", print, timeout=TIMEOUT),
    "unsubscribe": lambda client: client.unsubscribe("u", timeout=TIMEOUT),
    "request": lambda client: client.request("r", b"", timeout=TIMEOUT),
    "responder": lambda client: client.responder("q", print, timeout=TIMEOUT),
    "messages": lambda client: enter_messages(client, TIMEOUT),
    "next message": lambda client: next_message(client, TIMEOUT),
}


async def measure(client, state, name):
    start = client.sync_client._ticks_ms()
    try:
        await CALLS[name](client)
        # the system may make its buffers larger, so a stalled stream accepts some bytes from time to time
        assert state in ("silent", "stalled") and name == "publish 0", name
    except OSError as error:
        assert error.errno == ETIMEDOUT, (name, error)
        assert TIMEOUT <= elapsed(client, start) < LIMIT, (name, elapsed(client, start))


async def measure_connect(client):
    start = client.sync_client._ticks_ms()
    try:
        await client.connect(timeout=TIMEOUT)
        raise AssertionError("connected")
    except OSError as error:
        assert error.errno == ETIMEDOUT
    assert TIMEOUT <= elapsed(client, start) < LIMIT, elapsed(client, start)


async def main(host, port, state):
    client = Client(host, int(port), client_id="t", tx=256, outbox=1024, inflight=4)
    client.sync_client.subscribe("u", print)
    await client.connect(wait=False)
    tasks = await reach(client, state)
    for name in CALLS:  # one after the other, so that no call can rely on the wake-ups of another
        await measure(client, state, name)
    await asyncio.gather(*[measure(client, state, name) for name in CALLS if name != "unsubscribe"])
    if state in ("opening", "no_connack"):
        await measure_connect(client)
    start = client.sync_client._ticks_ms()
    await client.disconnect(timeout=TIMEOUT)
    assert elapsed(client, start) < LIMIT
    for task in tasks:
        try:
            await task
            raise AssertionError("published")
        except OSError:
            pass
    assert not client._waiters and client.sync_client.stream is None and client._scheduler is None
    print("done", state)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
