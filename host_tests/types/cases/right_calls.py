"""Right calls and the types of their results. The type checkers read this file, nothing runs it."""

import ssl

from typing_extensions import assert_type

import umqtt5
from umqtt5 import Client, Message, MQTTError, Subscription, Topic, aio, streaming, tcp, tls, websocket
from umqtt5.journal import Journal
from umqtt5.link_statistics import LinkStatistics
from umqtt5.properties import CONTENT_TYPE, CORRELATION_DATA, MESSAGE_EXPIRY, USER_PROPERTY, pack
from umqtt5.reason_codes import reason_name
from umqtt5.robust import MQTTClient as RobustClient
from umqtt5.scram import Scram
from umqtt5.simple import MQTTClient
from umqtt5.stored_subscriptions import attach
from umqtt5.typing import LinkError, Stream, Transport

assert_type(umqtt5.__version__, str)

client = Client(
    ["first.local", ("second.local", 1884)],
    client_id="panel",
    user=lambda: "panel",
    password=lambda: b"token",
    timeout={"connect": 20000},
    when_full="oldest",
    ssl=tls.context(ca="ca.pem"),
    transport=websocket.wrap(tls.wrap(tcp.connect, tls.context(verify=False)), headers=[("a", "b")]),
)
client.auth = Scram("panel", "secret")
client.follow_redirects = True
client.follow_redirects = lambda reference: (reference, 1883)


@client.on("pump/set", qos=1)
def pump(message: Message) -> None:
    assert_type(message.topic, str)
    assert_type(message.payload, bytes)
    assert_type(message.qos, int)
    assert_type(message.retain, bool)
    assert_type(len(message), int)
    assert_type(message.equals(b"ON"), bool)
    assert_type(message.copy_into(bytearray(8)), int)
    assert_type(message.property(CONTENT_TYPE), str | None)
    assert_type(message.property(MESSAGE_EXPIRY), int | None)
    assert_type(message.property(CORRELATION_DATA), bytes | None)
    assert_type(message.property(USER_PROPERTY, 1), tuple[str, str] | None)
    assert_type(message.property(message.qos), int | str | bytes | tuple[str, str] | None)
    message.refuse()


@client.on("valve/set", qos=1, ack="manual")
def valve(message: Message, token: int) -> None:
    assert_type(client.ack(token), bool)


class Device:
    def handle(self, message: Message) -> int:
        return len(message)

    def handle_state(self, client: Client, connected: bool, error: LinkError | None) -> None:
        if isinstance(error, MQTTError):
            assert_type(error.code, int)
            assert_type(error.detail, str)
            print(reason_name(error.code), error.is_permanent, error.host, error.port)


pump(client.packet)  # the decorator keeps the type of the function
device = Device()
assert_type(client.subscribe("a/+", device.handle), Subscription)
client.subscribe(["a", "b"], None, qos=2, no_local=True, properties=pack(user_properties=[("a", "b")]))
client.subscribe("b", print)
client.subscribe("c", lambda message: client.publish("d", message.payload))
client.unsubscribe("c")
client.on_state = device.handle_state
client.on_ack = lambda answer: print(answer.packet_id, answer.reason)
client.on_subscribed = lambda subscription, answer: print(subscription.reason, answer.payload)
client.on_unsubscribed = None
client.on_unhandled = device.handle
client.on_error = lambda error: print(error.args)
client.will("panel/status", "offline", retain=True, delay=5)
handle = client.topic("panel/level")
assert_type(handle, Topic)
assert_type(client.publish(handle, "57 %"), bool)
assert_type(client.publish(handle, bytearray(4), retain=True), bool)
assert_type(client.publish("panel/level", memoryview(b"57"), 1), int)
assert_type(client.publish("panel/level", b"57", qos=len("2"), wait=5000), int)
assert_type(client.cancel(1), bool)
assert_type(client.request("clock", b"", timeout=1000), bytes)
assert_type(client.request("clock", b"", on_response=lambda message: print(message)), bool)
client.responder("clock", lambda message: "nine" if message.payload else None)
assert_type(client.connect(), bool)
assert_type(client.poll(100), bool)
assert_type(client.is_connected, bool)
assert_type(client.error, LinkError | None)
assert_type(client.session.resumed, bool)
assert_type(client.next_timeout(), int)
assert_type(client.stream, Stream | None)
client.disconnect(0x04, pack(reason_string="battery"))
with Client("broker.local", ssl=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as other:
    assert_type(other, Client)

assert_type(LinkStatistics(client).snapshot(), dict[str, int])
assert_type(Journal(client, "/outbox").restored_count, int)
assert_type(attach(client).leftovers, list[bytes])


def take(piece: memoryview | bytes | None) -> None:
    print(piece)


streaming.receive(client, "picture", lambda message, size: take if size else None)
with open("picture", "rb") as file:
    assert_type(streaming.send(client, "picture", file, 1000), bool)
    assert_type(streaming.send(client, "picture", file, 1000, qos=1), int)


def count(transport: Transport) -> Transport:
    def connect(host: str, port: int) -> Stream:
        return transport(host, port)

    return connect


Client("broker.local", transport=count(tcp.connect))

simple = MQTTClient("name", "broker.local", keepalive=30, ssl=True, ssl_params={"cert_reqs": 0})
simple.set_callback(lambda topic, msg: print(topic.decode(), msg.decode()))
assert_type(simple.connect(), int)
assert_type(simple.check_msg(), int | None)
robust = RobustClient(b"name", "broker.local")
robust.DEBUG = True
robust.set_last_will(b"a", "b", retain=True)


async def main() -> None:
    async with aio.Client("broker.local", client_id="panel") as client:
        assert_type(client, aio.Client)

        @client.on("a", qos=1)
        async def run(message: aio.Message) -> None:
            assert_type(message.payload, bytes)
            assert_type(message.property(CONTENT_TYPE), str | None)
            client.respond(message, b"done")

        @client.on("b")
        def plain(message: Message) -> None:
            print(message.payload)

        ack = await client.subscribe("c", run, qos=1)
        assert_type(ack.reason, int)
        assert_type(ack.detail, str)
        await client.subscribe("d", plain)
        answer = await client.publish("a", b"x", qos=1)
        assert_type(answer.reason, int)
        await client.publish("a", b"x")
        assert_type(await client.request("clock", b""), bytes)
        await client.responder("clock", lambda message: message.payload)
        async with client.messages("e", overflow="wait", timeout=1000) as messages:
            async for message in messages:
                assert_type(message, aio.Message)
                assert_type(message.topic, str)
            assert_type(messages.dropped, int)
        assert_type(client.is_connected, bool)
        assert_type(client.topic("a"), Topic)
        client.will("a", b"x")
        Journal(client)
        attach(client, "/subscriptions")
        streaming.is_sending(client.sync_client)
