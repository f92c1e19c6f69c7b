"""Two tasks with asyncio: one publishes a count every second, one waits for commands. Needs a broker."""

import asyncio

import settings
from umqtt5.aio import Client
from umqtt5.wifi import Wifi

wifi = Wifi(settings.WIFI_SSID, settings.WIFI_PASSWORD)
wifi.on_status = print
pause = 1.0  # seconds, set by a command


async def keep_wifi() -> None:
    while True:
        wifi.poll()
        await asyncio.sleep(0.5)


async def publish(client: Client) -> None:
    count = 0
    while True:
        count += 1
        await client.publish("counter", str(count), qos=1)  # returns when the broker has acknowledged it
        await asyncio.sleep(pause)


async def receive(client: Client) -> None:
    global pause
    async for message in client.messages("counter/pause", qos=1):
        try:
            pause = max(0.1, float(message.payload))
            print("pause", pause)
        except ValueError:
            print("a number of seconds, not", message.payload)


async def main() -> None:
    task = asyncio.create_task(keep_wifi())
    while not wifi.is_connected:
        await asyncio.sleep(0.1)
    async with Client(settings.BROKER, settings.PORT, client_id=settings.CLIENT_ID) as client:
        await asyncio.gather(task, publish(client), receive(client))


asyncio.run(main())
