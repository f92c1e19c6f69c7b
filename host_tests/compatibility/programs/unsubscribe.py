"""What umqtt.simple has learned since 1.3.4: `unsubscribe`, `connect(timeout=)`, the result of `wait_msg`."""

import ssl

from lab import reached
from umqtt.simple import MQTTClient

from settings import CA_FILE, PORT, SERVER, TLS_PORT

heard = []
client = MQTTClient(b"modern", SERVER, PORT)
client.set_callback(lambda topic, msg: heard.append((topic, msg)))
print(client.connect(True, 5))
client.subscribe(b"a")
client.subscribe(b"b", 1)
reached("subscribed")
print(client.wait_msg(), client.wait_msg(), heard)
client.unsubscribe(b"a")
reached("unsubscribed")
print(client.wait_msg(), heard[-1])
print(client.check_msg())
client.connect(timeout=0.5)
client.subscribe(b"c")
client.connect(timeout=0.5)
try:
    client.wait_msg()
except OSError as error:
    print("timeout", error.args[0])
client.disconnect()

context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.verify_mode = ssl.CERT_REQUIRED
with open(CA_FILE, "rb") as file:
    context.load_verify_locations(cadata=file.read())
client = MQTTClient("modern", SERVER, TLS_PORT, user="", ssl=context)
client.connect()
client.publish(b"over", b"TLS")
client.disconnect()
