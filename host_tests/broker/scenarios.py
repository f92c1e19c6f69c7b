"""Scenarios for the blocking client and a real broker: `scenarios.py HOST PORT NAME [USER PASSWORD]`.

Each public function that takes `host`, `port` and `unique` is one test. `unique` is a topic prefix that no
other run uses. A scenario fails by raising an exception. The scenarios run on CPython and in the
MicroPython VM.
"""

import sys
from errno import ETIMEDOUT

import umqtt5
from umqtt5 import MQTTError, streaming
from umqtt5.properties import CONTENT_TYPE, CORRELATION_DATA, RESPONSE_TOPIC, USER_PROPERTY, pack
from umqtt5.scram import Scram

_WAIT = 200  # rounds of 50 ms
LOGIN = {}  # user and password, if the broker requires them


def Client(host, port, **options):  # noqa: N802  named like umqtt5.Client, adds LOGIN to its options
    for name in LOGIN:
        options.setdefault(name, LOGIN[name])
    return umqtt5.Client(host, port, **options)


def wait_until(condition, *clients):
    """Poll the clients until `condition()` is true. Raises AssertionError after 10 s."""
    for _ in range(_WAIT):
        if condition():
            return
        for client in clients:
            client.poll(50 // len(clients))
    raise AssertionError("the condition was not met within 10 s")


def subscribe(client, topic_filter, qos=0):
    """Subscribe, wait for the SUBACK, and return the list that receives (topic, payload, retain)."""
    got = []
    s = client.subscribe(topic_filter, lambda m: got.append((m.topic, m.payload, m.retain)), qos)
    wait_until(lambda: s.reason is not None, client)
    assert s.reason <= 1, s.reason
    return got


def acknowledged(client):
    """Return a function that tells whether every message of the client is acknowledged."""
    return lambda: not client.session.outbox.count


def messages_of_qos_0_and_1_arrive(host, port, unique):
    client = Client(host, port, client_id=unique)
    assert client.connect() is False and client.is_connected
    got = subscribe(client, unique + "/+", qos=1)
    assert client.publish(unique + "/a", b"zero")
    assert client.publish(unique + "/b", "one é", qos=1)
    assert client.publish(unique + "/c", b"", qos=1)
    assert client.publish(unique + "/d", bytes(range(256)), qos=1)
    wait_until(lambda: len(got) == 4, client)
    assert sorted(got) == [
        (unique + "/a", b"zero", False),
        (unique + "/b", "one é".encode(), False),
        (unique + "/c", b"", False),
        (unique + "/d", bytes(range(256)), False),
    ]
    wait_until(acknowledged(client), client)
    client.disconnect()
    assert not client.is_connected and client.error is None


def topic_aliases_save_bytes_and_keep_the_order(host, port, unique):
    client = Client(host, port, client_id=unique, aliases=2)
    client.connect()
    got = subscribe(client, unique + "/#", qos=1)
    topics = [client.topic("%s/a/rather/long/topic/%d" % (unique, i)) for i in range(3)]
    for i in range(5):
        for topic in topics:
            assert client.publish(topic, b"%d" % i, qos=i & 1)
    wait_until(lambda: len(got) == 15, client)
    for topic in topics:
        assert [p for t, p, _ in got if t.encode() == topic.name and p in b"024"] == [b"0", b"2", b"4"]
        assert [p for t, p, _ in got if t.encode() == topic.name and p in b"13"] == [b"1", b"3"]
    assert client.session.bytes_saved == 2 * (4 * len(topics[0].name) - 15)
    client.disconnect()


def a_retained_message_arrives_and_unsubscribe_stops_messages(host, port, unique):
    client = Client(host, port, client_id=unique)
    client.connect()
    client.publish(unique + "/r", b"kept", qos=1, retain=True)
    wait_until(acknowledged(client), client)
    got = subscribe(client, unique + "/r", qos=1)
    wait_until(lambda: got == [(unique + "/r", b"kept", True)], client)
    client.unsubscribe(unique + "/r")
    wait_until(
        lambda: client.session.subscriptions.next_to_send() < 0 and not client.session.pending_subacks, client
    )
    client.publish(unique + "/r", b"", qos=1, retain=True)
    wait_until(acknowledged(client), client)
    client.poll(200)
    assert len(got) == 1
    client.disconnect()


def the_will_is_published_only_if_the_link_is_lost(host, port, unique):
    watcher = Client(host, port, client_id=unique + "w")
    watcher.connect()
    got = subscribe(watcher, unique + "/status", qos=1)
    client = Client(host, port, client_id=unique, session_expiry=0)
    client.will(unique + "/status", b"offline", qos=1)
    client.connect()
    client._on_link_lost(OSError(104))  # as if the network failed: no DISCONNECT is sent
    wait_until(lambda: got == [(unique + "/status", b"offline", False)], watcher)
    client = Client(host, port, client_id=unique)
    client.will(unique + "/status", b"offline")
    client.connect()
    client.disconnect()  # a normal DISCONNECT deletes the will
    watcher.poll(300)
    assert len(got) == 1
    watcher.disconnect()


def properties_arrive_complete_and_in_order(host, port, unique):
    client = Client(host, port, client_id=unique)
    client.connect()
    seen = []

    def handle(m):
        users = [m.property(USER_PROPERTY, i) for i in range(3)]
        seen.append(
            (m.property(RESPONSE_TOPIC), m.property(CORRELATION_DATA), m.property(CONTENT_TYPE), users)
        )

    s = client.subscribe(unique, handle, qos=1)
    wait_until(lambda: s.reason is not None, client)
    block = pack(
        response_topic=unique + "/answer",
        correlation_data=b"\x00\x01",
        content_type="text/plain",
        user_properties=[("a", "1"), ("a", "2")],
    )
    client.publish(unique, b"x", qos=1, properties=block)
    client.publish(unique, b"x", properties=block)
    wait_until(lambda: len(seen) == 2, client)
    assert seen == [(unique + "/answer", b"\x00\x01", "text/plain", [("a", "1"), ("a", "2"), None])] * 2
    client.disconnect()


def topic_aliases_of_the_broker_are_resolved(host, port, unique):
    """iotcore sends topic aliases if the client allows them; mosquitto 2.0 does not.

    The filters have no wildcards because iotcore 0.4.0 assigns one alias per subscription: it sends all
    topics that match a wildcard with the alias of the first one.
    """
    client = Client(host, port, client_id=unique, topic_alias_maximum=3)
    client.connect()
    topics = ["%s/topic/%d" % (unique, i) for i in range(3)]
    got = [subscribe(client, topic, qos=1) for topic in topics]
    for i in range(12):
        while not client.publish(topics[i % 3], b"%d" % i, qos=1):
            client.poll(1)
    wait_until(lambda: sum(len(some) for some in got) == 12, client)
    for i in range(3):
        assert [(t, int(p)) for t, p, _ in got[i]] == [(topics[i], n) for n in range(i, 12, 3)]
    assert client.connection_count == 1
    client.disconnect()


def five_hundred_messages_arrive_in_order(host, port, unique):
    client = Client(host, port, client_id=unique, outbox=8192, inflight=20)
    client.connect()
    numbers = []
    s = client.subscribe(unique + "/n", lambda m: numbers.append(int(m.payload)), qos=1)
    wait_until(lambda: s.reason is not None, client)
    topic = client.topic(unique + "/n")
    sent = 0
    while sent < 500:
        if client.publish(topic, b"%d" % sent, qos=1):
            sent += 1
        else:
            client.poll(1)
    wait_until(lambda: len(numbers) == 500 and acknowledged(client)(), client)
    assert numbers == list(range(500))
    client.disconnect()


def qos_2_messages_arrive_once_and_in_order(host, port, unique):
    client = Client(host, port, client_id=unique, outbox=4096, inflight=10)
    ended = []
    client.on_ack = lambda answer: ended.append(answer.reason)
    client.connect()
    numbers = []
    s = client.subscribe(unique + "/n", lambda m: numbers.append((m.qos, int(m.payload))), qos=2)
    wait_until(lambda: s.reason is not None, client)
    assert s.reason == 2
    topic = client.topic(unique + "/n")
    sent = 0
    while sent < 100:
        if client.publish(topic, b"%d" % sent, qos=2):
            sent += 1
        else:
            client.poll(1)
    wait_until(lambda: len(numbers) == 100 and len(ended) == 100, client)
    assert numbers == [(2, i) for i in range(100)]
    assert ended == [0] * 100 or set(ended) <= {0, 0x10}
    client.poll(100)
    assert 1 not in list(client.session.received_ids) and client.connection_count == 1
    client.disconnect()


def subscriptions_of_an_earlier_program_are_removed(host, port, unique):
    """Program 2 resumes the session of program 1 and has one filter less."""
    from umqtt5 import stored_subscriptions

    def run(filters, wait):
        client = Client(host, port, client_id=unique, clean_start=False)
        stored = stored_subscriptions.attach(client, "subscriptions", 500)
        got = []
        client.on_unhandled = lambda m: got.append((None, m.topic, m.payload))
        for f in filters:
            client.subscribe(f, lambda m, f=f: got.append((f, m.topic, m.payload)), 1)
        resumed = client.connect()
        wait_until(lambda: not client.session.pending_subacks and wait(got), client)
        for _ in range(20):
            client.poll(50)
        client.disconnect()
        return resumed, stored, got

    keep, gone, new = unique + "/keep", unique + "/gone/+", unique + "/new"
    run((keep, gone), lambda got: True)
    other = Client(host, port, client_id=unique + "-other")
    other.connect()
    assert other.publish(unique + "/gone/1", b"queued", qos=1, wait=True)
    assert other.publish(unique + "/keep", b"queued", qos=1, wait=True)
    resumed, stored, got = run((new, keep), lambda got: len(got) == 2)
    assert resumed and stored.leftovers == [] and stored.error is None
    assert sorted(got, key=repr) == sorted(
        [(None, unique + "/gone/1", b"queued"), (keep, unique + "/keep", b"queued")], key=repr
    ), got
    # the leftover is gone: its messages are not queued any more
    assert other.publish(unique + "/gone/1", b"lost", qos=1, wait=True)
    assert other.publish(unique + "/new", b"last", qos=1, wait=True)
    resumed, stored, got = run((new, keep), lambda got: got)
    assert resumed and got == [(new, unique + "/new", b"last")], got
    other.disconnect()


def qos_2_is_exactly_once_across_lost_links(host, port, unique):
    """Needs a broker that stores sessions."""
    reader = Client(host, port, client_id=unique + "r")
    reader.connect()
    numbers = []
    s = reader.subscribe(unique + "/n", lambda m: numbers.append(int(m.payload)), qos=2)
    wait_until(lambda: s.reason is not None, reader)
    writer = Client(host, port, client_id=unique, inflight=20, outbox=4096)
    writer.connect()
    sent = 0
    while sent < 60:
        if writer.publish(unique + "/n", b"%d" % sent, qos=2):
            sent += 1
        writer.poll(sent % 3)
        reader.poll(sent % 2)
        if sent % 20 == 10:
            writer._on_link_lost(OSError(104))  # as if the network failed: no DISCONNECT is sent
            writer.connect()
            assert writer.session.resumed
        if sent % 20 == 15:
            reader._on_link_lost(OSError(104))
            reader.connect()
            assert reader.session.resumed
    wait_until(lambda: len(numbers) >= 60 and acknowledged(writer)(), reader, writer)
    reader.poll(300)
    assert numbers == list(range(60)), numbers
    writer.disconnect()
    reader.disconnect()


def subscription_options_take_effect(host, port, unique):
    """Needs a broker that implements No Local, Retain As Published and Retain Handling."""
    client = Client(host, port, client_id=unique)
    client.connect()
    client.publish(unique + "/r", b"kept", qos=1, retain=True)
    wait_until(acknowledged(client), client)
    got = {}

    def subscribe_with(name, **options):
        got[name] = []
        handler = lambda m: got[name].append((m.payload, m.retain))  # noqa: E731
        s = client.subscribe(unique + "/" + name, handler, 1, **options)
        wait_until(lambda: s.reason is not None, client)
        client.poll(100)

    subscribe_with("r", retain_handling=2)
    assert got["r"] == []
    subscribe_with("+", no_local=True, retain_as_published=True)
    assert got["+"] == [(b"kept", True)]
    client.publish(unique + "/x", b"mine", qos=1)
    other = Client(host, port, client_id=unique + "o")
    other.connect()
    other.publish(unique + "/y", b"", qos=1, retain=True)
    other.publish(unique + "/z", b"z", qos=1, retain=True)
    wait_until(lambda: (b"z", True) in got["+"], client, other)
    assert b"mine" not in [payload for payload, _ in got["+"]]
    other.publish(unique + "/z", b"", qos=1, retain=True)
    other.publish(unique + "/r", b"", qos=1, retain=True)
    wait_until(acknowledged(other), other)
    other.disconnect()
    client.disconnect()


def a_message_as_large_as_the_receive_buffer_arrives(host, port, unique):
    client = Client(host, port, client_id=unique, rx=2000, tx=4000, outbox=4000)
    client.connect()
    got = subscribe(client, unique, qos=1)
    # header, topic, Packet Identifier, property length, Subscription Identifier
    overhead = 1 + 2 + 2 + len(unique) + 2 + 1 + 3
    largest = b"x" * (2000 - overhead)
    client.publish(unique, largest, qos=1)
    client.publish(unique, b"small", qos=1)
    wait_until(lambda: len(got) == 2, client)
    assert got[0][1] == largest and got[1][1] == b"small"
    client.disconnect()


def a_lost_link_is_restored_without_losing_messages(host, port, unique):
    reader = Client(host, port, client_id=unique + "r")
    reader.connect()
    got = subscribe(reader, unique + "/+", qos=1)
    client = Client(host, port, client_id=unique, inflight=20)
    states = []
    client.on_state = lambda c, connected, error: states.append(connected)
    client.connect()
    commands = subscribe(client, unique + "c", qos=1)
    for i in range(12):
        assert client.publish(unique + "/n", b"%d" % i, qos=1)
        if i % 4 == 2:
            client._on_link_lost(OSError(104))  # as if the network failed: no DISCONNECT is sent
    wait_until(lambda: client.is_connected and acknowledged(client)(), client, reader)
    wait_until(lambda: len(set(got)) == 12, reader, client)
    order = []
    for _, payload, _ in got:
        if int(payload) not in order:
            order.append(int(payload))
    assert order == list(range(12))
    assert states[0] is True and False in states and states[-1] is True
    reader.publish(unique + "c", b"still there", qos=1)
    wait_until(lambda: len(commands) == 1, client, reader)
    client.disconnect()
    reader.disconnect()


def pings_keep_an_idle_link_open(host, port, unique):
    client = Client(host, port, client_id=unique, keep_alive=1)
    client.connect()
    client.poll(3000)
    assert client.is_connected and client.connection_count == 1
    client.disconnect()


def the_broker_assigns_a_missing_client_id(host, port, unique):
    client = Client(host, port)
    client.connect()
    assert client.session.client_id
    client.disconnect()


def a_handler_may_publish(host, port, unique):
    client = Client(host, port, client_id=unique)
    client.connect()
    got = subscribe(client, unique + "/out", qos=1)
    client.on(unique + "/in", qos=1)(lambda m: client.publish(unique + "/out", m.payload, qos=1))
    s = client.session.subscriptions.entries[1]
    wait_until(lambda: s.reason is not None, client)
    for i in range(20):
        while not client.publish(unique + "/in", b"%d" % i, qos=1):
            client.poll(1)
        client.poll(1)
    wait_until(lambda: len(got) == 20, client)
    client.disconnect()


def requests_receive_their_responses(host, port, unique):
    """One client answers its own blocking requests; a second one answers several at the same time."""
    client = Client(host, port, client_id=unique)
    client.connect()
    responder = Client(host, port, client_id=unique + "r")
    responder.connect()
    for c in (client, responder):
        s = c.responder(unique + "/ask/" + ("me" if c is client else "you"), lambda m: m.payload + b"!")
        wait_until(lambda: s.reason is not None, c)  # noqa: B023
    assert client.request(unique + "/ask/me", b"hi", timeout=5000) == b"hi!"
    assert client.request(unique + "/ask/me", "é", timeout=5000, qos=1) == "é!".encode()
    got = []

    def ask(i):
        on_response = lambda m: got.append((i, m and m.payload))  # noqa: E731
        return client.request(
            unique + "/ask/you", b"%d" % i, timeout=5000, on_response=on_response, qos=i & 1
        )

    for i in range(5):
        wait_until(lambda: ask(i), client, responder)  # noqa: B023
    wait_until(lambda: len(got) == 5, client, responder)
    assert sorted(got) == [(i, b"%d!" % i) for i in range(5)], got
    try:
        client.request(unique + "/nobody", b"", timeout=300)
        raise AssertionError("a request without a responder was answered")
    except OSError as error:
        assert error.errno == ETIMEDOUT
    client.disconnect()
    responder.disconnect()


def a_request_succeeds_after_the_link_is_lost(host, port, unique):
    client = Client(host, port, client_id=unique, session_expiry=0)
    client.connect()
    client.responder(unique, lambda m: m.payload)
    assert client.request(unique, b"1", timeout=5000) == b"1"
    client._on_link_lost(OSError(104))  # as if the network failed: no DISCONNECT is sent
    assert client.request(unique, b"2", timeout=9000) == b"2"
    assert client.connection_count == 2
    client.disconnect()


def disconnect_with_reason_0x04_publishes_the_will(host, port, unique):
    """Needs a broker that implements reason code 0x04 and stores sessions."""
    watcher = Client(host, port, client_id=unique + "w")
    watcher.connect()
    seen = []

    def handle(m):
        seen.append((m.payload, m.property(CONTENT_TYPE), m.property(USER_PROPERTY)))

    s = watcher.subscribe(unique + "/status", handle, qos=1)
    wait_until(lambda: s.reason is not None, watcher)
    client = Client(host, port, client_id=unique, properties=pack(user_properties=[("a", "1")]))
    block = pack(payload_format=1, content_type="text/plain", user_properties=[("k", "v")], message_expiry=60)
    client.will(unique + "/status", "off", qos=1, properties=block)
    client.connect()
    client.disconnect(0x04, pack(reason_string="battery", user_properties=[("x", "y")]))
    wait_until(lambda: seen == [(b"off", "text/plain", ("k", "v"))], watcher)
    assert client.connect() is True  # the session was stored
    client.disconnect(0, pack(session_expiry=0))
    assert client.connect() is False  # a DISCONNECT with session expiry 0 deletes the session
    client.disconnect()
    watcher.poll(200)
    assert len(seen) == 1
    watcher.disconnect()


def scram_authenticates_and_reauthenticates(host, port, unique):
    """Needs mosquitto with the SCRAM plugin, user `tester` and password `pencil`."""
    client = Client(host, port, client_id=unique)
    client.auth = Scram("tester", "pencil")
    client.connect()
    got = subscribe(client, unique, 1)
    assert client.publish(unique, b"before", qos=1, wait=True)
    wait_until(lambda: len(got) == 1, client)
    client.poll(100)
    # mosquitto 2.0.11 closes the connection if messages are sent during re-authentication, although the
    # standard allows them (4.12.1), so no message is in flight here
    assert client.reauthenticate()
    assert client.publish(unique, b"after", qos=1)
    wait_until(lambda: len(got) == 2, client)
    assert client.connection_count == 1 and client.is_connected
    client._on_link_lost(OSError(104))
    client.connect()
    assert client.is_connected
    client.disconnect()


def scram_refuses_a_wrong_user_or_password(host, port, unique):
    client = Client(host, port, client_id=unique)
    for user, password in (("tester", "pen"), ("nobody", "pencil")):
        client.auth = Scram(user, password)
        try:
            client.connect()
        except MQTTError as error:
            print("refused 0x%02X" % error.code)
        assert not client.is_connected and client.has_permanent_error


def the_brokers_receive_maximum_is_obeyed(host, port, unique):
    """Needs `max_inflight_messages 3`: at most 3 messages are in flight, and all of them arrive."""
    client = Client(host, port, client_id=unique, inflight=16, outbox=4096)
    client.connect()
    assert client.session.broker_limits[0] == 3, client.session.broker_limits
    got = subscribe(client, unique, 1)
    most_in_flight = 0
    for i in range(60):
        wait_until(lambda: client.publish(unique, b"%d" % i, qos=1 + i % 2), client)  # noqa: B023
        in_flight = len([s for s in client.session.outbox.states if s > 1])
        most_in_flight = max(most_in_flight, in_flight)
    wait_until(lambda: len(got) == 60, client)
    assert sorted(int(payload) for _, payload, _ in got) == list(range(60))
    assert 0 < most_in_flight <= 3, most_in_flight
    client.disconnect()


def not_authorized_is_reported(host, port, unique):
    """Needs an access control list that allows only topics under `open/`."""
    client = Client(host, port, client_id=unique)
    client.connect()
    ended = []
    client.on_ack = lambda answer: ended.append(answer.reason)
    client.publish("open/" + unique, b"x", qos=1)
    client.publish("closed/" + unique, b"x", qos=1)
    client.publish("closed/" + unique, b"x", qos=2)
    wait_until(lambda: len(ended) == 3, client)
    assert sorted(ended) == [0x10, 0x87, 0x87] or sorted(ended) == [0, 0x87, 0x87], ended
    assert client.is_connected and client.connection_count == 1
    client.disconnect()


def the_broker_drops_messages_above_our_maximum_packet_size(host, port, unique):
    """The next message that fits arrives, and the link stays up."""
    writer = Client(host, port, client_id=unique + "w", tx=4096)
    writer.connect()
    client = Client(host, port, client_id=unique, rx=256)
    client.connect()
    got = subscribe(client, unique, 0)
    writer.publish(unique, b"x" * 2000)
    writer.publish(unique, b"small")
    wait_until(lambda: got, client, writer)
    assert got[0][1] == b"small" and client.connection_count == 1
    client.disconnect()
    writer.disconnect()


def a_session_taken_over_is_reported(host, port, unique):
    first = Client(host, port, client_id=unique)
    errors = []
    first.on_state = lambda client, connected, error: errors.append(error)
    first.connect()
    first._pause = 0
    second = Client(host, port, client_id=unique)
    second.connect()
    wait_until(lambda: len(errors) == 2, first)
    assert getattr(errors[1], "code", 0x8E) == 0x8E, errors
    first.disconnect()
    second.disconnect()


def each_overlapping_subscription_calls_its_handler_once(host, port, unique):
    """The Subscription Identifiers in PUBLISH tell the client which of its filters matched."""
    client = Client(host, port, client_id=unique)
    client.connect()
    got = []
    for name in ("a/#", "a/+", "a/b"):
        s = client.subscribe(unique + "/" + name, lambda m, name=name: got.append((name, m.payload)), 1)
        wait_until(lambda: s.reason is not None, client)  # noqa: B023
    client.publish(unique + "/a/b", b"x", qos=1)
    wait_until(lambda: len(got) >= 3, client)
    client.poll(200)
    assert sorted(got) == [("a/#", b"x"), ("a/+", b"x"), ("a/b", b"x")], got
    client.disconnect()


def a_shared_subscription_divides_the_messages(host, port, unique):
    clients = [Client(host, port, client_id=unique + str(i)) for i in range(2)]
    got = [[], []]
    for i, client in enumerate(clients):
        client.connect()
        s = client.subscribe("$share/g/" + unique, lambda m, i=i: got[i].append(m.payload), 1)
        wait_until(lambda: s.reason is not None, client)  # noqa: B023
    for i in range(20):
        wait_until(lambda: clients[0].publish(unique, b"%d" % i, qos=1), *clients)  # noqa: B023
    wait_until(lambda: len(got[0]) + len(got[1]) == 20, *clients)
    assert len(got[0]) and len(got[1])
    assert sorted(got[0] + got[1]) == sorted([b"%d" % i for i in range(20)])
    for client in clients:
        client.disconnect()


def an_expired_message_is_not_delivered(host, port, unique):
    reader = Client(host, port, client_id=unique + "r")
    reader.connect()
    got = []
    s = reader.subscribe(unique, lambda m: got.append((m.payload, m.int_property(0x02, 0))), 1)
    wait_until(lambda: s.reason is not None, reader)
    reader.disconnect()
    client = Client(host, port, client_id=unique)
    client.connect()
    client.publish(unique, b"short", qos=1, properties=pack(message_expiry=1))
    client.publish(unique, b"long", qos=1, properties=pack(message_expiry=1000))
    wait_until(acknowledged(client), client)
    client.poll(2200)
    reader.connect()
    wait_until(lambda: got, reader)
    assert len(got) == 1 and got[0][0] == b"long" and 0 < got[0][1] <= 998, got
    client.disconnect()
    reader.disconnect()


def payloads_larger_than_the_buffers_are_streamed(host, port, unique):
    """100,000 bytes are sent and received through buffers of 512 bytes, at each QoS."""
    size = 100_000
    writer = Client(host, port, client_id=unique + "w", rx=512, tx=512, outbox=512)
    writer.connect()
    reader = Client(host, port, client_id=unique, rx=512, tx=512, outbox=512)
    received, sums = [], [0, 0]

    def begin(message, n):
        sums[:] = [0, 0]

        def add_chunk(chunk):
            if chunk is None:
                return
            for byte in chunk:
                sums[0] = (sums[0] + byte) % 65521  # the two sums of Adler-32
                sums[1] = (sums[1] + sums[0]) % 65521
            if not len(chunk):
                received.append((n, tuple(sums)))

        return add_chunk

    s = streaming.receive(reader, unique, begin, qos=2, max_size=size + 100)
    reader.connect()
    wait_until(lambda: s.reason is not None, reader)
    data = bytes([i * 7 % 251 for i in range(1000)])
    expected = [0, 0]
    for i in range(size):
        expected[0] = (expected[0] + data[i % 1000]) % 65521
        expected[1] = (expected[1] + expected[0]) % 65521
    for qos in range(3):
        assert streaming.send(writer, unique, Repeated(data, size), size, qos=qos)
        wait_until(lambda: len(received) == qos + 1 and not streaming.is_sending(writer), reader, writer)  # noqa: B023
    assert received == [(size, tuple(expected))] * 3
    writer.disconnect()
    reader.disconnect()


class Repeated:
    """A seekable reader that repeats `data` until it has returned `size` bytes."""

    def __init__(self, data, size):
        self._data = data
        self._size = size
        self._offset = 0

    def readinto(self, buf):
        n = min(len(buf), self._size - self._offset)
        for i in range(n):
            buf[i] = self._data[(self._offset + i) % len(self._data)]
        self._offset += n
        return n

    def tell(self):
        return self._offset

    def seek(self, offset, whence=0):
        self._offset = offset


def restart(client):
    """Ask the test, which reads the output, to restart the broker. Returns when the link is lost."""
    sys.stdout.write("restart\n")
    if sys.implementation.name == "cpython":
        sys.stdout.flush()
    wait_until(lambda: not client.is_connected, client)


def a_persistent_session_survives_a_broker_restart(host, port, unique):
    """Messages queued for an offline client arrive once after the broker has restarted."""
    writer = Client(host, port, client_id=unique + "w")
    writer.max_reconnect_delay = 500
    writer.connect()
    client = Client(host, port, client_id=unique)
    client.max_reconnect_delay = 500
    client.connect()
    got = subscribe(client, unique, 1)
    client.disconnect()
    assert client.connect()  # mosquitto 2.0 does not save a session if the last CONNECT has created it
    client.disconnect()
    for i in range(10):
        assert writer.publish(unique, b"%d" % i, qos=1)
        wait_until(acknowledged(writer), writer)
    restart(writer)
    client.connect(wait=False)
    wait_until(lambda: client.is_connected, client)
    assert client.session.resumed
    wait_until(lambda: len(got) == 10, client)
    client.poll(200)
    assert [payload for _, payload, _ in got] == [b"%d" % i for i in range(10)]
    client.disconnect()
    writer.disconnect()


def a_session_lost_by_the_broker_is_subscribed_again(host, port, unique):
    """CONNACK has Session Present 0: the client subscribes again, and the queued message arrives."""
    client = Client(host, port, client_id=unique)
    client.max_reconnect_delay = 500
    client.connect()
    got = subscribe(client, unique, 1)
    client.publish(unique, b"1", qos=1)
    wait_until(lambda: len(got) == 1, client)
    restart(client)
    assert client.publish(unique, b"2", qos=1)
    wait_until(lambda: client.is_connected, client)
    assert not client.session.resumed
    wait_until(lambda: len(got) == 2, client)
    client.disconnect()


def connect_raises_if_nothing_listens(host, port, unique):
    client = Client(host, port, client_id=unique)
    try:
        client.connect()
    except OSError as error:
        assert error.errno == 111 or error.errno == 104, error
    else:
        raise AssertionError("connected although nothing listens")
    assert not client.poll(10)


def connect_raises_the_brokers_refusal(host, port, unique):
    """Prints the broker's reason."""
    client = Client(host, port, client_id=unique, user="nobody", password="wrong")
    try:
        client.connect()
    except MQTTError as error:
        print("reason", hex(error.code), error)
    else:
        raise AssertionError("the broker accepted a wrong password")


def the_limits_in_connack_are_obeyed(host, port, unique):
    """Needs max_qos 1, max_topic_alias 3, retain_available false, max_keepalive 30, max_packet_size 200."""
    client = Client(host, port, client_id=unique, keep_alive=600, aliases=8)
    client.connect()
    limits = client.session.broker_limits
    assert (limits[1], limits[3], limits[4]) == (3, 1, 0), limits
    refused = []
    for payload, retain in ((b"x", True), (b"x" * 300, False)):
        try:
            client.publish(unique, payload, qos=1, retain=retain)
        except MQTTError as error:
            refused.append(error.code)
    assert refused == [0x9A, 0x95], refused
    for i in range(6):
        assert client.publish("%s/%d" % (unique, i % 6), b"x", qos=1)
        client.poll(20)
    wait_until(acknowledged(client), client)
    client.poll(100)
    assert client.is_connected and client.connection_count == 1
    client.disconnect()


class Probe:
    """The operations that a device repeats all day: publish, receive and poll."""

    def __init__(self, host, port, unique):
        self.client = client = Client(host, port, client_id=unique)
        self.got = 0
        client.subscribe(unique + "/in", self.handle, qos=1)
        client.connect()
        wait_until(lambda: client.session.subscriptions.entries[0].reason is not None, client)
        self.out_topic, self.in_topic = client.topic(unique + "/out"), client.topic(unique + "/in")
        self.payload = b"21.5"
        self.outbox = client.session.outbox

    def handle(self, message):
        if message.equals(b"21.5"):
            self.got += 1

    def publish_qos_0(self):
        assert self.client.publish(self.out_topic, self.payload)

    def publish_qos_1(self):
        assert self.client.publish(self.out_topic, self.payload, qos=1)
        while self.outbox.count:
            self.client.poll(0)

    def receive(self):
        before = self.got
        self.client.publish(self.in_topic, self.payload, qos=1)
        while self.got == before or self.outbox.count:
            self.client.poll(0)

    def idle(self):
        self.client.poll(0)

    def idle_for_a_while(self):
        self.client.poll(3)


def nothing_is_allocated_per_message(host, port, unique):
    """Runs in the VM only. Socket, client and handler allocate nothing: `mem_total` does not grow, and the
    operations run with the heap locked.
    """
    import micropython

    probe = Probe(host, port, unique)
    for name in ("publish_qos_0", "publish_qos_1", "receive", "idle", "idle_for_a_while"):
        function = getattr(probe, name)
        for _ in range(5):
            function()
        before = micropython.mem_total()
        function()
        allocated = micropython.mem_total() - before
        assert allocated == 0, (name, allocated)
        micropython.heap_lock()
        try:
            function()
        finally:
            micropython.heap_unlock()
    probe.client.disconnect()


def main(host, port, name, user=None, password=None):
    from os import urandom

    if user:
        LOGIN["user"] = user
    if password:
        LOGIN["password"] = password

    unique = "t" + "".join(["%02x" % b for b in urandom(4)])
    globals()[name](host, int(port), unique)
    print("done", name)


if __name__ == "__main__":
    main(*sys.argv[1:])
