"""Stored subscriptions: finds and removes subscriptions that an earlier program has left at the broker.

    client = Client("broker.local", client_id="pump-1", clean_start=False)
    stored = stored_subscriptions.attach(client, "/subscriptions")
    client.subscribe("pump-1/set", on_set, qos=1)
    client.connect()

A broker keeps the subscriptions of a session. If a program resumes the session and no longer subscribes to a
filter, the broker still sends its messages. Therefore the filters are stored on flash, at most 64 and at most
4 KB with the client identifier. After a restart that resumes the session, the client unsubscribes from those
that the program does not use. Messages that arrive before that go to `client.on_unhandled`.

A filter is stored before its SUBSCRIBE is sent, and leaves the file after UNSUBACK. A new session clears the
file. Nothing is written if nothing has changed. If the flash fails, the client works without the file.
"""

import sys
from os import remove, rename

from micropython import const

from .core.errors import CatchErrors
from .core.states import CONNECTED, TICKS_MASK
from .core.topics import encode_filter
from .core.wire import get_u16, prefix_u16_length, put_u16

if sys.implementation.name == "cpython":
    from .cpython.compat import open_file as open

_MAGIC = b"umqtt5 subscriptions 1\n"
_NEW = ".new"  # suffix of the file that replaces the old one
_MAX_FILTERS = const(64)
_MAX_SIZE = const(4096)  # bytes of the file
_CHECKSUM = const(4)
_PRIME = const(65521)
_RETRY = const(30000)  # ms between two tries to write to a flash that has failed
_PACKET_OVERHEAD = const(24)  # bytes of an UNSUBSCRIBE and of the reserve in `tx`, in addition to the filter


def attach(client, path="/subscriptions", delay=5000):
    """Store the subscriptions of `client` in the file `path`; returns a `StoredSubscriptions`.

    Call it before the client connects. `client` is a `umqtt5.Client` or a `umqtt5.aio.Client`. Filters to
    which the program has not subscribed `delay` ms after the connection began are unsubscribed. With None
    they are not: see `leftovers`. Raises ValueError if the client is connected.
    """
    return StoredSubscriptions(getattr(client, "sync_client", client), path, delay)


class StoredSubscriptions:
    """The filters that the session of a client has at the broker, in a file.

    `leftovers` is a list of the filters (bytes) that an earlier program has left in the session and that are
    not unsubscribed yet. `error` is the last OSError of the flash, or MemoryError if there was no heap to
    write; None if there was none. `skipped_count` is the number of filters for which the file had no room.
    """

    def __init__(self, client, path, delay):
        session = client.session
        if session.state:
            raise ValueError("attach stored_subscriptions before the client connects")
        self._client = client
        self._session = session
        self._subscriptions = session.subscriptions
        self._path = path
        self._delay = delay
        self.error = None
        self.skipped_count = 0
        self._catch_errors = CatchErrors((OSError, MemoryError), self._set_error)
        self._must_rename = False  # whether the new file is complete, and not renamed yet
        self._stored_id = b""  # client identifier in the file
        self.leftovers: list = []
        self._load()
        self._stored = list(self.leftovers)  # filters in the file
        self._is_due = False  # whether `leftovers` have to be unsubscribed
        self._connected_since = 0  # ticks
        self._removed = []  # subscriptions for which UNSUBACK is due
        self._is_changed = False  # whether the file may have to be written
        self._failed_since = -1  # ticks when the flash failed, -1 if it works
        self._add, self._remove = self._subscriptions.add, self._subscriptions.remove
        self._subscriptions.add = self._add_and_store
        self._subscriptions.remove = self._remove_and_store
        self._report_connected = session.on_connected
        session.on_connected = self._handle_connected
        client._poll_hooks.append(self._poll)

    # ---- called by the client

    def _add_and_store(self, subscription, handler, options):
        """Subscribe. Replaces `Subscriptions.add`."""
        s = self._add(subscription, handler, options)
        self._is_changed = True
        if self._session.state == CONNECTED:
            self._store()  # before SUBSCRIBE is sent
        return s

    def _remove_and_store(self, subscription):
        """Unsubscribe. Replaces `Subscriptions.remove`."""
        s = self._remove(subscription)
        if s not in self._removed:
            self._removed.append(s)
        self._forget_used()
        return s

    def _handle_connected(self):
        """Handle CONNACK, before SUBSCRIBE is sent. Replaces `Session.on_connected`."""
        if not self._session.resumed or self._stored_id != self._session.client_id:
            self.leftovers = []
        self._forget_used()
        self._is_due = self._delay is not None and bool(self.leftovers)
        self._connected_since = self._client._ticks_ms()
        self._store()
        if self._report_connected:
            self._report_connected()

    def _poll(self, now):
        """Poll hook of the client; returns the ms until it has to run again."""
        if self._removed:
            self._check_removed()
        if self._is_changed or self._is_due:
            return self._work(now)
        return TICKS_MASK

    def _check_removed(self):
        for i in range(len(self._removed) - 1, -1, -1):
            if self._removed[i].is_removed or self._removed[i].is_wanted:
                del self._removed[i]
                self._is_changed = True

    def _work(self, now):
        left = TICKS_MASK
        if self._session.state != CONNECTED:
            return left
        if self._is_due:
            left = self._delay - ((now - self._connected_since) & TICKS_MASK)
            if left <= 0:
                self._is_due = False
                self._unsubscribe()
                left = 0
        if self._is_changed:
            wait = 0
            if self._failed_since >= 0:
                wait = _RETRY - ((now - self._failed_since) & TICKS_MASK)
            if wait > 0:
                return min(left, wait)
            self._store()
        return left

    # ---- filters

    def _used_filters(self):
        """Return the filters (bytes) that the broker has, or may get, from this program."""
        used: list = []
        for s in self._subscriptions.entries:
            if not s.is_removed:
                used.extend(s.filters or (s.topic_filter,))
        return used

    def _forget_used(self):
        if self.leftovers:
            used = self._used_filters()
            self.leftovers = [f for f in self.leftovers if f not in used]

    def _unsubscribe(self):
        """Unsubscribe from the leftovers, except those that are too long for `tx`."""
        self._forget_used()
        found = self.leftovers
        self.leftovers = []
        for f in found:
            if len(f) + _PACKET_OVERHEAD > len(self._session.tx):
                self.leftovers.append(f)
            else:
                self._remove_and_store(f)
        self._client._flush_now()

    # ---- the file

    def _set_error(self, error):
        self.error = error
        self._failed_since = self._client._ticks_ms()

    def _store(self):
        """Write the file if its content has changed."""
        filters: list = []
        size = len(_MAGIC) + 2 + len(self._session.client_id) + _CHECKSUM
        self.skipped_count = 0
        for f in self.leftovers + self._used_filters():
            if f in filters:
                continue
            if len(filters) == _MAX_FILTERS or size + 2 + len(f) > _MAX_SIZE:
                self.skipped_count += 1
                continue
            filters.append(f)
            size += 2 + len(f)
        # the order does not matter
        if self._stored_id != self._session.client_id or sorted(filters) != sorted(self._stored):
            if filters or self._stored:
                self._is_changed = True
                with self._catch_errors:
                    self._write(filters)
                return
        self._is_changed = False

    def _write(self, filters):
        """Replace the file. Raises OSError, MemoryError."""
        if self._must_rename:
            self._replace()  # the new file of the last time may be the only valid one
        data = _MAGIC + prefix_u16_length(self._session.client_id)
        for f in filters:
            data += prefix_u16_length(f)
        data += _checksum(data)
        file = open(self._path + _NEW, "wb")
        try:
            if file.write(data, 0, len(data)) != len(data):
                raise OSError(28, "no space left")
            file.flush()
        finally:
            file.close()
        self._replace()
        self._stored_id = self._session.client_id
        self._stored = filters
        self._is_changed = False
        self._failed_since = -1

    def _replace(self):
        """Rename the new file. Raises OSError."""
        self._must_rename = True
        try:
            rename(self._path + _NEW, self._path)
        except OSError:  # FAT does not rename over a file. If power fails now, `_load` finds the new file.
            _remove(self._path)
            rename(self._path + _NEW, self._path)
        self._must_rename = False

    def _load(self):
        """Read the file, or the new file if power failed before it was renamed."""
        if not self._read(self._path) and self._read(self._path + _NEW):
            try:
                self._replace()
            except OSError as error:
                self.error = error

    def _read(self, path):
        """Read a file; return False if it is not valid."""
        try:
            data = _read_file(path)
            client_id, filters = _parse(data)
        except (OSError, ValueError, MemoryError):
            return False
        self._stored_id = client_id
        self.leftovers = filters
        return True


def _remove(path):
    try:
        remove(path)
    except OSError:
        pass


def _read_file(path):
    """Return the content of a file of at most `_MAX_SIZE` bytes. Raises OSError, ValueError."""
    file = open(path, "rb")
    try:
        size = file.seek(0, 2)
        if not len(_MAGIC) + 2 + _CHECKSUM <= size <= _MAX_SIZE:
            raise ValueError("size")
        data = bytearray(size)
        file.seek(0)
        file.readinto(data, size)
    finally:
        file.close()
    return bytes(data)


def _parse(data):
    """Return (client identifier, list of filters). Raises ValueError if the data are not valid."""
    end = len(data) - _CHECKSUM
    if not data.startswith(_MAGIC) or data[end:] != _checksum(data[:end]):
        raise ValueError("not a file of stored subscriptions")
    fields = []
    at = len(_MAGIC)
    while at < end:
        size = get_u16(data, at) if at + 2 <= end else end
        at += 2 + size
        if at > end:
            raise ValueError("size")
        fields.append(data[at - size : at])
    if not 0 < len(fields) <= 1 + _MAX_FILTERS:
        raise ValueError("number of filters")
    return fields[0], [encode_filter(f) for f in fields[1:]]


def _checksum(data):
    """Return a checksum of the data as four bytes: the two parts of an Adler-32 (RFC 1950)."""
    a = 1
    b = 0
    for byte in data:
        a = (a + byte) % _PRIME
        b = (b + a) % _PRIME
    checksum = bytearray(_CHECKSUM)
    put_u16(checksum, put_u16(checksum, 0, a), b)
    return bytes(checksum)
