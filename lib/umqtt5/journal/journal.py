"""Journal: keeps the outbox and the QoS 2 state on flash, so accepted messages survive a power failure.

    client = Client("broker.local", client_id="pump-1", session_expiry=86400)
    Journal(client, "/outbox")
    client.connect()

The kind of a record in the log is the first byte of an MQTT packet:

    PUBLISH  a message was accepted; the number is its slot in the outbox
    PUBREL   the broker has the message (QoS 2), or the message is streamed and its payload is not in the log
    PUBACK   a message has ended
    PUBREC   a message was received at QoS 2 and handled; the number is its packet identifier
    PUBCOMP  this packet identifier is free again
    CONNECT  a session of this client identifier has begun; packet identifiers in earlier records are void

Client and broker must agree on the meaning of each packet identifier. Therefore a record of the kind PUBLISH
(at QoS 2), PUBREL, PUBREC or PUBCOMP is synced before the packet of the same name is sent. A CONNECT record
is synced before any packet is sent in a new session after CONNACK. A PUBACK record may be lost. In that case
the message is sent again, with DUP and the same packet identifier.

A failure of the flash never ends the connection. Until the flash works again, `publish` accepts no message,
and packets that wait for a record are held back. If the flash has failed for some seconds, they are sent
without their records, because the peer would time out. Then a message of QoS 2 may be repeated after a power
failure.
"""

from array import array

from micropython import const

from ..core.errors import CatchErrors
from ..core.inbound import replace_received_id
from ..core.outbox import ENDED
from ..core.states import TICKS_MASK, TX_RESERVE
from ..core.wire import put_u16
from .journal_outbox import BODY_HEADER, MESSAGE, RELEASE, STREAMED, UNSYNCED
from .record_log import RECORD_OVERHEAD, RecordLog

_MAGIC = b"umqtt5 outbox 1"

# kinds of records
_CONNECT = const(0x10)
_PUBACK = const(0x40)
_PUBREC = const(0x50)
_PUBREL = const(0x62)
_PUBCOMP = const(0x70)

# ms without a working flash until packets are sent without their records, unless a timeout is shorter
_MAX_FAILURE = const(4000)
_RETRY = const(1000)  # ms between two tries to write to a flash that has failed


class Journal:
    """Storage of the outbox of `client` in two files, `path`.0 and `path`.1, of at most `size` bytes each.

    Create it before the client connects. `client` is a `umqtt5.Client` or a `umqtt5.aio.Client`. A message is
    safe when `sync` has written it to flash. The journal syncs as soon as `sync_every` records are not
    synced, and in `poll` after the oldest of them has waited `sync_ms` milliseconds. With `sync_every` 1 the
    message is safe when `publish` returns.

    `restored_count` is the number of messages that were restored from the files. `error` is the last error of
    the flash, an OSError, or MemoryError if there was no heap to open a file: if a message can't be written,
    it is not accepted, and `publish` returns 0. If the files were damaged, `error` is a ValueError until the
    flash fails. `record_log` is the `RecordLog`.

    Raises ValueError if `size` is too small for the outbox, the client is connected, or it has published.
    Raises RuntimeError if a scheduled function interrupts the client.
    """

    def __init__(self, client, path="/outbox", size=16384, sync_every=1, sync_ms=1000):
        deferred_acks = getattr(client, "deferred_acks", None)
        client = getattr(client, "sync_client", client)  # `client` may be an asyncio client
        self._client = client
        self._session = session = client.session
        if client._should_connect or session.state or session.outbox.count:
            raise ValueError("make the journal before the client connects or publishes")
        with session:
            self._open(path, size, sync_every, sync_ms, deferred_acks)
        client._poll_hooks.append(self._poll)

    def _open(self, path, size, sync_every, sync_ms, deferred_acks):
        from ..optional.journal_recovery import recover  # used only here: a program may unload it

        session = self._session
        self._sync_every = sync_every
        self._sync_ms = sync_ms
        self.error = None
        self._catch_errors = CatchErrors((OSError, MemoryError), self._set_error)
        self._is_stored = True  # whether the last record was written
        self._failed_since = -1  # ticks when the flash failed first since the last sync, -1 if it works
        self._is_failing = False  # whether packets are sent without their records
        self._unsynced = 0  # number of records that must be synced before packets are sent
        self._unsynced_since = 0  # ticks when the first of these records was written
        self._body = bytearray(BODY_HEADER)
        self._received_ids = array("H", [0] * len(session.received_ids))  # packet identifiers in the log
        self._has_session = False  # whether the log has a session of this client identifier
        if self._needed_size(session.outbox) > size:
            raise ValueError("size: %d bytes needed" % self._needed_size(session.outbox))
        self.record_log = RecordLog(path, size, _MAGIC, self._dump)
        self.outbox, self._old_ids = recover(self)  # `_old_ids`: identifiers from before the restart
        self.restored_count = self.outbox.count
        # a log of an earlier program with a larger outbox may need more
        self.record_log.size = max(size, self._needed_size(self.outbox))
        # ring of acknowledgements that wait for a sync
        capacity = len(self._received_ids) + len(self.outbox.states)
        self._ack_ids = array("H", [0] * capacity)
        self._ack_kinds = bytearray(capacity)
        self._ack_reasons = bytearray(capacity)
        self._first_ack = self._ack_count = 0
        with self._catch_errors:
            self.record_log.open_for_append()
        self._hook(session, deferred_acks)

    def _needed_size(self, outbox):
        """Return the size of a file in which the content of the outbox fits twice."""
        records = max(len(self._received_ids), len(self._session.received_ids)) + len(outbox.states)
        content = len(outbox.arena) + records * (RECORD_OVERHEAD + 1) + len(self._session.client_id)
        return 2 * (content + 4 * RECORD_OVERHEAD + len(_MAGIC))

    def _hook(self, session, deferred_acks):
        """Replace the outbox and some methods of the session by those of the journal."""
        # a deferred acknowledgement is passed to the journal when it is released
        self._ack = deferred_acks._ack if deferred_acks else session.ack
        if deferred_acks:
            deferred_acks._ack = self.ack
        else:
            session.ack = self.ack
        if max(self._received_ids):
            self._handle_publish = session._handle_publish
            session._handle_publish = self._check_publish
        session.outbox = self.outbox
        session.clean_start = not self._has_session

    @property
    def unsynced(self):
        """Number of records that must be synced before packets that depend on them can be sent."""
        return self._unsynced

    @property
    def torn_bytes(self):
        """Number of bytes at the end of the log that a power failure has left incomplete."""
        return self.record_log.torn_bytes

    @property
    def damaged_bytes(self):
        """Number of other bytes in the log that could not be read; a power failure does not cause this."""
        return self.record_log.damaged_bytes

    def sync(self):
        """Write everything that was accepted to flash. Raises OSError."""
        with self._session:
            self._sync()

    def _sync(self):
        self.record_log.sync()
        self._unsynced = 0
        self._failed_since = -1
        self._is_failing = False
        record_flags = self.outbox.record_flags
        for slot in range(len(record_flags)):
            record_flags[slot] &= ~UNSYNCED
        self._flush_acks()

    def close(self):
        """Sync and close the files. The client can't be used after it. Raises OSError."""
        with self._session:
            self._sync()
            self.record_log.close()

    # ---- called by the session

    def ack(self, first_byte, packet_id, reason):
        """Store an acknowledgement, then send it when the record is synced. Replaces `Session.ack`."""
        if first_byte == _PUBCOMP:
            self._remove_received_id(packet_id)  # whatever the reason code, the identifier is free
        elif not reason and first_byte == _PUBREC:
            self._add_received_id(packet_id)
        elif not reason and first_byte == _PUBREL:
            self._store_pubrel(packet_id - 1)
        if first_byte == _PUBACK or not (self._unsynced or self._ack_count):
            self._ack(first_byte, packet_id, reason)
            return
        if self._ack_count == len(self._ack_ids):
            self._try_sync()
            if self._ack_count == len(self._ack_ids):
                self._send_next_ack()  # `tx` has room for one acknowledgement: see `Session.parse`
        i = (self._first_ack + self._ack_count) % len(self._ack_ids)
        self._ack_ids[i] = packet_id
        self._ack_kinds[i] = first_byte
        self._ack_reasons[i] = reason
        self._ack_count += 1
        self._flush_acks()

    def _check_publish(self, packet):
        """Handle a PUBLISH while packet identifiers from before the restart are not released.

        Power may have failed after the broker began a new session and before the journal stored the CONNECT
        record. In the new session such a packet identifier belongs to a new message, which has no DUP
        [MQTT-3.3.1-1]. Replaces `Session._handle_publish`.
        """
        if packet.qos == 2 and not packet.dup:
            packet_id = packet.packet_id
            for i in range(len(self._old_ids)):
                if self._old_ids[i] == packet_id:
                    replace_received_id(self._session, packet_id, 0)
                    self._remove_received_id(packet_id)
        return self._handle_publish(packet)

    def _add_received_id(self, packet_id):
        """Store that a message was received at QoS 2."""
        free = -1
        for i in range(len(self._received_ids)):
            if self._received_ids[i] == packet_id:
                return
            if not self._received_ids[i]:
                free = i
        self._received_ids[free] = packet_id
        self._store(_PUBREC, packet_id)

    def _remove_received_id(self, packet_id):
        """Store that a packet identifier is free again."""
        for i in range(len(self._received_ids)):
            if self._received_ids[i] == packet_id:
                self._received_ids[i] = 0
                for j in range(len(self._old_ids)):
                    if self._old_ids[j] == packet_id:
                        self._old_ids[j] = 0
                self._store(_PUBCOMP, packet_id)
                return

    def _store_pubrel(self, slot):
        """Store that the broker has received a message of QoS 2."""
        record_flags = self.outbox.record_flags
        if record_flags[slot] == MESSAGE:
            record_flags[slot] = RELEASE
            self._store(_PUBREL, slot)

    # ---- called by the outbox

    def store_message(self, slot):
        """Store a new message; return False if the flash fails."""
        self._is_stored = False
        self._count_unsynced()
        with self._catch_errors:
            self._write_message(slot)
            self.outbox.record_flags[slot] = MESSAGE | UNSYNCED
            self._sync_if_due()
        return self._is_stored

    def store_streamed(self, slot):
        """Store that a streamed message uses its packet identifier; return False if the flash fails."""
        self.outbox.record_flags[slot] = RELEASE | UNSYNCED
        self._store(_PUBREL, slot)
        return self._is_stored

    def store_removed(self, slot, refused):
        """Store that a message has ended. The record may be lost, unless the broker refused the message."""
        if refused:
            self._count_unsynced()
        self._write_note(_PUBACK << 16 | slot)

    def handle_connected(self, resumed):
        """Handle the beginning of a connection; `resumed` is Session Present."""
        self._ack_count = 0
        if not resumed:
            self.outbox.start_session()
            self._start_session()

    def _start_session(self):
        """Store that the broker has begun a new session. If the flash fails, `_poll` tries it again."""
        self._has_session = True
        for i in range(len(self._received_ids)):
            self._received_ids[i] = 0
        for i in range(len(self._old_ids)):
            self._old_ids[i] = 0
        self._count_unsynced()
        with self._catch_errors:
            self._write_session()
            self._sync()

    # ---- writing records

    def _write_message(self, slot):
        outbox = self.outbox  # one more local would move the frame to the heap
        n = len(outbox.topics[slot].name)
        self._body[2] = outbox.property_sizes[slot] >> 16
        put_u16(self._body, 0, n)
        put_u16(self._body, 3, outbox.property_sizes[slot] & 0xFFFF)
        # without DUP and GIVEN_UP
        self.record_log.begin_record(
            outbox.first_bytes[slot] & 0x37, slot, BODY_HEADER + n + outbox.body_sizes[slot]
        )
        self.record_log.write(self._body, 0, BODY_HEADER)
        self.record_log.write(outbox.topics[slot].name, 0, n)
        self.record_log.write(outbox.arena, outbox.body_offsets[slot], outbox.body_sizes[slot])
        self.record_log.end_record()

    def _write_session(self):
        client_id = self._session.client_id
        self.record_log.begin_record(_CONNECT, 0, len(client_id))
        self.record_log.write(client_id, 0, len(client_id))
        self.record_log.end_record()

    def _write_empty(self, kind, number):
        self.record_log.begin_record(kind, number, 0)
        self.record_log.end_record()

    def _dump(self):
        """Write everything that a new file of the log needs."""
        outbox = self.outbox
        if self._has_session:
            self._write_session()
        for packet_id in self._received_ids:
            if packet_id:
                self._write_empty(_PUBREC, packet_id)
        for i in range(outbox.count):
            slot = outbox.slot_order[(outbox.head + i) % len(outbox.slot_order)]
            if outbox.states[slot] == ENDED:
                continue
            if outbox.record_flags[slot] and outbox.body_sizes[slot] != STREAMED:
                self._write_message(slot)
            if outbox.record_flags[slot] & RELEASE:
                self._write_empty(_PUBREL, slot)

    def _count_unsynced(self):
        """Count a record that must be synced before packets that depend on it can be sent."""
        if not self._unsynced:
            self._unsynced_since = self._client._ticks_ms()
        self._unsynced += 1

    def _store(self, kind, number):
        """Write a record that must be synced. If the flash fails, the next file of the log has the record."""
        self._count_unsynced()
        self._write_note(kind << 16 | number)

    def _write_note(self, kind_and_number):  # one argument, so the frame is not on the heap
        self._is_stored = False
        with self._catch_errors:
            self._write_and_sync(kind_and_number)

    def _write_and_sync(self, kind_and_number):
        self._write_empty(kind_and_number >> 16, kind_and_number & 0xFFFF)
        self._sync_if_due()

    def _sync_if_due(self):
        if self._unsynced >= self._sync_every:
            self._sync()
        self._is_stored = True

    def _poll(self, now):
        """Poll hook of the client: sync after `sync_ms`; returns the ms until it has to run again."""
        left = TICKS_MASK
        if self._unsynced:
            left = self._sync_ms if self._failed_since < 0 else min(self._sync_ms, _RETRY)
            left -= (now - self._unsynced_since) & TICKS_MASK
            if left <= 0:
                left = self._retry_sync(now)
        elif self._ack_count:
            self._flush_acks()
            self._client._flush_now()
        return left

    def _try_sync(self):
        with self._catch_errors:
            self._sync()

    def _retry_sync(self, now):
        """Sync, and send the packets that have waited for it; returns the ms until the next try."""
        self._unsynced_since = now
        self._try_sync()
        if not self._unsynced:
            self._client._flush_now()
            return 0
        if (now - self._failed_since) & TICKS_MASK >= min(_MAX_FAILURE, min(self._session.timeouts) // 2):
            self._is_failing = True
            self._flush_acks()
            self._client._flush_now()
        return min(self._sync_ms, _RETRY)

    def _flush_acks(self):
        """Put the waiting acknowledgements into `tx`, as far as there is room."""
        session = self._session
        while self._ack_count and session._tx_end + TX_RESERVE <= len(session.tx):
            if self._unsynced and not self._is_failing:
                return
            self._send_next_ack()

    def _send_next_ack(self):
        i = self._first_ack
        self._first_ack = (i + 1) % len(self._ack_ids)
        self._ack_count -= 1
        self._ack(self._ack_kinds[i], self._ack_ids[i], self._ack_reasons[i])

    def _set_error(self, error):
        self.error = error
        if self._failed_since < 0:
            self._failed_since = self._client._ticks_ms()
