"""Uses one client in several event loops: `event_loops.py HOST PORT ENDING`, where ENDING is a function here.

Each function is the main coroutine of the first event loop. Then a second loop uses the client, and after its
`disconnect` a third. In MicroPython `asyncio.run` uses the same loop again, unless the program calls
`asyncio.new_event_loop`, so both are tested.
"""

import asyncio
import sys

from umqtt5.aio import Client


async def disconnected(client):
    """The first loop ends after `disconnect`."""
    async with client:
        assert (await client.publish("loops", b"", qos=1)).reason in (0, 0x10)


async def connected(client):
    """The first loop ends while the client is connected."""
    await client.connect()
    await client.subscribe("loops/x", print)
    assert (await client.publish("loops", b"", qos=1)).reason in (0, 0x10)


async def waiting(client):
    """The first loop ends while coroutines wait for room and for responses."""
    await client.connect()
    client.left = [asyncio.create_task(client.publish("loops", bytes(100), qos=1)) for _ in range(30)]
    client.left += [asyncio.create_task(client.request("nobody", b"", timeout=2000)) for _ in range(10)]
    await asyncio.sleep(0)


async def connecting(client):
    """The first loop ends while the client connects."""
    client.left = asyncio.create_task(client.connect())
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def raised(client):
    """An exception ends the first loop."""
    await client.connect()
    raise ZeroDivisionError


async def interrupted(client):
    """A KeyboardInterrupt in a handler ends the first loop."""

    def interrupt(message):
        raise KeyboardInterrupt

    await client.connect()
    await client.subscribe("loops/interrupt", interrupt)
    await client.publish("loops/interrupt", b"")
    await asyncio.sleep(5)


async def use(client, disconnects):
    await client.connect()
    messages = client.messages("loops/m", qos=1)
    for i in range(3):
        await client.publish("loops/m", b"%d" % i, qos=1)
        message = await messages.__anext__()
        assert message.payload == b"%d" % i, message.payload
    assert len(client.iterators) == 1
    if disconnects:
        await client.disconnect()


def main(host, port, ending):
    for has_new_loop in (False, True):
        client = Client(host, int(port), client_id="loops-" + ending, inflight=4, session_expiry=0)
        try:
            asyncio.run(globals()[ending](client))
        except (ZeroDivisionError, KeyboardInterrupt):
            pass
        for disconnects in (False, True, True):
            if has_new_loop and sys.implementation.name == "micropython":
                asyncio.new_event_loop()
            asyncio.run(use(client, disconnects))
        assert not client.is_connected and client.sync_client.stream is None
    print("done", ending)


if __name__ == "__main__":
    main(*sys.argv[1:])
