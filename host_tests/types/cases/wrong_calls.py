"""Wrong calls, one a line, which the type checkers report. Nothing runs this file."""

from umqtt5 import Client, Message, aio, dns, streaming, tcp, tls, websocket
from umqtt5.journal import Journal
from umqtt5.link_statistics import LinkStatistics
from umqtt5.properties import CONTENT_TYPE, pack
from umqtt5.scram import Scram
from umqtt5.simple import MQTTClient

Client()  # wrong
Client("broker.local", "1883")  # wrong
Client("broker.local", 1883, "panel")  # wrong
Client("broker.local", keepalive=30)  # wrong
Client("broker.local", client_id=b"panel")  # wrong
Client("broker.local", when_full="newest")  # wrong
Client("broker.local", timeout={"conect": 1000})  # wrong
Client("broker.local", ssl="ca.pem")  # wrong
Client("broker.local", transport=tcp)  # wrong
Client("broker.local", transport=print)  # wrong
client = Client("broker.local")


def plain(message: Message) -> None:
    print(message.paylaod)  # wrong
    print(message.payload + "on")  # wrong
    message.payload = b""  # wrong
    message.equals("ON")  # wrong
    message.property("content_type")  # wrong
    print(len(message.property(CONTENT_TYPE)))  # wrong


def with_token(message: Message, token: int) -> None:
    print(message, token)


async def coroutine(message: Message) -> None:
    print(message)


client.subscribe("a", with_token)  # wrong
client.subscribe("a", plain, ack="manual")  # wrong
client.subscribe("a", plain, ack="automatic")  # wrong
client.subscribe("a", coroutine)  # wrong
client.subscribe("a", plain, 1, True)  # wrong
client.subscribe(1, plain)  # wrong
client.subscribe("a")  # wrong
client.on("a")(with_token)  # wrong
client.on("a")(coroutine)  # wrong
client.on("a", ack="manual")(plain)  # wrong
client.on("a", "1")  # wrong
client.on_state = plain  # wrong
client.on_ack = with_token  # wrong
client.on_error = print, print  # wrong
client.on_sate = None  # wrong
client.is_connected = True  # wrong
client.follow_redirects = lambda reference: reference  # wrong
client.auth = "SCRAM-SHA-256"  # wrong
client.publish("a", 21.5)  # wrong
client.publish("a")  # wrong
client.publish(b"a", b"x")  # wrong
client.publish("a", b"x", qos="1")  # wrong
client.publish("a", b"x", properties={"content_type": "text/plain"})  # wrong
client.publish("a", b"x", retained=True)  # wrong
client.will("a")  # wrong
client.poll("1000")  # wrong
client.request("a", b"", on_response=with_token)  # wrong
client.responder("a", lambda message: 5)  # wrong
client.disconnect("battery")  # wrong
client.conect()  # wrong
pack(content_type=b"text/plain")  # wrong
pack(message_expiry="60")  # wrong
pack(user_properties={"a": "b"})  # wrong
pack(expiry=60)  # wrong
pack(60)  # wrong
tls.context(ca=1)  # wrong
tls.wrap(tcp, tls.context(ca="ca.pem"))  # wrong
websocket.wrap("/mqtt")  # wrong
websocket.wrap(tcp.connect, headers={"a": "b"})  # wrong
dns.Lookup(b"broker.local")  # wrong
Scram("user")  # wrong
Journal("/outbox")  # wrong
LinkStatistics("client")  # wrong
streaming.send(client, "a", b"picture", 7)  # wrong
streaming.receive(client, "a", plain)  # wrong
simple = MQTTClient("name", "broker.local")
simple.set_callback(plain)  # wrong
simple.publish("a", b"x", qos="1")  # wrong


async def main() -> None:
    async with aio.Client("broker.local", keepalive=5) as other:  # wrong
        print(other.sync_client)
    with aio.Client("broker.local"):  # wrong
        pass
    async with aio.Client("broker.local") as client:
        client.publish("a", 5)  # wrong
        print((await client.publish("a", b"x")).reason)  # wrong
        await client.subscribe("a", with_token)  # wrong
        await client.connect(timeout="1")  # wrong
        client.messages("a", overflow="drop")  # wrong
        async for message in client.messages("a"):
            print(message.dup)  # wrong
        list(client.messages("a"))  # wrong
