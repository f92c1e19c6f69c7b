"""A session, a stream and the clock: opens, reads, writes, waits, reconnects.

Nothing here knows how a packet looks.
"""

import sys
from errno import ECONNRESET, ETIMEDOUT

from micropython import const

from .backoff import Backoff
from .errors import Guard
from .session import CLOSING, CONNECTED

if sys.implementation.name == "cpython":
    from .hosted import poll, sleep_ms, ticks_ms
else:
    from select import poll  # type: ignore[assignment]
    from time import sleep_ms, ticks_ms

_DOWN = const(0)
_OPENING = const(1)
_UP = const(2)
_IN = const(1)
_OUT = const(4)
_MASK = const(0x3FFFFFFF)


class Link:
    """Drives `session` over what `transport(host, port)` returns; see `tcp`.

    Callbacks, each None or a function; what one raises goes to `on_error`:

    - `on_state(client, connected, error)`: the link has come or gone. `error` is why, an
      MQTTError or OSError, or None where we ended it.
    - `on_ack(packet_id, reason)`: a QoS 1 or 2 message has ended, with the broker's reason
      code; 0x80 or more where it was refused.
    - `on_subscribed(subscription)`: the broker has answered; its `reason` tells what.
    - `on_error(exception)`: a handler or a callback has raised. None prints it. A message
      whose handler raises is acknowledged with 0x80, Unspecified error.
    """

    def __init__(self, session, transport, host, port, timeout):
        self.session = session
        self.host = host
        self.port = port
        self.timeout = timeout
        self._transport = transport
        self._sender = session.sender
        self._framer = session.framer
        self._guard = Guard(OSError, self._drop)
        self._stream = None
        self._poller = poll()
        self._watched = 0
        self._link = _DOWN
        self._wanted = False
        self._busy = False  # in a round: handlers may run, which may not start another
        self._idle = 0  # ms for which there is nothing to do
        self._since = 0  # when the link came to be what it is
        self._backoff = Backoff()
        self.connects = 0
        self.error = None  # why the last connection ended
        self.on_state = self.on_ack = self.on_subscribed = self.on_error = None
        session.on_connected = self._connected
        session.sender.owner = session.subscriptions.owner = self

    @property
    def connected(self):
        return self.session.state == CONNECTED

    def connect(self, wait=True):
        """Connect, and from now on reconnect whenever `poll` finds the link gone.

        Returns True where the broker has resumed the session. With `wait=False` it returns
        at once and `poll` does it all. Raises OSError or MQTTError (the broker's reason code
        and string) where this first try fails, and then does not try again by itself;
        ValueError where `tx` can't hold the CONNECT.
        """
        self.session.check()
        if wait or not self._wanted:
            self._wanted = True
            self._backoff.reset()
        if not wait or self._busy:
            return False
        self.error = None
        while self._wanted and not self.connected:
            idle = self._step()
            if self._link == _DOWN and self.error:
                self._wanted = False
                raise self.error
            self._wait(idle)
        return self.session.resumed

    def disconnect(self):
        """End the connection in good order, which deletes the will; `connect` begins anew."""
        self._wanted = False
        self.session.close(0)
        start = ticks_ms()
        while self._link == _UP and (ticks_ms() - start) & _MASK < self.timeout:
            if self._busy:  # out of a handler: what can be written now
                self._push()
                break
            self._wait(self._step())
        if self._link != _DOWN:
            self._drop(None)

    def poll(self, timeout=0):
        """Receive, acknowledge, ping, reconnect for `timeout` ms; 0 is one round.

        Returns True where the link is up. Handlers are called from here; in a handler it
        returns at once.
        """
        start = ticks_ms()
        while True:
            idle = self._step()
            left = timeout - ((ticks_ms() - start) & _MASK)
            if left <= 0 or self._busy:
                return self.session.state == CONNECTED
            self._wait(min(idle, left))

    def _push(self):
        """Write now, and not at the next poll."""
        with self._guard:
            self._flush()

    # ---- one round

    def _step(self):
        """Do what there is to do now; returns for how many ms there is nothing, 0 for more now."""
        if self._busy:
            return 0
        self._busy = True
        try:
            self._round()
        finally:
            self._busy = False
        return self._idle

    def _round(self):
        self._idle = 0
        with self._guard:
            if self._link == _UP:
                self._exchange()
            elif self._link == _OPENING:
                self._opening(ticks_ms())
            else:
                self._down(ticks_ms())

    def _down(self, now):
        self._idle = _MASK
        if self._wanted:
            self._idle = max(0, self._backoff.pause - ((now - self._since) & _MASK))
            if not self._idle:
                self._begin(now)

    def _begin(self, now):
        self._since = now
        self._stream = self._transport(self.host, self.port)
        self._poller.register(self._stream, _OUT)
        self._watched = _OUT
        self._link = _OPENING

    def _opening(self, now):
        for _ in self._poller.ipoll(0):
            self.session.open(now)
            self._link = _UP
            self._flush()
            return
        self._idle = self.timeout - ((now - self._since) & _MASK)
        if self._idle <= 0:
            raise OSError(ETIMEDOUT, "no connection")

    def _exchange(self):
        session = self.session
        if session.state == CLOSING:
            self._framer.reset()  # what still comes is read and thrown away
        if session.held:
            session.parse()
            n = None
        else:
            n = self._stream.readinto(self._framer.into, self._framer.want)
            if n == 0:
                raise OSError(ECONNRESET, "closed by the broker")
        if n and session.state != CLOSING:
            session.received(n, ticks_ms())
        self._flush()
        if self._link == _UP:  # no handler has ended it
            self._tick(n)

    def _tick(self, n):
        self._idle = self.session.tick(ticks_ms())
        self._flush()
        if n:
            self._idle = 0
        if self.session.state == CLOSING and not self._sender.output():
            self._drop(self.session.error)

    def _connected(self):
        self.connects += 1
        self._since = ticks_ms()
        self.error = None
        self._tell(True)

    def _tell(self, connected):
        if self.on_state:
            with self.session.subscriptions.guard:
                self.on_state(self, connected, self.error)

    def _flush(self):
        while self._link == _UP:
            n = self._sender.output()
            if n:
                n = self._stream.write(self._sender.out, self._sender.out_at, n)
            if not n:
                return
            self.session.sent(n, ticks_ms())

    def _wait(self, ms):
        """Sleep until the stream is ready, for `ms` at most."""
        if not ms:
            return
        if self._link == _DOWN:
            sleep_ms(ms)
            return
        wanted = _IN
        if self._link == _OPENING or self.session.held:
            wanted = _OUT
        elif self._sender.pending():
            wanted = _IN | _OUT
        if wanted != self._watched:
            self._poller.modify(self._stream, wanted)
            self._watched = wanted
        for _ in self._poller.ipoll(ms):
            pass

    def _drop(self, error):
        """The link is gone."""
        now = ticks_ms()
        was_connected = self.session.state == CONNECTED or self.session.state == CLOSING
        if self._stream is not None:
            self._poller.unregister(self._stream)
            self._stream.close()
            self._stream = None
        self.session.lost()
        self._backoff.lost((now - self._since) & _MASK if was_connected else 0)
        self._link = _DOWN
        self._idle = 0
        self._since = now
        self.error = self.session.error or error
        self.session.error = None
        self._tell(False)
