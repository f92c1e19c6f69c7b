"""Coroutine functions as handlers and callbacks of the asyncio client.

    async def switch_pump(message):
        await pump.start()
        await client.publish("pump/state", message.payload, qos=1)

    await client.subscribe("pump/set", switch_pump, qos=1)

A task runs the coroutine with a copy of the message, a `aio.messages.Message`. The coroutine of a callback
gets copies of answers, too. At most `inflight` coroutines of a client run at the same time. They start in the
order in which the messages arrived.

- If more messages of QoS 1 and 2 arrive, they wait for a coroutine to end. A message of QoS 0 is dropped, and
  a callback is not run. `on_error` gets a RuntimeError in this case.
- A message of QoS 1 or 2 is acknowledged when its coroutines have ended, and with 0x80 if one of them has
  raised an exception or its event loop has ended. Until then the broker holds back further messages (Receive
  Maximum). Acknowledgements are sent in the order of arrival [MQTT-4.6.0-2], so later messages are
  acknowledged later, those for other handlers as well.
- If the connection is lost while a coroutine runs, it continues. A message of QoS 1 that was not acknowledged
  is sent again by the broker, so its coroutine runs twice. A message of QoS 2 is not delivered again.

The client calls the function to find out whether it is a coroutine function, because MicroPython can't know
before. For this reason a plain function that returns a coroutine is called twice for its first message.
"""

import sys
from asyncio import CancelledError, create_task

from ..aio.messages import Ack, Message
from ..core.inbound import replace_received_id
from ..core.packet import Packet
from .manual_ack import DeferredAcks


class CoroutineHandlers:
    """The coroutines of an asyncio client: `running` tasks, and calls that wait for a task to end."""

    def __init__(self, client):
        self._client = client
        self._session = client.sync_client.session
        self.running: list = []  # for each running coroutine a list: its message or None, its task
        self._waiting: list = []  # (function, message, token of the user, responds)

    def reset(self):
        """Forget all coroutines, because their event loop has ended. Their messages count as failed."""
        ended = [entry[0] for entry in self.running] + [call[1] for call in self._waiting]
        self.running = []
        self._waiting = []
        for message in ended:
            self._end(message, True)

    def wrap(self, function, responds):
        """Return a handler that lets a task run the coroutine function `function(message)`."""
        return lambda message: self._start_handler(function, message, -1, responds)

    def wrap_manual(self, function):
        """Return a handler for `ack="manual"`; `function(message, token)` may be a coroutine function."""

        def wrapper(message, token):
            result = function(message, token)
            if not hasattr(result, "throw"):
                return result
            result.close()
            self._start_handler(function, message, token, False)

        return wrapper

    def _start_handler(self, function, packet, token, responds):
        """Call `function` with a copy of the message in a task, now or later.

        `token` is -1, or the token of a message that the user acknowledges.
        """
        message = Message(packet)
        if packet.qos and token < 0:
            if not self._client.deferred_acks:
                self._client.deferred_acks = DeferredAcks(self._client)
            message.token = self._client.deferred_acks.defer()
        if len(self.running) < self._session.receive_maximum:
            self._start(function, message, token, responds)
        elif packet.qos:
            self._waiting.append((function, message, token, responds))
        else:
            self._refuse("a message was dropped")

    def start_callback(self, coroutine, function, arguments):
        """Run the coroutine of a callback. The callback gets copies of packets."""
        for argument in arguments:
            if isinstance(argument, Packet):
                coroutine.close()
                coroutine = function(*[Ack(a) if isinstance(a, Packet) else a for a in arguments])
        if len(self.running) < self._session.receive_maximum:
            self._run(coroutine, None, False)
        else:
            coroutine.close()
            self._refuse("a callback was not run")

    def handle_connected(self, resumed):
        """Drop the waiting messages that the broker sends again, because they are not acknowledged."""
        for call in list(self._waiting):
            message = call[1]
            if not resumed:
                message.token = -1
            else:
                self._waiting.remove(call)
                if message.qos == 2:  # else the message sent again would count as a duplicate
                    replace_received_id(self._session, message.packet_id, 0)

    def _refuse(self, consequence):
        raise RuntimeError("%d coroutines are running: %s" % (len(self.running), consequence))

    def _start(self, function, message, token, responds):
        started = False
        try:
            coroutine = function(message) if token < 0 else function(message, token)
            if hasattr(coroutine, "throw"):
                self._run(coroutine, message, responds)
                started = True
        finally:
            if not started:
                self._end(message, False)

    def _run(self, coroutine, message, responds):
        if sys.implementation.name == "cpython" and not hasattr(coroutine, "__await__"):
            coroutine.close()
            raise TypeError("a handler must be a plain function or `async def`, not a generator function")
        entry = [message]
        self.running.append(entry)
        run = self._execute(entry, coroutine, message, responds)
        try:
            entry.append(create_task(run))  # CPython keeps no reference to a task that waits
        except RuntimeError:  # no event loop is running
            self.running.remove(entry)
            run.close()
            coroutine.close()
            raise

    async def _execute(self, entry, coroutine, message, responds):
        failed = True
        cancelled = False
        running = self.running
        try:
            result = await coroutine
            if responds and result is not None:
                self._client.respond(message, result)
            failed = False
        except CancelledError:  # by `asyncio.run` at its end
            cancelled = True
            raise
        except Exception as error:
            self._session._report_error(error)
        finally:
            if running is self.running:
                running.remove(entry)
                self._end(message, failed)
                if not cancelled:
                    self._start_next()

    def _end(self, message, failed):
        """Acknowledge a message."""
        acks = self._client.deferred_acks
        if message and message.token >= 0:
            if failed and message.token >= acks._first:
                acks._reasons[message.token % acks.capacity] = 0x80
                if message.qos == 2:
                    replace_received_id(self._session, message.packet_id, 0)
            acks.release(message.token)
            message.token = -1
            self._client.wake()

    def _start_next(self):
        while self._waiting and len(self.running) < self._session.receive_maximum:
            try:
                self._start(*self._waiting.pop(0))
            except Exception as error:
                self._session._report_error(error)
