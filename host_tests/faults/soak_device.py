"""The device of the soak test: it calls the client from everywhere where MicroPython runs Python."""

import _thread
import gc
import random
import sys
from time import sleep_ms, sleep_us, ticks_diff, ticks_ms, ticks_us

import micropython
from soak_checks import (
    BIG,
    HANDLER,
    HOOK,
    MAIN,
    ON_ACK,
    ON_STATE,
    POISON,
    SOURCES,
    TIMER,
    Arrivals,
    HookedStream,
    Messages,
    log,
    make_payload,
)

from umqtt5 import Client, MQTTError, dns
from umqtt5.properties import pack
from umqtt5.tcp import connect as connect_tcp

TIMEOUTS = {"connect": 2000, "connack": 2000, "ack": 2000, "write": 2000, "ping": 1000}
BIG_SIZE = 500
INFLIGHT = 8
PARTS = 4


class Device:
    def __init__(self, arguments):
        self.unique = unique = arguments["unique"]
        self.is_active = True  # whether random calls are made
        self._busy_name = arguments["busy_name"]
        self.should_connect = False
        self.polls = self.slow_polls = self.longest_poll_us = self.lookups = 0
        self.interrupts = self.interrupts_busy = self.queue_full = 0
        # by call: accepted or done, refused
        self.scheduled_publishes = [0, 0]
        self.publishes_refused_busy = 0
        self.calls = {}
        self.is_disconnecting = self.is_stopped = False
        self.special = None  # source and QoS of a message that the broker will not accept
        self.messages = Messages(INFLIGHT)
        self.arrivals = [Arrivals(qos) for qos in range(3)]
        self.handled = self.handler_errors = self.unhandled = 0
        self.client = client = Client(
            arguments["hosts"],
            client_id=unique,
            keep_alive=2,
            rx=512,
            tx=512,
            outbox=3000,
            inflight=INFLIGHT,
            aliases=4,
            timeout=TIMEOUTS,
            transport=self.open_stream,
        )
        client.max_reconnect_delay = 1000
        client.on_ack = self.on_ack
        client.on_state = self.on_state
        client.on_error = self.on_error
        client.on_unhandled = self.on_unhandled
        client.subscribe(unique + "/down/+", self.on_down, 2)
        client.subscribe(unique + "/stop", self.on_stop, 1)
        self.topics = [
            [client.topic("%s/up/%s/%d" % (unique, source, i)) for i in range(3)] for source in SOURCES
        ]
        # a valid topic, but with more levels than mosquitto accepts: it ends the connection
        self.topics[POISON] = [client.topic(unique + "/" * 201)] * 3
        self.properties = (
            b"",
            b"",
            pack(content_type="text/plain"),
            pack(user_properties=[("a", "b"), ("c", "d")]),
            pack(message_expiry=3600, correlation_data=b"\0\1\2"),
        )
        self.part_handlers = [self.make_part_handler(i) for i in range(PARTS)]
        self.scheduled_hook = self.on_hook
        self.scheduled_timer = self.on_timer

    def open_stream(self, host, port):
        try:
            return HookedStream(connect_tcp(host, port), self.hook)
        except dns.LookupPending:
            self.lookups += 1
            raise

    def is_client_busy(self):
        return getattr(self.client.session, self._busy_name)

    def count(self, call, i):
        self.calls.setdefault(call, [0, 0])[i] += 1

    # ---- scheduled functions

    def hook(self):
        """Schedule a function from inside the client."""
        if self.is_active and not random.getrandbits(3):
            try:
                micropython.schedule(self.scheduled_hook, 0)
            except RuntimeError:
                self.queue_full += 1

    def run_timer(self):
        """Schedule a function at random times, in a thread. Uses no heap."""
        schedule = micropython.schedule
        function = self.scheduled_timer
        while self.is_active:
            sleep_us(500 + random.getrandbits(13))
            try:
                schedule(function, 0)
            except RuntimeError:
                self.queue_full += 1

    def on_hook(self, _):
        self.interrupt(HOOK)

    def on_timer(self, _):
        self.interrupt(TIMER)

    def interrupt(self, source):
        if not self.is_active or self.messages.is_recording:
            return
        is_busy = self.is_client_busy()
        self.interrupts += 1
        self.interrupts_busy += is_busy
        chance = random.getrandbits(10)
        try:
            if chance > 200:
                done = self.publish(source, max(0, (chance & 3) - 1))
                self.scheduled_publishes[0 if done else 1] += 1
                if is_busy:
                    if done:
                        log("violation", "publish has changed a busy client")
                    self.publishes_refused_busy += 1
            else:
                self.call_at_random(chance)
        except Exception as error:
            self.check_error(error, is_busy)

    def check_error(self, error, is_busy):
        """An interrupting call may raise RuntimeError if the client is busy, and nothing else."""
        if not is_busy or not isinstance(error, RuntimeError):
            log("violation", "a scheduled call has raised", repr(error))

    def call_at_random(self, chance):
        """Make a call that a scheduled function or a handler may make; `chance` is below 200."""
        if chance < 100:
            self.call("subscribe", self.change_part)
        elif chance < 150:
            self.call("poll", self.client.poll)
        elif chance < 170:
            self.call("cancel", self.cancel)
        elif chance < 199:
            self.call("connect", self.reconnect)
        elif not random.getrandbits(2):
            self.call("disconnect", self.disconnect)

    def call(self, name, function):
        try:
            function()
        except RuntimeError:
            self.count(name, 1)
            raise
        self.count(name, 0)

    def change_part(self):
        """Subscribe or unsubscribe, as another part of the program does it."""
        i = random.getrandbits(4) % (PARTS + 1)
        topic_filter = "%s/part/%s" % (self.unique, i if i < PARTS else "+")
        if random.getrandbits(1):
            self.client.subscribe(
                topic_filter, self.part_handlers[i] if i < PARTS else self.on_any_part, random.getrandbits(1)
            )
        else:
            self.client.unsubscribe(topic_filter)

    def cancel(self):
        if not random.getrandbits(4):
            self.messages.cancel(self.client, random.getrandbits(3))

    def reconnect(self):
        self.client.connect(wait=False)

    def disconnect(self):
        self.is_disconnecting = True  # it may wait, so the current poll is not measured
        self.client.disconnect()
        self.should_connect = True

    # ---- messages

    def publish(self, source, qos):
        number = self.messages.numbers[source * 3 + qos]
        stream = source * 3 + qos
        payload = make_payload(stream, number)
        if source == BIG:
            payload += bytes(BIG_SIZE)
        topic = self.topics[source][number % 3]
        properties = self.properties[random.getrandbits(8) % 5]
        result = self.client.publish(topic, payload, qos, False, properties)
        if result:
            self.messages.numbers[stream] = number + 1
            if qos:
                self.messages.accept(result, stream, number)
        return result

    def on_ack(self, answer):
        self.messages.acknowledge(answer.packet_id, answer.reason)
        if self.is_active and not random.getrandbits(3):
            self.publish(ON_ACK, random.getrandbits(2) % 3)

    def on_state(self, client, is_connected, error):
        if is_connected and self.is_active:
            self.publish(ON_STATE, random.getrandbits(2) % 3)
        if is_connected and not self.is_active:
            log("connected", ticks_diff(ticks_ms(), self.quiet_since))

    def on_error(self, error):
        if str(error) == "planned":
            self.handler_errors += 1
        else:
            log("violation", "a handler or callback has raised", repr(error))
            sys.print_exception(error, sys.stdout)

    def on_unhandled(self, message):
        self.unhandled += 1
        if "/part/" not in message.topic:
            log("violation", "no handler for", message.topic)

    def on_down(self, message):
        topic = message.topic
        payload = message.payload
        try:
            stream, number, _ = payload.split(b"/")
            stream, number = int(stream), int(number)
            qos = int(topic[-1])
        except ValueError:
            log("violation", "corrupt message", topic, payload)
            return
        if payload != make_payload(stream, number) or stream != qos or "/down/" not in topic:
            log("violation", "corrupt message", topic, payload)
        self.arrivals[qos].add(number)
        if self.is_active:
            chance = random.getrandbits(10)
            if chance < 200:
                self.call_at_random(chance)
            elif chance < 600:
                self.publish(HANDLER, chance % 3)

    def make_part_handler(self, i):
        end = "/part/%d" % i

        def on_part(message):
            self.handled += 1
            if not message.topic.endswith(end):
                log("violation", "handler of", end, "called for", message.topic)
            if not random.getrandbits(5):
                raise ValueError("planned")

        return on_part

    def on_any_part(self, message):
        self.handled += 1
        if "/part/" not in message.topic:
            log("violation", "handler of /part/+ called for", message.topic)

    def on_stop(self, message):
        self.is_stopped = True

    # ---- main loop

    def step(self):
        chance = random.getrandbits(12)
        try:
            if self.special and self.publish(*self.special):
                self.special = None
            for _ in range(chance & 3):
                self.publish(MAIN, random.getrandbits(8) % 3)
            if chance < 60:
                self.call("subscribe", self.change_part)
            elif chance < 70:
                self.call("cancel", self.cancel)
            elif chance < 75:
                self.call("disconnect", self.disconnect)
            elif chance < 100:
                self.special = BIG, 1 + (chance & 1)
            elif chance < 101:
                self.special = POISON, 1 + (chance & 1)
            elif chance < 110:
                self.connect_and_wait()
            elif chance < 180:
                sleep_ms(chance & 31)  # a program that only publishes
                return
        except RuntimeError as error:
            log("violation", "a call of the main loop has raised", repr(error))
        if self.should_connect and chance & 7 == 0:
            self.should_connect = False
            self.reconnect()
        self.poll(0 if chance & 3 else 50)

    def connect_and_wait(self):
        try:
            self.client.connect()
        except (OSError, MQTTError):  # after this `poll` does not try again
            self.count("failed connect", 0)
            self.should_connect = True

    def poll(self, timeout):
        client = self.client
        self.is_disconnecting = False
        start = ticks_us()
        client.poll(timeout)
        taken = ticks_diff(ticks_us(), start)
        if self.is_client_busy():
            log("violation", "the client is busy after poll")
        if not self.is_disconnecting:
            self.polls += 1
            self.slow_polls += taken > 100000
            self.longest_poll_us = max(self.longest_poll_us, taken)

    def report_heap(self, start):
        gc.collect()
        log(
            "heap",
            ticks_diff(ticks_ms(), start),
            gc.mem_free(),
            sum(self.messages.numbers),
            self.client.connection_count,
        )

    def drain(self, seconds):
        """Wait until the client is connected and all messages are acknowledged, then until "stop" arrives."""
        start = last_report = self.quiet_since = ticks_ms()
        self.is_active = False
        self.reconnect()
        if self.client.is_connected:
            log("connected", 0)
        is_reported = False
        while ticks_diff(ticks_ms(), start) < seconds * 1000 and not self.is_stopped:
            self.poll(50)
            if self.client.is_connected and not self.messages.pending and not is_reported:
                is_reported = True
                log("drained", ticks_diff(ticks_ms(), start))
            if ticks_diff(ticks_ms(), last_report) > 500:
                last_report = ticks_ms()
                self.report_heap(self.start)
        if not is_reported:
            log(
                "violation",
                self.messages.pending,
                "messages were not acknowledged; error:",
                self.client.error,
            )

    def run(self, seconds, drain_seconds):
        self.reconnect()
        _thread.start_new_thread(self.run_timer, ())
        self.start = last_report = ticks_ms()
        log("start")
        while ticks_diff(ticks_ms(), self.start) < seconds * 1000:
            self.step()
            if ticks_diff(ticks_ms(), last_report) > 500:
                last_report = ticks_ms()
                self.report_heap(self.start)
        log("quiet")
        self.drain(drain_seconds)
        self.is_active = False
        for arrivals in self.arrivals:
            arrivals.finish()
