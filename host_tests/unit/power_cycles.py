"""Power-cycle simulation: a device with a journal, a broker with a session, and cuts of power and network.

The real client and the real journal run on a simulated clock, network and flash. Payloads are
numbers in the order of publication, so that `DeviceHistory.check` finds lost and repeated messages.
"""

from simulated_flash import PowerCut, SeededRandom, SimulatedFlash
from simulation import SimulatedStream, Simulation

from helper import make_packet, publish_packet
from umqtt5.core import connection as module
from umqtt5.journal import Journal
from umqtt5.journal.record_log import RecordLog

NEVER = 1 << 30


class SessionBroker:
    """A broker whose session survives connections; it implements QoS 1 and 2 as in section 4.3.

    With `deliver_on_release` it delivers a QoS 2 message at PUBREL, otherwise at PUBLISH (4.3.3
    allows both). It assigns the lowest free packet identifier.
    """

    def __init__(self, deliver_on_release=False, receive_maximum=4):
        self.deliver_on_release = deliver_on_release
        self.limits = b"\x03\x21\x00" + bytes((receive_maximum,))
        self.delivered = {1: [], 2: []}  # payloads by QoS, in the order of delivery
        self.unreleased = {}  # payloads of QoS 2 messages that await PUBREL, by packet identifier
        self.pending = []  # [packet identifier, payload (None after PUBREC), QoS, DUP flag]
        self.has_session = False
        self.acknowledged = []  # payloads whose PUBACK or PUBREC was received
        self.acked_not_delivered = []  # payloads in `unreleased` when the broker lost its session
        self.excused_losses = []  # payloads of `acked_not_delivered` whose loss the client cannot detect
        self.is_new_session = False  # so far the client has sent only CONNECT in this session
        self.client_missed_new_session = False  # the client does not know that its session is new
        self.possible_duplicates = []  # payloads resent when `client_missed_new_session`

    def lose_session(self):
        """Lose the session; messages without PUBREC become new messages in the next session."""
        self.has_session = False
        self.acked_not_delivered += self.unreleased.values()
        self.unreleased.clear()
        for entry in self.pending:
            entry[3] = 0
        self.pending = [entry for entry in self.pending if entry[1] is not None]

    def send(self, payload, qos, stream):
        used = [entry[0] for entry in self.pending]
        packet_id = 1
        while packet_id in used:
            packet_id += 1
        entry = [packet_id, payload, qos, 0]
        self.pending.append(entry)
        if stream and stream.is_subscribed:
            self._out(stream, entry)

    def _out(self, stream, entry):
        if entry[1] is None:
            stream.send_to_client(bytes((0x62, 2, 0, entry[0])))
        else:
            if entry[3] and self.client_missed_new_session:
                self.possible_duplicates.append(int(entry[1]))
            stream.send_to_client(publish_packet(b"down", entry[1], entry[2], entry[0], flags=entry[3]))
            entry[3] = 8

    def handle(self, stream, pkt):
        kind = pkt[0] >> 4
        if kind != 1 and self.is_new_session:
            self.is_new_session = False
            self.acked_not_delivered = []
        if kind == 1:
            self._connect(stream, pkt)
        elif kind == 3:
            self._publish(stream, pkt)
        elif kind == 8:
            stream.send_to_client(b"\x90\x04" + pkt[2:4] + b"\x00\x02")
            stream.is_subscribed = True
            for entry in self.pending:
                self._out(stream, entry)
        elif kind == 6:
            known = pkt[3] in self.unreleased
            if known:
                self._release(pkt[3])
            stream.send_to_client(bytes((0x70, 2, 0, pkt[3])) if known else bytes((0x70, 3, 0, pkt[3], 0x92)))
        elif kind in (4, 5, 7):
            self._answered(stream, kind, pkt)

    def _connect(self, stream, pkt):
        if pkt[9] & 2:  # Clean Start
            self.lose_session()
        present, self.has_session = self.has_session, True
        if not present:
            self.is_new_session = True
            self.client_missed_new_session = False
        elif self.is_new_session:
            # the client did not receive CONNACK, or did not store that this session is new
            self.excused_losses += self.acked_not_delivered
            self.client_missed_new_session = True
        stream.send_to_client(make_packet(0x20, bytes((present, 0)), self.limits))

    def _publish(self, stream, pkt):
        qos = pkt[0] >> 1 & 3
        if not qos:
            return
        at = 4 + pkt[3]
        packet_id = pkt[at + 1]
        payload = number_in(pkt[at + 3 + pkt[at + 2] :])
        if qos == 1:
            self.delivered[1].append(payload)
        elif packet_id not in self.unreleased:
            self.unreleased[packet_id] = payload
            if not self.deliver_on_release:
                self.delivered[2].append(payload)
        stream.send_to_client(bytes((0x30 + 0x10 * qos + (0 if qos == 1 else 0), 2, 0, packet_id)))

    def _release(self, packet_id):
        payload = self.unreleased.pop(packet_id)
        if self.deliver_on_release:
            self.delivered[2].append(payload)

    def _answered(self, stream, kind, pkt):
        for entry in self.pending:
            if entry[0] != pkt[3]:
                continue
            if kind == 5:
                if entry[1] is not None:
                    self.acknowledged.append(entry[1])
                entry[1] = None
                stream.send_to_client(bytes((0x62, 2, 0, pkt[3])))
            elif entry[1] is not None:
                self.acknowledged.append(entry[1])
        if kind != 5:
            self.pending = [entry for entry in self.pending if entry[0] != pkt[3]]


def number_in(payload):
    """Return the number at the start of a payload, -1 if there is none."""
    try:
        return int(payload.split(b" ")[0])
    except ValueError:
        return -1


def remaining_length(packet):
    """Return (remaining length of a packet, offset after it); the offset is 0 if the packet is incomplete."""
    value = 0
    for i in range(1, min(5, len(packet))):
        value |= (packet[i] & 127) << 7 * (i - 1)
        if packet[i] < 128:
            return value, i + 1
    return 0, 0


class CuttableStream(SimulatedStream):
    """A connection to `SessionBroker` that is cut after `left` bytes, counted in both directions."""

    def __init__(self, sim, broker, left):
        sim.connect_reply = b""
        super().__init__(sim)
        self.broker = broker
        self.bytes_left = left
        self.is_subscribed = False
        self.cut = False
        self.buffer = b""

    def _through(self, data):
        if len(data) > self.bytes_left:
            data = data[: self.bytes_left]
            self.cut = self.closed_by_broker = True
        self.bytes_left -= len(data)
        return data

    def send_to_client(self, data):
        self.inbox += self._through(data)

    def write(self, buf, at, n):
        if self.closed_by_broker:
            raise OSError(104, "reset")
        data = bytes(buf[at : at + n])
        if data == b"\xc0\x00":
            self.inbox += b"\xd0\x00"
            return n
        data = self._through(data)
        self.written += data
        self.buffer += data
        while True:
            size, start = remaining_length(self.buffer)
            if not start or len(self.buffer) < start + size:
                return n
            # the broker sees a length of one byte, so that its offsets are constant
            pkt = self.buffer[:1] + b"?" + self.buffer[start : start + size]
            self.buffer = self.buffer[start + size :]
            self.broker.handle(self, pkt)


class DeviceBoot(Simulation):
    """The device from one start to the next power cut."""

    def __init__(self, history, journal=None, **options):
        self.broker = history.broker
        self.wires = []
        options.setdefault("outbox", 256)
        options.setdefault("inflight", 3)
        super().__init__(**options)
        module.getrandbits = lambda bits: history.rng.below(1 << bits)
        self.client.max_reconnect_delay = 10
        self.journal = Journal(self.client, **(journal or {}))
        self.client.subscribe("down", history.on_message, 2)
        self.client.connect(wait=False)

    def connect(self, host, port):
        if not self.broker_listens:
            raise OSError(111, "refused")
        self.streams.append(CuttableStream(self, self.broker, self.wires.pop(0) if self.wires else NEVER))
        return self.streams[-1]


class DeviceHistory:
    """One device over all its boots: its flash, its broker, and the messages that must not be lost."""

    def __init__(self, rng, deliver_on_release=False, journal=None, options=None, both_qos=True, flash=None):
        self.rng = rng
        self.broker = SessionBroker(deliver_on_release, 1 + rng.below(4))
        self.flash = flash or SimulatedFlash(rng)
        self.journal = {"path": "/outbox", "size": 2500}
        self.journal.update(journal or {})
        self.options = options or {}
        self.both_qos = both_qos
        self.accepted = {1: [], 2: []}  # message numbers by QoS, accepted by `publish` and synced
        self.waiting = []  # (qos, number) accepted by `publish`, not synced yet
        self.uncertain = []  # (qos, number) of a `publish` that has not returned
        self.next = 0
        self.handled = []
        self.noted = []  # handled QoS 2 payloads whose records may be unsynced
        self.noted_in_journal = []  # handled QoS 2 payloads whose records are synced
        self.failed = 0
        self.handled_twice = []  # payloads handled again after a synced record, PUBACK or PUBREC
        self.damaged = False  # whether a test changed the files
        self.broker_loses_session = False
        self.sent = 0  # number of messages sent by the broker
        self.boots = self.cuts = self.rotations = 0
        self.now = None

    def on_message(self, message):
        payload = bytes(message.payload)
        if payload in self.noted_in_journal or payload in self.broker.acknowledged:
            self.handled_twice.append(payload)
        if message.qos == 2:
            self.noted.append(payload)
        self.handled.append(int(payload))

    def note_promises(self):
        if not self.now.journal.unsynced:
            for qos, number in self.waiting:
                self.accepted[qos].append(number)
            self.waiting = []
            if self.failed == self.flash.failures:  # after a write error a record may be missing
                self.noted_in_journal += self.noted
            self.failed = self.flash.failures
            self.noted = []

    def publish(self):
        number = self.next
        qos = 1 + number % 2 if self.both_qos else 2
        self.uncertain.append((qos, number))
        self.next += 1
        done = self.now.client.publish("up", b"%d " % number + b"x" * (number * 7 % 40), qos=qos)
        self.uncertain.pop()
        if done:
            self.waiting.append((qos, number))
        elif not self.flash.failures:  # after a write error the message may be in the journal
            self.next -= 1
        self.note_promises()
        return done

    def power_on(self, wires=()):
        self.boots += 1
        self.now = None
        self.now = DeviceBoot(self, self.journal, **self.options)
        assert self.damaged or not self.now.journal.damaged_bytes, self.now.journal.damaged_bytes
        self.now.wires = list(wires)

    def disconnect_network(self):
        """Stop all traffic and refuse new connections."""
        self.now.broker_listens = False
        self.now.streams[-1].bytes_left = 0

    def step(self, poll=5):
        """Run one iteration of the device's main loop."""
        self.now.client.poll(poll)
        self.note_promises()

    def run(self, steps, wires=(), down=True):
        """Run one boot; returns True if the power failed before `steps` iterations were done."""
        try:
            self.power_on(wires)
            for _ in range(steps):
                what = self.rng.below(4)
                if what < 2:
                    self.publish()
                elif what == 2 and down and len(self.broker.pending) < 5:
                    self.sent += 1
                    stream = self.now.streams[-1] if self.now.streams else None
                    self.broker.send(b"%d" % self.sent, 1 + self.rng.below(2), stream)
                self.step(self.rng.below(3) * 5)
            return False
        except PowerCut:
            return True
        finally:
            if self.now:
                self.rotations += self.now.journal.record_log.rotations

    def cut(self):
        """Cut the power; messages in `accepted` must still be delivered later."""
        self.cuts += 1
        self.waiting = []
        self.noted = []
        self.now = None
        self.flash.power_up()

    def run_to_completion(self):
        """Boot one last time and run until no message is in flight."""
        self.power_on()
        for _ in range(400):
            self.step(50)
            if (
                self.now.client.is_connected
                and not self.now.client.session.outbox.count
                and not self.broker.pending
                and not self.broker.unreleased
                and not self.now.journal.unsynced
            ):
                break
        else:
            raise AssertionError(
                "messages are still in flight: %r %r" % (self.broker.pending, self.broker.unreleased)
            )
        self.rotations += self.now.journal.record_log.rotations

    def check(self):
        """Check that no message in `accepted` is lost, the order is kept, and QoS 2 is delivered once.

        A broker that lost its session may deliver a message twice. If it starts a new session and the power
        fails before the device stores this, the device may take a new message for one of the old session.
        """
        for qos in (1, 2):
            got = self.broker.delivered[qos]
            first = []
            for number in got:
                if number not in first:
                    first.append(number)
            assert first == sorted(first), ("order", qos, got)
            lost = [
                number for number in self.accepted[qos] if number not in first + self.broker.excused_losses
            ]
            assert not lost, ("lost", qos, lost, got)
        if not self.broker_loses_session:
            assert not self.handled_twice, ("handled again", self.handled_twice)
            assert len(set(self.broker.delivered[2])) == len(self.broker.delivered[2]), (
                "doubled",
                self.broker.delivered[2],
            )
        missing = [
            number
            for number in range(1, self.sent + 1)
            if number not in self.handled + self.broker.possible_duplicates
        ]
        assert not missing, ("not handled", missing)


def random_history(seed, boots=8, broker_loses_session=False, failing=False):
    """Run several boots, each ended by a power cut at a random step; returns the history.

    With `broker_loses_session` the broker loses its session at random; with `failing` flash writes fail.
    """
    rng = SeededRandom(seed)
    batch = rng.below(3)
    journal = {"sync_every": (1, 4, 100)[batch], "sync_ms": (1000, 20, 0)[batch]}
    history = DeviceHistory(rng, deliver_on_release=rng.below(2), journal=journal, both_qos=rng.below(3))
    history.broker_loses_session = broker_loses_session
    while history.cuts < boots:
        history.flash.steps_left = rng.below(2000) if rng.below(4) else rng.below(300)
        if broker_loses_session and rng.below(2):
            history.broker.lose_session()
        if failing and rng.below(2):
            history.flash.fail_after(rng.below(200), 1 + rng.below(3))
        wires = [rng.below(400) for _ in range(rng.below(3))]
        history.run(60, wires)
        history.cut()
    history.flash.errors = 0
    history.run_to_completion()
    history.check()
    return history


def cut_at_every_step(every, step=1):
    """Run one workload repeatedly with a power cut at each step of flash access (see `SimulatedFlash`).

    Returns the number of steps, and the set of record kinds that were written.
    """
    full = nearly_full_log(1100)
    cut = 0
    kinds = set()
    while True:
        options = {"outbox": 128}
        history = DeviceHistory(
            SeededRandom(2), cut % 2, {"sync_every": every, "sync_ms": 10, "size": 1850}, options
        )
        history.flash.files.update(full)
        history.flash.steps_left = cut
        if not history.run(40):
            break
        history.cut()
        history.run_to_completion()
        history.check()
        cut += step
    assert history.rotations, "the file was never full"
    for whole, tail in list(history.flash.files.values()) + history.flash.removed:
        kinds.update(record_kinds(whole + tail))
    return cut, kinds


def nearly_full_log(size):
    """Return the files of a journal that has `size` bytes of obsolete records."""
    flash = SimulatedFlash()
    log = RecordLog("/outbox", 1850, b"umqtt5 outbox 1", lambda: None)
    assert list(log.records()) == []
    log.open_for_append()
    while log.end < size:
        log.begin_record(0x40, 0, 0)
        log.end_record()
    log.close()
    return flash.files


def record_kinds(content):
    """Return the record kinds in a file."""
    found = []
    at = 0
    while at < len(content):
        found.append(content[at])
        at += 10 + (content[at + 3] << 16 | content[at + 4] << 8 | content[at + 5])
    return found
