"""The outbox on flash: what was accepted at QoS 1 and 2 outlives a power cut. Loaded when used.

    client = Client("broker.local", client_id="pump-1", session_expiry=86400)
    Journal(client, "/outbox")
    client.connect()

A record of the log is named by the packet that it stands for:

    PUBLISH  a message was accepted; the number is its slot, see `outbox`
    PUBREL   the broker has it (QoS 2), or it is a streamed one, whose payload is not here
    PUBACK   a message has ended
    PUBREC   a message was received at QoS 2 and its handler has returned; the packet identifier
    PUBCOMP  its identifier is free again
    CONNECT  a session has begun, with this client identifier: the identifiers above are void

What must be kept before a packet goes out, so that the broker and we never disagree about what
a packet identifier means: PUBLISH before a QoS 2 PUBLISH, PUBREL before PUBREL, PUBREC before
PUBREC, PUBCOMP before PUBCOMP, CONNECT before anything in a new session. PUBACK may be lost: the
message goes out again, with DUP and the same identifier.
"""

from array import array

from micropython import const

from ..core.errors import Guard
from ..core.outbox import ENDED, HEAD
from ..core.wire import put_u16
from .journal_outbox import BODY, ELSEWHERE, FRESH, MESSAGE, RELEASE, Kept
from .record_log import OVERHEAD, Log

_MASK = const(0x3FFFFFFF)
_MARK = b"umqtt5 outbox 1"
_ROOM = const(8)  # as `session` keeps for one acknowledgement and a DISCONNECT


class Journal:
    """Keeps the outbox of `client` in the files `path`.0 and `path`.1, of `size` bytes at most.

    To be made before the client connects. A message is safe when `sync` has carried it out to
    flash: that is done by itself when `every` records wait for it, or when the first has waited
    for `ms`, as the client polls. With `every` 1 `publish` returns when the message is safe.

    What was there: `restored` messages are in the outbox again; `torn` and `damaged` are the
    bytes that could not be read, see `log.Log`, which is `log`. `error` is the last OSError of the
    flash: a message that could not be kept was not accepted, `publish` has returned 0.

    Raises ValueError where `size` is too small for the outbox, or the client is connected.
    """

    def __init__(self, client, path="/outbox", size=16384, every=1, ms=1000):
        held = getattr(client, "held", None)
        client = getattr(client, "driver", client)  # that of `aio` has one
        self._client = client
        self._session = session = client.session
        if session.state:
            raise ValueError("a journal is made before the client connects")
        self._every = every
        self._ms = ms
        self.error = None
        self._guard = Guard(OSError, self._failed)
        self._good = True
        self._waiting = 0  # records that have to be synced before something goes on
        self._since = 0  # when the first of them came
        self._body = bytearray(BODY)
        self._held = array("H", [0] * len(session.inbox))  # those that the log has
        self._known = False  # the log has a session of this client identifier
        self._forget = False  # the broker has begun a new session, and the log does not know
        self.log = Log(path, size, _MARK, self._dump)
        self.outbox = self._load()
        places = len(self._held) + len(self.outbox.states)
        live = len(self.outbox.arena) + places * (OVERHEAD + 1) + len(session.client_id) + 4 * OVERHEAD
        if 2 * (live + len(_MARK)) > size:
            raise ValueError("size: %d bytes needed" % (2 * (live + len(_MARK))))
        # acknowledgements that wait for a sync, a ring
        self._ids = array("H", [0] * places)
        self._kinds = bytearray(places)
        self._reasons = bytearray(places)
        self._first = self._count = 0
        with self._guard:
            self.log.start()
        # the method of the class; in its place everything comes here, what is held back when it is let go
        self._ack = held._ack if held else session.ack
        if held:
            held._ack = self.ack
        else:
            session.ack = self.ack
        if max(self._held):
            self._publish = session._publish
            session._publish = self._arrived
        session.outbox = self.outbox
        session.clean_start = not self._known
        client._chores.append(self._run)

    @property
    def waiting(self):
        """How many records have to be synced before what they are for goes on."""
        return self._waiting

    @property
    def torn(self):
        return self.log.torn

    @property
    def damaged(self):
        return self.log.damaged

    def sync(self):
        """Have all that was accepted stay from now on. Raises OSError."""
        self.log.sync()
        self._waiting = 0
        marks = self.outbox.marks
        for slot in range(len(marks)):
            marks[slot] &= ~FRESH
        self._flush()

    def close(self):
        """Sync, and let go of the file; the client is done with, too. Raises OSError."""
        self.sync()
        self.log.close()

    # ---- from the session

    def ack(self, first_byte, packet_id, reason):
        """`Session.ack`, whose place it takes: what it tells the broker is kept first."""
        if first_byte == 0x70:
            self._free(packet_id)  # whatever the reason, the broker takes it as free
        elif not reason and first_byte == 0x50:
            self._hold(packet_id)
        elif not reason and first_byte == 0x62:
            self._released(packet_id - 1)
        if first_byte == 0x40 or not (self._waiting or self._count):
            self._ack(first_byte, packet_id, reason)
            return
        if self._count == len(self._ids):
            self.sync()
            if self._count == len(self._ids):
                self._next()  # there is room for one, or the session had not come here
        place = (self._first + self._count) % len(self._ids)
        self._ids[place] = packet_id
        self._kinds[place] = first_byte
        self._reasons[place] = reason
        self._count += 1
        self._flush()

    def _arrived(self, packet):
        """`Session._publish`, whose place it takes, after a boot with identifiers not released.

        The power may have gone when the broker had begun a new session and before we had noted it.
        In that, such an identifier is one of a new message: it has no DUP [MQTT-3.3.1-1].
        """
        if packet.qos == 2 and not packet.dup:
            packet_id = packet.packet_id
            for i in range(len(self._stale)):
                if self._stale[i] == packet_id:
                    self._session._swap(packet_id, 0)
                    self._free(packet_id)
        return self._publish(packet)

    def _hold(self, packet_id):
        """A message of QoS 2 was received, and is acknowledged."""
        place = -1
        for i in range(len(self._held)):
            if self._held[i] == packet_id:
                return
            if not self._held[i]:
                place = i
        self._held[place] = packet_id
        self._keep(0x50, packet_id)

    def _free(self, packet_id):
        """And is released."""
        for i in range(len(self._held)):
            if self._held[i] == packet_id:
                self._held[i] = 0
                for j in range(len(self._stale)):
                    if self._stale[j] == packet_id:
                        self._stale[j] = 0
                self._keep(0x70, packet_id)
                return

    def _released(self, slot):
        """Our message at QoS 2 is with the broker."""
        marks = self.outbox.marks
        if marks[slot] == MESSAGE:
            marks[slot] = RELEASE
            self._keep(0x62, slot)

    # ---- from the outbox

    def added(self, slot):
        """Keep a new message; returns False where flash fails."""
        self._good = False
        self._wait()
        with self._guard:
            self._message(slot)
            self.outbox.marks[slot] = MESSAGE | FRESH
            self._settle()
        return self._good

    def placed(self, slot):
        """Keep that the packet identifier of a streamed message is in use."""
        self.outbox.marks[slot] = RELEASE | FRESH
        self._keep(0x62, slot)
        return self._good

    def dropped(self, slot, refused):
        """A message has ended. It may be lost that it has, but not that it was refused."""
        if refused:
            self._wait()
        self._write(0x40 << 16 | slot)

    def renewed(self):
        """The broker has begun a new session: the identifiers of the old are void."""
        self._forget = self._known = True
        for i in range(len(self._held)):
            self._held[i] = 0
        for i in range(len(self._stale)):
            self._stale[i] = 0
        self._identify()
        self.sync()
        self._forget = False

    def began(self, resumed):
        """A connection has begun."""
        self._count = 0
        if not resumed or self._forget:
            self.outbox.renew()
            self.renewed()

    # ---- writing

    def _note(self, kind, number):
        self.log.begin(kind, number, 0)
        self.log.finish()

    def _message(self, slot):
        outbox = self.outbox
        n = len(outbox.topics[slot].name)
        self._body[2] = outbox.properties[slot] >> 16
        put_u16(self._body, 0, n)
        put_u16(self._body, 3, outbox.properties[slot] & 0xFFFF)
        self.log.begin(outbox.first_bytes[slot] & ~8, slot, BODY + n + outbox.sizes[slot])
        self.log.put(self._body, 0, BODY)
        self.log.put(outbox.topics[slot].name, 0, n)
        self.log.put(outbox.arena, outbox.bodies[slot], outbox.sizes[slot])
        self.log.finish()

    def _identify(self):
        self.log.begin(0x10, 0, len(self._session.client_id))
        self.log.put(self._session.client_id, 0, len(self._session.client_id))
        self.log.finish()

    def _dump(self):
        """All that is to be kept, for a new file."""
        outbox = self.outbox
        if self._known:
            self._identify()
        for packet_id in self._held:
            if packet_id:
                self._note(0x50, packet_id)
        for i in range(outbox.count):
            slot = outbox.order[(outbox.head + i) % len(outbox.order)]
            if outbox.states[slot] == ENDED:
                continue
            if outbox.marks[slot] and outbox.sizes[slot] != ELSEWHERE:
                self._message(slot)
            if outbox.marks[slot] & RELEASE:
                self._note(0x62, slot)

    def _wait(self):
        """A record will have to be kept before something can go on."""
        if not self._waiting:
            self._since = self._client._ticks()
        self._waiting += 1

    def _keep(self, kind, number):
        """Write such a record. Where flash fails it is still waited for, and written by a new file."""
        self._wait()
        self._write(kind << 16 | number)

    def _write(self, kind_and_number):  # one argument, for the frame
        self._good = False
        with self._guard:
            self._try(kind_and_number)

    def _try(self, kind_and_number):
        self._note(kind_and_number >> 16, kind_and_number & 0xFFFF)
        self._settle()

    def _settle(self):
        if self._waiting >= self._every:
            self.sync()
        self._good = True

    def _run(self, now):
        """One of the client's chores: returns the ms until it has something to do."""
        left = _MASK
        if self._waiting:
            left = self._ms - ((now - self._since) & _MASK)
            if left <= 0:
                with self._guard:
                    self.sync()
                self._since = now
                left = self._ms if self._waiting else 0
                self._client._push()  # what has waited for it
        elif self._count:
            self._flush()
            self._client._push()
        return left

    def _flush(self):
        """The acknowledgements that have waited go out, as far as there is room."""
        session = self._session
        while self._count and not self._waiting and session._tx_end + _ROOM <= len(session.tx):
            self._next()

    def _next(self):
        place = self._first
        self._first = (place + 1) % len(self._ids)
        self._count -= 1
        self._ack(self._kinds[place], self._ids[place], self._reasons[place])

    def _failed(self, error):
        self.error = error

    # ---- what was there before

    def _load(self):
        """Read the log; returns the outbox."""
        from ..optional.journal_recovery import Replay  # needed once: who is short of heap can let go of it

        session, log = self._session, self.log
        found = Replay(log)
        if found.client_id is not None and not session.client_id:
            session.client_id = found.client_id
        self._known = found.client_id == session.client_id and not log.damaged
        if not self._known:
            # another session, or who knows what is missing: messages go out as new ones
            found.renew()
        held = found.held
        while len(session.inbox) < len(held):
            session.inbox.append(0)
        while len(self._held) < len(session.inbox):
            self._held.append(0)
        for i in range(len(held)):
            session.inbox[i] = self._held[i] = held[i]
        self._stale = array("H", held)  # from before this boot
        return self._adopt(found)

    def _adopt(self, found):
        """Fill an outbox, which is larger than was asked for where it had been so before."""
        need = 0
        for slot in found.order:
            need += HEAD + 1 + (found.messages[slot][2] if slot in found.messages else 0)
        outbox = Kept(self, self._session.outbox, need, max(found.order) + 1 if found.order else 0)
        for slot in found.order:
            kind, at, size = found.messages.get(slot, (0x34, 0, 0))
            try:
                outbox.restore(slot, kind, at, size, slot in found.released, self.log)
            except (OSError, ValueError) as error:
                self.log.damaged += size
                self.error = error
        self.restored = outbox.count
        return outbox
