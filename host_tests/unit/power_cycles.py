"""A device with a journal, whose power and whose link are cut; the broker that it talks to; who counts.

The real client and the real journal run on a simulated clock, link and flash. Payloads are
numbers in the order in which they were published.
"""

from simulated_flash import Dice, Flash, PowerCut
from simulation import Stream, World

from helper import message, packet
from umqtt5.core import client as module
from umqtt5.journal import Journal
from umqtt5.journal.record_log import Log

NEVER = 1 << 30


class Broker:
    """The other side of QoS 1 and 2, after section 4.3, with a session that outlives connections.

    `late` is which of the two methods of 4.3.3 it takes: a message of QoS 2 is passed on when it
    is released, else when it comes. It gives out the lowest packet identifier that is free.
    """

    def __init__(self, late=False, receive_maximum=4):
        self.late = late
        self.limits = b"\x03\x21\x00" + bytes((receive_maximum,))
        self.got = {1: [], 2: []}  # payloads by QoS, as they were passed on
        self.held = {}  # packet identifiers received and not released, and their payloads
        self.owes = []  # [packet identifier, payload or None where a PUBREL is owed, QoS, dup]
        self.there = False  # it has a session
        self.acknowledged = []  # payloads whose PUBACK or PUBREC has come
        self.taken = []  # payloads that it had acknowledged and not passed on when it lost its session
        self.excused = []  # and nobody can tell the client
        self.fresh = False  # the client has not said a word in this session
        self.hidden = False  # nor knows that it is a new one
        self.blurred = []  # payloads that came to it in such a session, and once more after a cut

    def lose(self):
        """It has lost the session: what it had not sent goes into the next one."""
        self.there = False
        self.taken += self.held.values()
        self.held.clear()
        for owed in self.owes:
            owed[3] = 0
        self.owes = [owed for owed in self.owes if owed[1] is not None]

    def send(self, payload, qos, stream):
        used = [owed[0] for owed in self.owes]
        packet_id = 1
        while packet_id in used:
            packet_id += 1
        owed = [packet_id, payload, qos, 0]
        self.owes.append(owed)
        if stream and stream.up:
            self._out(stream, owed)

    def _out(self, stream, owed):
        if owed[1] is None:
            stream.give(bytes((0x62, 2, 0, owed[0])))
        else:
            if owed[3] and self.hidden:
                self.blurred.append(int(owed[1]))
            stream.give(message(b"down", owed[1], owed[2], owed[0], flags=owed[3]))
            owed[3] = 8

    def handle(self, stream, one):
        kind = one[0] >> 4
        if kind != 1 and self.fresh:
            self.fresh = False
            self.taken = []
        if kind == 1:
            self._connect(stream, one)
        elif kind == 3:
            self._publish(stream, one)
        elif kind == 8:
            stream.give(b"\x90\x04" + one[2:4] + b"\x00\x02")
            stream.up = True
            for owed in self.owes:
                self._out(stream, owed)
        elif kind == 6:
            known = one[3] in self.held
            if known:
                self._release(one[3])
            stream.give(bytes((0x70, 2, 0, one[3])) if known else bytes((0x70, 3, 0, one[3], 0x92)))
        elif kind in (4, 5, 7):
            self._answered(stream, kind, one)

    def _connect(self, stream, one):
        if one[9] & 2:  # Clean Start
            self.lose()
        present, self.there = self.there, True
        if not present:
            self.fresh = True
            self.hidden = False
        elif self.fresh:
            # the client has not heard, or not noted, that this session is a new one
            self.excused += self.taken
            self.hidden = True
        stream.give(packet(0x20, bytes((present, 0)), self.limits))

    def _publish(self, stream, one):
        qos = one[0] >> 1 & 3
        at = 4 + one[3]
        packet_id = one[at + 1]
        payload = int(one[at + 3 :].split(b" ")[0])
        if qos == 1:
            self.got[1].append(payload)
        elif packet_id not in self.held:
            self.held[packet_id] = payload
            if not self.late:
                self.got[2].append(payload)
        stream.give(bytes((0x30 + 0x10 * qos + (0 if qos == 1 else 0), 2, 0, packet_id)))

    def _release(self, packet_id):
        payload = self.held.pop(packet_id)
        if self.late:
            self.got[2].append(payload)

    def _answered(self, stream, kind, one):
        for owed in self.owes:
            if owed[0] != one[3]:
                continue
            if kind == 5:
                if owed[1] is not None:
                    self.acknowledged.append(owed[1])
                owed[1] = None
                stream.give(bytes((0x62, 2, 0, one[3])))
            elif owed[1] is not None:
                self.acknowledged.append(owed[1])
        if kind != 5:
            self.owes = [owed for owed in self.owes if owed[0] != one[3]]


class Wire(Stream):
    """A connection to `Broker` that is cut after `left` bytes of either direction."""

    def __init__(self, world, broker, left):
        world.greeting = b""
        super().__init__(world)
        self.broker = broker
        self.left = left
        self.up = False  # it has subscribed
        self.cut = False
        self.buffer = b""

    def _through(self, data):
        if len(data) > self.left:
            data = data[: self.left]
            self.cut = self.gone = True
        self.left -= len(data)
        return data

    def give(self, data):
        self.inbox += self._through(data)

    def write(self, buf, at, n):
        if self.gone:
            raise OSError(104, "reset")
        data = bytes(buf[at : at + n])
        if data == b"\xc0\x00":
            self.inbox += b"\xd0\x00"
            return n
        data = self._through(data)
        self.written += data
        self.buffer += data
        while len(self.buffer) > 1 and len(self.buffer) >= 2 + self.buffer[1]:
            size = 2 + self.buffer[1]
            one, self.buffer = self.buffer[:size], self.buffer[size:]
            self.broker.handle(self, one)
        return n


class Boot(World):
    """The device from one start to the next."""

    def __init__(self, history, journal=None, **options):
        self.broker = history.broker
        self.wires = []
        options.setdefault("outbox", 256)
        options.setdefault("inflight", 3)
        super().__init__(**options)
        module.getrandbits = lambda bits: history.dice.below(1 << bits)
        self.client.longest_pause = 10
        self.journal = Journal(self.client, **(journal or {}))
        self.client.subscribe("down", history.came, 2)
        self.client.connect(wait=False)

    def connect(self, host, port):
        if not self.there:
            raise OSError(111, "refused")
        self.streams.append(Wire(self, self.broker, self.wires.pop(0) if self.wires else NEVER))
        return self.streams[-1]


class History:
    """Everything that has happened to one device over all its boots."""

    def __init__(self, dice, late=False, journal=None, options=None, mixed=True, flash=None):
        self.dice = dice
        self.broker = Broker(late, 1 + dice.below(4))
        self.flash = flash or Flash(dice)
        self.journal = {"path": "/outbox", "size": 2500}
        self.journal.update(journal or {})
        self.options = options or {}
        self.mixed = mixed
        self.accepted = {1: [], 2: []}  # for which it was promised
        self.waiting = []  # (qos, number) accepted and not promised yet
        self.doubt = []  # of which nobody has said whether they are accepted
        self.next = 0
        self.handled = []
        self.noted = []  # those at QoS 2 which the journal may have noted
        self.kept = []  # and has
        self.failed = 0
        self.again = []  # and are handled once more
        self.damaged = False  # somebody has been at the files
        self.lossy = False  # the broker loses its session now and then
        self.sent = 0  # messages from the broker
        self.boots = self.cuts = self.turns = 0
        self.now = None

    def came(self, message):
        payload = bytes(message.payload)
        if payload in self.kept or payload in self.broker.acknowledged:
            self.again.append(payload)
        if message.qos == 2:
            self.noted.append(payload)
        self.handled.append(int(payload))

    def promised(self):
        if not self.now.journal.waiting:
            for qos, number in self.waiting:
                self.accepted[qos].append(number)
            self.waiting = []
            if self.failed == self.flash.failures:  # else one of them may not be noted
                self.kept += self.noted
            self.failed = self.flash.failures
            self.noted = []

    def publish(self):
        number = self.next
        qos = 1 + number % 2 if self.mixed else 2
        self.doubt.append((qos, number))
        self.next += 1
        done = self.now.client.publish("up", b"%d " % number + b"x" * (number * 7 % 40), qos=qos)
        self.doubt.pop()
        if done:
            self.waiting.append((qos, number))
        elif not self.flash.failures:  # else nobody knows
            self.next -= 1
        self.promised()
        return done

    def boot(self, wires=()):
        self.boots += 1
        self.now = None
        self.now = Boot(self, self.journal, **self.options)
        assert self.damaged or not self.now.journal.damaged, self.now.journal.damaged
        self.now.wires = list(wires)

    def deaf(self):
        """From now on nothing comes through, and nobody is reached."""
        self.now.there = False
        self.now.streams[-1].left = 0

    def step(self, poll=5):
        """A turn of the device's loop."""
        self.now.client.poll(poll)
        self.promised()

    def run(self, steps, wires=(), down=True):
        """One boot, to its end or to the power cut; True where it was cut."""
        try:
            self.boot(wires)
            for _ in range(steps):
                what = self.dice.below(4)
                if what < 2:
                    self.publish()
                elif what == 2 and down and len(self.broker.owes) < 5:
                    self.sent += 1
                    stream = self.now.streams[-1] if self.now.streams else None
                    self.broker.send(b"%d" % self.sent, 1 + self.dice.below(2), stream)
                self.step(self.dice.below(3) * 5)
            return False
        except PowerCut:
            return True
        finally:
            if self.now:
                self.turns += self.now.journal.log.turns

    def cut(self):
        """The power has gone; what was promised stays so."""
        self.cuts += 1
        self.waiting = []
        self.noted = []
        self.now = None
        self.flash.power_up()

    def rest(self):
        """A last boot in which all comes to its end."""
        self.boot()
        for _ in range(400):
            self.step(50)
            if (
                self.now.client.connected
                and not self.now.client.session.outbox.count
                and not self.broker.owes
                and not self.broker.held
                and not self.now.journal.waiting
            ):
                break
        else:
            raise AssertionError("it does not come to rest: %r %r" % (self.broker.owes, self.broker.held))
        self.turns += self.now.journal.log.turns

    def judge(self):
        """Nothing accepted is lost, the order is kept, and nothing at QoS 2 is there twice.

        But what a broker does not know any more may come twice. Where it has begun a new session and
        the power goes before we have noted that, nobody can tell what its packet identifiers mean.
        """
        for qos in (1, 2):
            got = self.broker.got[qos]
            first = []
            for number in got:
                if number not in first:
                    first.append(number)
            assert first == sorted(first), ("order", qos, got)
            lost = [number for number in self.accepted[qos] if number not in first + self.broker.excused]
            assert not lost, ("lost", qos, lost, got)
        if not self.lossy:
            assert not self.again, ("handled again", self.again)
            assert len(set(self.broker.got[2])) == len(self.broker.got[2]), ("doubled", self.broker.got[2])
        missing = [
            number for number in range(1, self.sent + 1) if number not in self.handled + self.broker.blurred
        ]
        assert not missing, ("not handled", missing)


def random_history(seed, boots=8, lossy=False, failing=False):
    """Several boots, each ended by a cut of the power at a random step; returns the history.

    `lossy`: the broker loses its session now and then. `failing`: and the flash fails.
    """
    dice = Dice(seed)
    batch = dice.below(3)
    journal = {"every": (1, 4, 100)[batch], "ms": (1000, 20, 0)[batch]}
    history = History(dice, late=dice.below(2), journal=journal, mixed=dice.below(3))
    history.lossy = lossy
    while history.cuts < boots:
        history.flash.left = dice.below(2000) if dice.below(4) else dice.below(300)
        if lossy and dice.below(2):
            history.broker.lose()
        if failing and dice.below(2):
            history.flash.fails_in(dice.below(200), 1 + dice.below(3))
        wires = [dice.below(400) for _ in range(dice.below(3))]
        history.run(60, wires)
        history.cut()
    history.flash.errors = 0
    history.rest()
    history.judge()
    return history


def exhaust(every, step=1):
    """One workload, cut at every byte that it writes and at every other thing that it does to flash.

    Returns how many places those were, and the kinds of record that were written.
    """
    full = nearly_full(1100)
    cut = 0
    kinds = set()
    while True:
        options = {"outbox": 128}
        history = History(Dice(2), cut % 2, {"every": every, "ms": 10, "size": 1850}, options)
        history.flash.files.update(full)
        history.flash.left = cut
        if not history.run(40):
            break
        history.cut()
        history.rest()
        history.judge()
        cut += step
    assert history.turns, "the file was never full"
    for whole, tail in list(history.flash.files.values()) + history.flash.removed:
        kinds.update(kinds_in(whole + tail))
    return cut, kinds


def nearly_full(size):
    """The file of a journal in which so many bytes are of no use any more."""
    flash = Flash()
    log = Log("/outbox", 1850, b"umqtt5 outbox 1", lambda: None)
    assert list(log.records()) == []
    log.start()
    while log.end < size:
        log.begin(0x40, 0, 0)
        log.finish()
    log.close()
    return flash.files


def kinds_in(content):
    """The kinds of the records of a file."""
    found = []
    at = 0
    while at < len(content):
        found.append(content[at])
        at += 10 + (content[at + 3] << 16 | content[at + 4] << 8 | content[at + 5])
    return found
