"""A thermostat whose author works around umqtt.simple: time limits, polling and closing of the socket."""

from lab import reached
from umqtt.simple import MQTTClient

from settings import PORT, SERVER

heard = []
client = MQTTClient("thermostat", SERVER, PORT)
client.set_callback(lambda topic, msg: heard.append(msg))
print("sock", client.sock)
client.connect()
client.subscribe(b"target")
client.sock.settimeout(0.05)
try:
    client.wait_msg()
except OSError as error:
    print("timeout", error.args[0])
client.sock.settimeout(0.05)
client.publish(b"state", b"1")
client.sock.settimeout(5)
reached("one")
client.wait_msg()
print(heard)
client.sock.setblocking(False)
print("nothing", client.wait_msg())
client.sock.setblocking(True)
client.publish(b"state", b"2", qos=1)
print("nothing", client.check_msg())
reached("two")
client.wait_msg()
print(heard)
client.ping()
print("ping", client.wait_msg())
client.sock.write(b"\xc0\0")
print("ping", client.wait_msg())
client.sock.close()
try:
    client.publish(b"state", b"lost")
    client.wait_msg()
except OSError:
    print("closed")
client.connect()
client.subscribe(b"target")
reached("three")
client.wait_msg()
print(heard)
client.sock = None
client.client_id = "thermostat-2"
client.port = PORT
client.connect(clean_session=False)
client.publish(b"state", b"3")
client.disconnect()
client.sock = None
