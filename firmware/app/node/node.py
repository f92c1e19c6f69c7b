"""The device: creates the MQTT client, Wi-Fi, sensors, actuators and other parts, and runs the main loop."""

import gc
import sys
from time import ticks_diff, ticks_ms

from micropython import const

import slot
from umqtt5 import Client

from .. import crash
from ..flash_error import CatchFlashErrors
from .command_dedup import CommandDedup
from .commands import Commands, enter_safe_state
from .files import exists
from .health import Health
from .modules import release_constructors, release_modules, release_reason_codes
from .publishing import publish
from .telemetry import Telemetry

_MAX_WAIT = const(1000)  # ms
_MIN_SESSION_EXPIRY = const(3600)  # seconds
_COMMAND_MAX_AGE = const(10)  # seconds, default of `command_max_age` for a device that does not sleep
_MAX_CLOCK_WAIT = const(60)  # seconds to wait for a time server before a TLS connection
# bytes that must be free before the journal is created: it takes about half of them, the rest is for the
# actuators, commands and updates
_JOURNAL_FREE = 43008 if sys.maxsize > 0x7FFFFFFF else 28672
_MIN_FREE = const(12288)  # the same for the backlog and discovery
_STABLE = const(300000)  # ms of uptime after which a start counts as successful


class Node:
    """A device with all its parts.

    The actuators exist first, and `enter_safe_state` works even if an exception ends `create`.
    """

    # parts that only some devices have: defaults in the class do not enlarge the dict of the instance
    _wifi = _cycle = _ntp = _watchdog = _discovery = _tasmota = _update = _safe_mode = None
    _actuators: tuple = ()
    _telemetry: Telemetry = None  # type: ignore[assignment]  # until `create` has created it
    _must_restart = False  # whether a command to restart was accepted
    _tls_clock = None  # `TlsClock`: decides when a TLS connection can begin

    def create(self, config, pins, safe_mode, start):
        """Create all parts of the device.

        `config` is the dict that `config.load` returns, `pins` is the board's module `pins`, `start` is the
        value of `ticks_ms` at the start of main.py. `safe_mode` is the reason for safe mode, otherwise None.
        In safe mode (too many crashes) there are no sensors and no actuators; the device still connects,
        publishes the crash log and accepts updates.
        """
        self._name = config["device"]
        self._reset_board = pins.reset
        if safe_mode:
            from ..safe_mode import SafeMode

            self._safe_mode = SafeMode(self._name, safe_mode, self._restart)
            config["sensors"] = config["actuators"] = ()
        reset_cause = pins.reset_cause() if hasattr(pins, "reset_cause") else "unknown"
        from actuators import make as make_actuators

        # an actuator may have been on until just now, also before a short power cut. In deep sleep it was off
        now = None if reset_cause == "deep sleep" else ticks_ms()
        self._actuators = make_actuators(config.pop("actuators"), pins, now)
        slot.feed()
        base = config["prefix"] + "/" + self._name
        sleeps = config["power"]["mode"] != "on" and not safe_mode
        max_absence = _configure_sleep(config) if sleeps else 0
        if config["command_max_age"] is None:
            config["command_max_age"] = max_absence or _COMMAND_MAX_AGE
        self._client = client = _create_client(config, pins, max_absence)
        _release_client_code(type(client), type(client.session))
        self._flash_errors = CatchFlashErrors()
        self._missing: list = []  # names of the parts for which there was not enough memory
        if config["journal"]:
            self._create_optional(
                "journal", _JOURNAL_FREE, _create_journal, client, self._name, config["journal"]
            )
            slot.feed()
        self._broker = "%s:%d" % (client.host, client.port)
        client.on_state = self._on_state
        client.on_subscribed = self._on_subscribed
        client.on_ack = self._on_ack
        will_topic = self._create_status(client, config, base, max_absence)
        self._create_parts(client, base, config, pins, will_topic, reset_cause)
        self._create_services(client, base, config, pins, reset_cause)
        if sleeps:
            from ..power import SleepCycle

            self._cycle = SleepCycle(client, pins, config["power"], self._telemetry.sensors, start)
            if not client.session.clean_start:  # the broker has queued commands during deep sleep
                self._commands.max_absence = self._cycle.max_absence(pins)
            self._health.add_metrics = self._cycle.add_metrics
        elif self._safe_mode:
            self._health.add_metrics = self._safe_mode.add_metrics
        self._health.missing = self._missing + self._telemetry.missing

    def _create_status(self, client, config, base, max_absence):
        """Create status, will and crash log; returns the topic of the will."""
        delay = max(max_absence, config["broker"]["will_delay"])
        will = base + "/status", b"offline"
        if config["tasmota"]:
            from ..tasmota import make_will

            will = make_will(self._name)  # replaces the other will: MQTT has only one per connection
        client.will(*will, qos=1, retain=True, delay=delay)
        self._status = client.topic(base + "/status")
        self._status_published = False  # whether the status was published in this connection
        self._crash = client.topic(base + "/crash")
        self._crash_packet_id = 0  # packet identifier of the crash log; 0: not sent yet, -1: none to send
        self._is_stable = False
        return will[0]

    def _create_parts(self, client, base, config, pins, topic, reset_cause):
        if config["wifi"]:
            from umqtt5.wifi import Wifi

            Wifi.prefix = "wifi."  # of the fields in the config, for the texts
            self._wifi = Wifi(**config["wifi"])
            self._wifi.on_status = print
        dedup = CommandDedup(config["dedup_commands"], "dedup" if config["dedup_on_flash"] else None)
        client.session.adapts_to_limits = True
        client.session.min_tx_room = len(client.session.tx) // 2  # for a response at QoS 0
        max_age = int(config["command_max_age"] * 1000)
        self._commands = Commands(client, base, self._actuators, dedup, max_age)
        client.subscribe(base + "/restart/set", self._on_restart, qos=1, retain_handling=2)
        if config["tasmota"]:
            from ..tasmota import Tasmota

            self._tasmota = Tasmota(client, self._name, self._commands)
        if self._safe_mode:
            self._safe_mode.answer_commands(client, base, self._commands, self._tasmota)
        self._commands.on_state(False, ticks_ms())
        # each config entry is released as soon as it has been used, because the heap is fullest here
        self._telemetry = Telemetry(client, base, config.pop("sensors"), pins, config["timestamps"])
        slot.feed()
        self._health = Health(client, base, int(config["health"] * 1000), reset_cause)
        # the parts that the device can do without come last
        if config["backlog"]["keep"] and self._telemetry.sensors:
            self._create_optional("backlog", _MIN_FREE, self._create_backlog, client, base, config)
        # in safe mode, discovery would remove the entities of all sensors; if `discovery` is not configured
        # any more, a message that was sent earlier has to be removed from the broker
        is_pending = exists("discovery.new")
        if not self._safe_mode and (config["discovery"] or is_pending or exists("discovery.sent")):
            args = (client, config, is_pending, reset_cause, topic, base, self._telemetry, self._actuators)
            self._create_optional("discovery", _MIN_FREE, self._create_discovery, *args)

    def _create_optional(self, name, min_free, create, *args):
        """Create a part if `min_free` bytes are free; otherwise report that it is missing."""
        try:
            gc.collect()
            if gc.mem_free() < min_free:
                raise MemoryError
            create(*args)
        except MemoryError:
            gc.collect()
            self._missing.append(name)
            print("%s: not enough memory for %s: the device runs without it" % (self._name, name))

    def _create_backlog(self, client, base, config):
        self._telemetry.attach_backlog(
            lambda topics: _create_backlog(client, base, topics, **config["backlog"]),
            config["power"]["mode"] == "deep",
        )

    def _create_discovery(self, client, config, is_pending, reset_cause, *args):
        from ..discovery import Discovery

        sent = reset_cause == "deep sleep" and not is_pending
        # a device that sleeps need not publish its values again: it publishes them at each wake
        values = (self._telemetry, self._health) if config["power"]["mode"] == "on" else None
        self._discovery = Discovery(client, self._name, config["discovery"], args, sent, values)

    def _create_services(self, client, base, config, pins, reset_cause):
        now = ticks_ms()
        if config["update"]:
            from ..update import Update

            args = (base, self._name, pins.BOARD, config["update"], self._restart, now)
            is_deep = config["power"]["mode"] == "deep"
            self._update = Update(client, *args, is_deep, is_deep and reset_cause == "deep sleep")
        self._parts: list = [self._telemetry, self._health, self._commands]
        optional_parts = (self._tasmota, self._discovery, self._update, self._safe_mode)
        self._parts += [part for part in optional_parts if part]
        if self._safe_mode:
            self._safe_mode.update = self._update
        if hasattr(pins, "set_clock"):
            self._create_clock(client, config, pins.set_clock)
        is_watched = config["watchdog"] and hasattr(pins, "watchdog")
        if is_watched or slot.feed():  # a watchdog that has been started for an update cannot be stopped
            from ..watchdog import Watchdog

            offline_timeout = int(config["reset_after"] * 1000) if is_watched else 0
            self._watchdog = Watchdog(pins.watchdog, offline_timeout, now)

    def _create_clock(self, client, config, set_clock):
        if config["ntp"]:
            from ..ntp import NtpClient

            # the client looks up the name of the broker for each connection
            has_name = not client.host.replace(".", "").isdigit() and ":" not in client.host
            self._ntp = NtpClient(config["ntp"], set_clock, has_name)
        tls = config["broker"]["tls"]
        if tls:
            from ..tls_clock import TlsClock

            bound = min(_MAX_CLOCK_WAIT, config["reset_after"] / 2 or _MAX_CLOCK_WAIT)
            if config["power"]["mode"] != "on":  # the rest of the time awake is for the connection
                bound = min(bound, config["power"]["awake"] / 2)
            bound = int(bound * 1000) if config["ntp"] else 0
            self._tls_clock = TlsClock(self._name, (tls["ca"], tls["cert"]), set_clock, bound)

    def _release_constructors(self):
        """Free the code of all constructors and of methods that are not called again.

        This saves 5 KB of heap.
        """
        client = self._client
        parts = (self, client.session.outbox, self._wifi)
        parts += (self._telemetry, self._telemetry.backlog, self._commands, self._health, self._watchdog)
        parts += (self._discovery, self._tasmota, self._update)
        for part in parts:
            if part is not None and part is not self:
                type(part).__init__ = None  # deleting the attribute would not free its slot in the dict
        release_constructors("actuators")
        sensors = self._telemetry.sensors
        is_missing = any(not hasattr(sensor.driver, "read") for sensor in sensors)
        for sensor in sensors:
            type(sensor).__init__ = type(sensor)._set_expiry = None
            if not is_missing:  # otherwise the constructor of a driver is called again
                type(sensor.driver).__init__ = None
        if self._wifi:
            type(self._wifi).wait = None
        type(client).will = None
        if slot.read()[2] == slot.CONFIRMED:  # otherwise the version may be rolled back
            slot.select = slot.begin_trial = slot.forget_start = slot.roll_back = None
        Node.create = Node._create_status = Node._create_parts = Node._create_services = None
        Node._create_optional = Node._create_discovery = Node._create_backlog = Node._create_clock = None

    def step(self):
        """Run one iteration of the main loop; waits for the network for up to 1 s if nothing is due."""
        now = ticks_ms()
        client = self._client
        with self._flash_errors:
            self._run_network(now, client)
        wait = self._run_parts(now)
        # each nested call takes 300 bytes or more of the 8 KB of stack that an RP2 has: `poll` is called here
        self._health.statistics.before_poll()
        try:
            with self._flash_errors:
                client.poll(wait)
        except MemoryError:
            self._on_memory_error(client)
        self._health.statistics.after_poll()
        if self._must_restart:
            self._restart_by_command()
        if self._watchdog and not self._watchdog.run(now, client.is_connected):
            print("%s: offline for too long, restarting" % self._name)
            self._restart()
        if not self._is_stable and self._health.uptime_ms > _STABLE:
            self._is_stable = True
            if not self._safe_mode:
                crash.clear_count()

    def _run_network(self, now, client):
        """Join the network, set the clock, connect, and publish the status."""
        up = self._wifi is None or self._wifi.poll(client.is_connected)
        if up and self._ntp and self._ntp.run(now):
            self._on_clock_set(client)
        clock = self._tls_clock
        if up and (not clock or clock.is_ready(now, self._ntp and self._ntp.is_set)):
            client.connect(wait=False)
            if clock and client.is_connected:
                clock.save(now)
        if client.is_connected:
            self._publish_status()

    def _on_clock_set(self, client):
        print("%s: clock set by NTP" % self._name)
        # with TLS the certificate may be valid now: try at once, not after the pause of a permanent error
        client._reconnect_delay = 0

    def _run_parts(self, now):
        """Run all parts; returns the time in ms until one of them is due."""
        wait = _MAX_WAIT
        for part in self._parts:
            try:
                with self._flash_errors:
                    wait = min(wait, part.run(now))
            except MemoryError:  # a restart would not give it more
                self._on_memory_error(part)
        if self._cycle:
            wait = self._sleep_if_due(now, wait)
        return wait

    def _on_memory_error(self, part):
        """Remove the part that the device can best do without: discovery, backlog, then the last sensor."""
        self._health.memory_errors += 1
        telemetry = self._telemetry
        name = type(part).__name__
        if self._discovery:
            self._parts.remove(self._discovery)
            self._discovery = None
            missing = "discovery"
        elif telemetry.backlog is not None and not (self._cycle and self._cycle.is_deep):
            telemetry.backlog = None
            missing = "backlog"
        elif telemetry.sensors:
            missing = telemetry.sensors.pop().name
        else:
            missing = None
        gc.collect()
        if missing:
            self._health.missing.append(missing)
            print("%s: not enough memory in %s: the device goes on without %s" % (self._name, name, missing))

    def _sleep_if_due(self, now, wait):
        """Sleep if a sleep is due; returns the time in ms until something is due."""
        cycle = self._cycle
        active = self._commands.is_busy or self._update and self._update.is_busy
        if not cycle.should_sleep(now, self._status_published and not self._telemetry.is_busy, active):
            return min(wait, cycle.next_check(now))
        if cycle.delivered:
            crash.clear_count()
        if cycle.is_deep:
            self._telemetry.store_unacknowledged(now)
            self.enter_safe_state()  # outputs lose their levels in deep sleep
        crash.is_reset_expected = True  # not written to flash: `is_planned_wake` recognizes the next start
        began_at = ticks_ms()
        cycle.sleep(self._wifi and self._switch_radio_off, self._watchdog and self._watchdog.feed)
        if self._watchdog:
            self._watchdog.exclude(ticks_diff(ticks_ms(), began_at))
        crash.is_reset_expected = False
        self._telemetry.measure_now(ticks_ms())
        self._health.publish_now()
        return 0

    def _switch_radio_off(self):
        with self._flash_errors:  # deep sleep switches it off in any case
            self._wifi.stop()

    def _publish_status(self):
        """Publish the status once per connection and the crash log once per start."""
        if not self._status_published:
            text = b"safe mode" if self._safe_mode else b"online"
            self._status_published = publish(self._client, self._status, text, qos=1, retain=True) > 0
            if not self._crash_packet_id:
                self._crash_packet_id = -1
                if exists("crash.txt"):
                    from .. import crash_report

                    self._crash_packet_id = crash_report.publish(self._client, self._crash)
                    release_modules("app.crash_report")

    def enter_safe_state(self):
        """Switch actuators to safe states; save counts and backlog. Call this before the program ends."""
        now = ticks_ms()
        for actuator in self._actuators:
            # tries twice, because an interlock or a short failure may have been the reason
            enter_safe_state(actuator, now, True) or enter_safe_state(actuator, now, True)
        try:
            if self._telemetry:
                self._telemetry.save()
        except Exception as error:
            print("%s: readings not saved: %s" % (self._name, error))

    def _restart_by_command(self):
        self.enter_safe_state()
        with self._flash_errors:
            from ..restart import flush

            flush(self._client)
        if self._safe_mode:
            crash.leave_safe_mode()
        self._restart()

    def _restart(self):
        """Reset the board; this is not counted as a crash."""
        self.enter_safe_state()
        crash.expect_reset()
        self._reset_board()

    def _on_state(self, client, connected, error):
        self._status_published = False
        self._commands.on_state(connected, ticks_ms(), client.session)
        if self._tasmota:
            self._tasmota.on_state()
        if connected:
            print("%s: connected to %s" % (self._name, self._broker))
            self._telemetry.on_connected(ticks_ms())
            if not client.session.resumed:
                self._commands.publish_now()
                if self._discovery:
                    self._discovery.publish_now()
        else:
            # the text of the error begins with the broker, too
            why = "closed" if error is None else str(error).replace(self._broker + ": ", "")
            print("%s: no connection to %s: %s" % (self._name, self._broker, why))
            if getattr(error, "is_refusal", False):
                from ..will_fallback import lower_will

                lower_will(client, self._name, error.code)
                release_modules("app.will_fallback")
            release_reason_codes()

    def _on_restart(self, message):
        from ..restart import accept

        # the acknowledgement is sent before the restart, so the broker does not repeat the command
        self._must_restart = accept(self._commands, message) or self._must_restart
        release_modules("app.restart")

    def _on_subscribed(self, subscription, answer):
        if answer.reason >= 0x80:
            self._print_refusal(subscription.topic_filter.decode(), answer.reason)

    def _on_ack(self, answer):
        if self._discovery and self._discovery.on_ack(answer):
            return
        self._telemetry.on_ack(answer.packet_id)
        if answer.packet_id == self._crash_packet_id:
            crash.delete_log()
            self._crash_packet_id = -1
        if answer.reason >= 0x80:
            self._print_refusal("message %d" % answer.packet_id, answer.reason)

    def _print_refusal(self, name, reason):
        from umqtt5.reason_codes import reason_name

        print("%s: broker refused %s: %s" % (self._name, name, reason_name(reason)))
        release_reason_codes()


def _release_client_code(client, session):
    """Free the code of two classes that a device calls only once or never; this saves 2 KB of heap."""
    client.__init__ = session.__init__ = None
    for name in ("on", "request", "responder", "reauthenticate", "set_credentials", "cancel", "next_timeout"):
        setattr(client, name, None)


def _create_client(config, pins, max_absence):
    broker = config["broker"]
    return Client(
        broker["host"],
        broker["port"],
        ssl=_create_tls_context(**broker["tls"]) if broker["tls"] else None,
        client_id=config["device"],
        user=broker["user"],
        password=broker["password"],
        keep_alive=broker["keep_alive"],
        session_expiry=max(_MIN_SESSION_EXPIRY, 2 * max_absence),
        **pins.BUFFERS,
    )


def _configure_sleep(config):
    """Set QoS and expiry of sensors for a device that sleeps; returns the result of `max_absence`."""
    from ..power import max_absence

    absence = max_absence(config["power"])
    for sensor in config["sensors"]:
        sensor["qos"] = 1  # the device waits for acknowledgements before it sleeps, for at most `awake` s
        # without a change, a reading within the dead band is not published at each wake
        silence = sensor["max_silence"] if config["power"]["mode"] == "light" else 0
        if sensor["expiry"]:
            sensor["max_silence"] = min(silence, max(0, sensor["expiry"] - absence))
        else:
            sensor["expiry"] = absence + (silence if sensor["dead_band"] is not None else 0)
    return absence


def _create_journal(client, name, size):
    from ..message_journal import MessageJournal

    MessageJournal(client, name, size)


def _create_tls_context(ca, cert, key):
    from umqtt5 import tls

    return tls.context(ca, cert, key)


def _create_backlog(client, base, topics, keep, policy, on_flash):
    if on_flash:
        from ..backlog_file import FileBacklog

        return FileBacklog(client, base, topics, keep, policy, ticks_ms(), "backlog")
    from ..backlog import Backlog

    return Backlog(client, base, topics, keep, policy, ticks_ms())


def run(config, pins, safe_mode, start):
    """Create the device and run it forever. `start` is the value of `ticks_ms` at the start of main.py.

    If an exception ends the program, the actuators go to their safe states first.
    """
    node = Node()
    try:
        node.create(config, pins, safe_mode, start)
        config.clear()  # the parts have copied what they need
        node._release_constructors()
        while True:
            node.step()
    finally:
        node.enter_safe_state()
