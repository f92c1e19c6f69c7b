"""A typical program for umqtt.simple: `simple_program.py MODULE HOST PORT TOPIC`.

MODULE is umqtt.simple, umqtt5.simple or umqtt5.robust. The output must be the same for all three.
"""

import sys


def run(module, host, port, topic):  # noqa: PLR0915  such programs are one long function
    MQTTClient = __import__(module, None, None, ("MQTTClient",)).MQTTClient  # noqa: N806
    topic = topic.encode()
    received = []

    def callback(topic, msg):
        received.append(msg)
        print("callback", type(topic).__name__, type(msg).__name__, msg)

    c = MQTTClient(b"id-" + topic, host, port=int(port), keepalive=60)
    c.set_callback(callback)
    c.set_last_will(topic + b"/lwt", b"gone", retain=False, qos=0)
    print("connect", bool(c.connect()))
    c.subscribe(topic)
    c.publish(topic, b"hello")
    c.wait_msg()
    c.subscribe(topic + b"/one", 1)
    for i in range(3):
        c.publish(topic + b"/one", b"%d" % i, qos=1)
    while len(received) < 4:
        c.wait_msg()
    for _ in range(20):
        c.check_msg()
    print("nothing more", len(received))
    c.publish(topic + b"/kept", b"r" * 100, True)
    c.subscribe(topic + b"/kept")
    c.wait_msg()
    c.publish(topic + b"/kept", b"", True)
    c.ping()
    c.publish(topic, "text")
    while received[-1] != b"text":
        c.wait_msg()
    c.disconnect()
    # a session that the broker stores
    c = MQTTClient(b"kept-" + topic, host, port=int(port))
    c.set_callback(callback)
    print("connect", bool(c.connect(clean_session=False)))
    c.subscribe(topic + b"/later", 1)
    c.disconnect()
    other = MQTTClient(b"other-" + topic, host, port=int(port))
    other.connect()
    other.publish(topic + b"/later", b"while you were away", qos=1)
    other.disconnect()
    print("connect", bool(c.connect(clean_session=False)))
    c.wait_msg()
    c.disconnect()
    print("done")


run(*sys.argv[1:])
