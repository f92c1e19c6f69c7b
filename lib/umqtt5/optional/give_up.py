"""Giving up messages of QoS 1 and 2: each connection ends over a message, or the program cancels it.

The client loads this module when a connection has ended while a message was unanswered, and for `cancel`.
"""

from errno import ECONNRESET

from micropython import const

from ..core.outbox import ENDED, GIVEN_UP, QUEUED, RELEASED, RELEASING, SENT
from ..core.states import CONNECTED

_EPIPE = const(32)  # not in MicroPython's `errno`
# Each end of a connection counts against the oldest unanswered message. At this sum it is given up. Any
# answer to a message resets the sum.
_LIMIT = const(21)
# The connection was closed without a reason code. This has many causes, so 21 in a row are needed.
_CLOSED = const(1)
# The broker has sent an error code in DISCONNECT, or an answer that is not valid: 3 in a row are needed.
_REFUSED = const(7)
# reason codes of DISCONNECT that do not concern a message: server busy, shutting down, keep alive timeout,
# session taken over, receive maximum exceeded ...
_OTHER_REASONS = b"\x89\x8b\x8d\x8e\x93\x96\x97\x98\x9c\x9d\x9f\xa0"


def count_failure(client, error):
    """Count the end of a connection, and give the oldest message up if the limit is reached.

    `error` is the exception that has ended the connection, None if the program has ended it.
    """
    session = client.session
    error = session.error or error
    code = getattr(error, "code", 0)
    if code == 0x93 and not error.from_broker:
        # The broker exceeded our Receive Maximum, see `client._MIN_RECEIVED_IDS`. If it made progress, the
        # client reconnects soon.
        if session.messages_received != getattr(session, "received_before", -1):
            client._failures = 0
        session.received_before = session.messages_received
    elif code >= 0x80:
        if not (error.from_broker and code in _OTHER_REASONS):
            _blame_oldest(session, _REFUSED, code)
    elif hasattr(error, "code") or getattr(error, "errno", 0) in (ECONNRESET, _EPIPE):
        _blame_oldest(session, _CLOSED, 0x80)


def _blame_oldest(session, weight, reason):
    """Count against the oldest unanswered message."""
    outbox = session.outbox
    for i in range(outbox.count):
        slot = outbox.slot_order[(outbox.head + i) % len(outbox.states)]
        if outbox.states[slot] == SENT or outbox.states[slot] == RELEASED:
            if slot != getattr(outbox, "suspect_slot", -1):
                outbox.suspect_slot = slot
                outbox.suspect_count = 0
            outbox.suspect_count += weight
            if outbox.suspect_count >= _LIMIT:
                outbox.suspect_count = 0
                _give_up(session, slot, reason)
            return


def cancel(session, slot):
    """Remove a message from the outbox: see `Client.cancel`."""
    with session:
        states = session.outbox.states
        if not 0 <= slot < len(states) or not (states[slot] == QUEUED or states[slot] == SENT):
            return False
        if states[slot] == SENT and session.state == CONNECTED:
            return False
        _give_up(session, slot, 0x80)
        return True


def _give_up(session, slot, reason):
    """End a message without an answer of the broker. `on_ack` is due with this reason code.

    If the broker may have received a message of QoS 2, the client has to send PUBREL first. Otherwise the
    broker could take the next message with the same packet identifier for a repetition [MQTT-4.3.3-4].
    """
    outbox = session.outbox
    was_sent = outbox.states[slot] == SENT or outbox.first_bytes[slot] & 8
    if outbox.first_bytes[slot] & 4 and was_sent and outbox.states[slot] < RELEASING:
        outbox.states[slot] = RELEASING
        outbox.first_bytes[slot] |= GIVEN_UP
    else:
        outbox.states[slot] = ENDED
        outbox.first_bytes[slot] = reason
    session._has_pubrels = session._has_unreported = True
