"""Publishes and receives in a small heap: `import small_heap; small_heap.main(HOST, PORT, SIZE)`."""

import gc

gc.threshold(8192)  # collect early, so that loading does not fragment the heap

import asyncio  # noqa: E402

from umqtt5.aio import Client  # noqa: E402


async def play(host, port, size):
    client = Client(host, port, client_id="small", rx=size, tx=size, outbox=size, inflight=4, aliases=4)
    async with client, client.messages("small/+", qos=1, queue_size=2, overflow="wait") as messages:
        for i in range(300):
            sent = asyncio.create_task(client.publish("small/%d" % (i % 5), b"%d" % i, qos=i % 3))
            assert (await messages.__anext__()).payload == b"%d" % i
            await sent
        gc.collect()
        print("done small, %d bytes free" % gc.mem_free())


def main(host, port, size):
    asyncio.run(play(host, port, size))
