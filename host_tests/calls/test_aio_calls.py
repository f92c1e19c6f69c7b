"""Two tasks call one asyncio client at the same time: each awaitable during each other one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from errno import ENOTCONN, ETIMEDOUT
from typing import Any

import pytest

from tools.paths import ROOT

sys.path.insert(0, str(ROOT / "host_tests" / "unit"))

from packet_reader import make_ack  # noqa: E402

from host_tests.aio.async_broker import AsyncBrokerSimulation  # noqa: E402
from host_tests.aio.simulated_loop import run  # noqa: E402
from umqtt5.aio import Client  # noqa: E402

MAX_SECONDS = 100


async def receive(client: Client) -> None:
    """Receive a message with an iterator. Without a connection it would wait until another task connects."""
    client._require_connected()
    async with client.messages("own", qos=1) as messages:
        await client.publish("own", b"x", qos=1)
        async for _ in messages:
            break


AWAITABLES: dict[str, Callable[[Client], Coroutine[Any, Any, Any]]] = {
    "publish at QoS 0": lambda c: c.publish("out", b"x"),
    "publish at QoS 1": lambda c: c.publish("out", b"x", qos=1),
    "publish at QoS 2": lambda c: c.publish("out", b"x", qos=2),
    "subscribe": lambda c: c.subscribe("new", len, 1),
    "unsubscribe": lambda c: c.unsubscribe("spare"),
    "request": lambda c: c.request("ask", b"x", timeout=20_000),
    "responder": lambda c: c.responder("question", len),
    "messages": receive,
    "connect()": lambda c: c.connect(),
    "connect(wait=False)": lambda c: c.connect(wait=False),
    "disconnect()": lambda c: c.disconnect(),
}
STATES = ("connected", "link lost", "link silent", "not connected")


def is_allowed(result: Any, names: tuple[str, str], state: str) -> bool:
    """Return True if a task may end with this result."""
    if not isinstance(result, BaseException):
        return True
    if isinstance(result, OSError) and result.errno == ENOTCONN:
        return "disconnect()" in names or state == "not connected"
    if isinstance(result, OSError) and result.errno == ETIMEDOUT:
        return "request" in names and state == "link silent"  # a request at QoS 0 is not sent again
    return isinstance(result, ValueError) and "unsubscribe" in names  # both end the same subscription


async def play(sim: AsyncBrokerSimulation, client: Client, names: tuple[str, str], state: str) -> None:
    await client.connect()
    await client.responder("ask", lambda message: b"answer")
    await client.subscribe("spare", len)
    await client.request("ask", b"first")
    if state == "link lost":
        sim.stream.closed_by_broker = True
    elif state == "link silent":
        sim.stream.is_stalled = True
    elif state == "not connected":
        await client.disconnect()
    tasks = [asyncio.create_task(AWAITABLES[names[0]](client))]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(AWAITABLES[names[1]](client)))
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), MAX_SECONDS)
    for result in results:
        assert is_allowed(result, names, state), (names, state, results)
    await client.connect()
    assert client.is_connected
    before = len(sim.received_bodies(0x30))
    ack = await client.publish("after", b"x", qos=1, timeout=30_000)
    assert ack.reason == 0 and len(sim.received_bodies(0x30)) > before
    assert await client.request("ask", b"x") == b"answer"
    await client.disconnect()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("first", AWAITABLES)
def test_two_tasks_may_use_one_client_at_the_same_time(first: str, state: str) -> None:
    for second in AWAITABLES:
        sim = AsyncBrokerSimulation()
        sim.replies[0x60] = lambda stream, first_byte, body: make_ack(0x70, body[0] << 8 | body[1])
        try:
            run(sim, play(sim, sim.mqtt, (first, second), state))
        except BaseException as error:
            raise AssertionError(f"{first}, {second}, {state}: {error!r}") from error
        assert not sim.mqtt.session.is_busy and not sim.mqtt.sync_client._is_polling
